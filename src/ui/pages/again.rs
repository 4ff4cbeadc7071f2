//! Trying a webhook, and sending one delivery again.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::deliveries::{wants_json, with_vary};
use super::delivery::DeliveryIds;
use crate::domain::site::escape_segment;
use crate::ui::address::Path;
use crate::ui::client::read;
use crate::ui::failure::PageFailure;
use crate::ui::layout::{Layout, Section, once};
use crate::ui::model::TestOutcome;
use crate::ui::posted::Posted;
use crate::ui::reply::Reply;
use crate::ui::respond::{page, see_other};
use crate::ui::test_words::test_words;
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit};

#[derive(Template)]
#[template(path = "test.html")]
struct TestPage {
    l: Layout,
    name: String,
    href: String,
    result: TestResult,
    /// Address of the delivery that records the test.
    delivery: Option<String>,
}

/// The outcome of a test in words.
#[derive(Debug, serde::Serialize)]
struct TestResult {
    is_ok: bool,
    words: String,
    /// The start of the answer.
    response: Option<String>,
    /// Number of the form's next showing.
    once: String,
}

/// `POST …/test`: the answer is shown in place, as JSON to the script.
pub(in crate::ui) async fn test(
    Path(ids): Path<WebhookIds>,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let visit = &posted.visit;
    let found = WebhookVisit::find(visit, &ids).await?;
    let mut body = Map::new();
    if let Some(event) = posted.form.given("event") {
        body.insert("event".to_owned(), event.into());
    }
    let path = format!("{}/test", found.api);
    // The API remembers the answer: sent again, it is the same, and nothing is sent.
    let reply = posted.send_once(&path, &Value::Object(body)).await?;
    let (result, delivery) = test_result(reply, &found)?;
    if wants_json(&headers) {
        return Ok(with_vary(Json(result).into_response()));
    }
    let name = found.webhook.name;
    let shown = TestPage {
        l: visit.site_layout(&found.site, Section::Webhooks, &format!("Test of {name}")),
        name,
        href: found.href,
        result,
        delivery,
    };
    Ok(with_vary(page(StatusCode::OK, &shown)))
}

fn test_result(reply: Reply, found: &WebhookVisit) -> Result<(TestResult, Option<String>), PageFailure> {
    let not_sent = |words: String| TestResult {
        is_ok: false,
        words,
        response: None,
        once: once(),
    };
    match reply.problem_type() {
        "too-many-tests" => {
            // A webhook has ten tests a minute; of a site, so many may be under way.
            let words = format!("Nothing was sent. {}", reply.detail());
            return Ok((not_sent(words), None));
        }
        "idempotency-key-reused" => return Err(PageFailure::foreign_form()),
        _ if !reply.status.is_success() => return Err(PageFailure::of_reply(&reply)),
        _ => {}
    }
    let outcome: TestOutcome = read(reply)?;
    let result = TestResult {
        is_ok: outcome.status == "delivered",
        words: test_words(&outcome, host_of(&found.webhook.url)),
        response: outcome.response.filter(|text| !text.is_empty()),
        once: once(),
    };
    Ok((
        result,
        Some(format!("{}/deliveries/{}", found.href, outcome.delivery_id)),
    ))
}

/// The host of a masked URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// `POST …/deliveries/{delivery_id}/resend`
pub(in crate::ui) async fn resend(
    Path(ids): Path<DeliveryIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let found = WebhookVisit::find(visit, &ids.webhook()).await?;
        if found.is_off() {
            let text = "This webhook is off, so that nothing is sent. Switch it on, and send this again.";
            let failure = PageFailure::new(StatusCode::CONFLICT, "The webhook is off", text);
            return Err(failure.with_page(found.href));
        }
        let path = format!(
            "{}/deliveries/{}/retry",
            found.api,
            escape_segment(&ids.delivery_id)
        );
        let reply = visit
            .api
            .send(Method::POST, &path, None, Some(posted.once()))
            .await?
            .or_failure()?;
        let queued = reply.body["id"].as_str().unwrap_or_default();
        Ok(see_other(&format!("{}/deliveries/{queued}", found.href)))
    };
    posted.run_once(run).await
}

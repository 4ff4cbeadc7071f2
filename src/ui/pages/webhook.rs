//! One webhook: its states, its settings, its newest deliveries, and what can be done.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::clock;
use crate::ui::address::Path;
use crate::ui::button::Button;
use crate::ui::delivery_line::{self, DeliveryLine};
use crate::ui::failure::PageFailure;
use crate::ui::health::{self, HealthFacts, Remedy, StateBox};
use crate::ui::layout::{Layout, Section};
use crate::ui::missed::MissedCount;
use crate::ui::model::{DeliveryView, Listed, Status};
use crate::ui::posted::Posted;
use crate::ui::respond::{page, see_other};
use crate::ui::session::PageVisit;
use crate::ui::settings_words::{self, SettingWords};
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit, history_href, webhook_end};
use crate::ui::words;

/// Deliveries that are shown.
const NEWEST: usize = 10;

#[derive(Template)]
#[template(path = "webhook.html")]
pub(super) struct WebhookPage {
    l: Layout,
    name: String,
    url: String,
    href: String,
    states: Vec<StateBox>,
    settings: Vec<SettingWords>,
    newest: Vec<DeliveryLine>,
    is_on: bool,
    /// Event types of which a sample may be sent, with their words.
    samples: Vec<(String, String)>,
    is_paused: bool,
}

/// `GET /sites/{site_id}/webhooks/{webhook_id}`
pub(in crate::ui) async fn show(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
) -> Result<Response, PageFailure> {
    let found = match WebhookVisit::find(&visit, &ids).await {
        Err(failure) => return Err(or_history(&visit, &ids, failure).await),
        found => found?,
    };
    let path = format!("{}/deliveries?limit={NEWEST}", found.api);
    let listed: Listed<DeliveryView> = match found.webhook.health.state == "open" {
        true => visit.api.get_with_tried(&path).await?,
        false => visit.api.get(&path).await?,
    };
    let status = status(&visit, &found).await?;
    let missed = missed(&visit, &found).await?;
    let facts = HealthFacts {
        webhook: &found.webhook,
        newest: &listed.data,
        triggers: status.as_ref().map_or(&[], |status| &status.triggers),
        visitors: status.as_ref().and_then(Status::visitors),
        zone: &found.site.zone,
        missed,
        knows_tests: true,
    };
    let newest = listed.data.iter().take(NEWEST);
    let newest = newest.map(|one| delivery_line::line(one, &found.site.zone, &found.href));
    let shown = WebhookPage {
        l: visit.site_layout(&found.site, Section::Webhooks, &found.webhook.name),
        name: found.webhook.name.clone(),
        url: found.webhook.url.clone(),
        states: health::states(&facts),
        samples: found
            .webhook
            .events
            .iter()
            .map(|event| (event.clone(), words::event(event).to_owned()))
            .collect(),
        settings: settings_words::settings(&found.webhook, visit.state.config()),
        newest: newest.collect(),
        is_on: !found.is_off(),
        is_paused: found.webhook.paused_until.is_some(),
        href: found.href,
    };
    Ok(page(StatusCode::OK, &shown))
}

/// Leads from the address of a deleted webhook to its history.
async fn or_history(visit: &PageVisit, ids: &WebhookIds, failure: PageFailure) -> PageFailure {
    if failure.status() != StatusCode::NOT_FOUND {
        return failure;
    }
    match visit.site(&ids.site_id).await {
        Ok(site) if site.webhook_names().contains_key(&ids.webhook_id) => {
            let href = site.path.page(&webhook_end(&ids.webhook_id));
            PageFailure::deleted_webhook().with_page(history_href(&href))
        }
        _ => failure,
    }
}

/// The present of the site, if any of the webhook's events depends on it.
async fn status(visit: &PageVisit, found: &WebhookVisit) -> Result<Option<Status>, PageFailure> {
    let has_triggers = found
        .webhook
        .events
        .iter()
        .any(|event| event.starts_with("visitor_"));
    // Nothing fires for one that is off.
    if !has_triggers || found.is_off() {
        return Ok(None);
    }
    visit.api.get(&found.site.path.api("/status")).await.map(Some)
}

/// The number of deliveries that one missed which we have switched off.
async fn missed(visit: &PageVisit, found: &WebhookVisit) -> Result<Option<MissedCount>, PageFailure> {
    let reason = found.webhook.health.reason.as_deref();
    let is_off_by_us = found.is_off() && reason != Some("owner");
    match is_off_by_us {
        true => found.missed(visit).await.map(Some),
        false => Ok(None),
    }
}

impl WebhookPage {
    fn is_recovery(remedy: &Remedy) -> bool {
        *remedy == Remedy::Recover
    }

    /// Words and address of a remedy that is a form of its own.
    fn form_of(&self, remedy: &Remedy) -> Option<(&'static str, String)> {
        let (words, button) = match remedy {
            Remedy::Resume => ("Go on now", Button::Resume),
            Remedy::Enable => ("Switch on", Button::Enable),
            Remedy::FinishRotation => ("End the old one now", Button::FinishRotation),
            Remedy::Recover => return None,
        };
        Some((words, button.action(&self.href)))
    }
}

/// `POST …/enable`
pub(in crate::ui) async fn enable(ids: Path<WebhookIds>, posted: Posted) -> Result<Response, PageFailure> {
    change(ids, posted, json!({"enabled": true})).await
}

/// `POST …/disable`
pub(in crate::ui) async fn disable(ids: Path<WebhookIds>, posted: Posted) -> Result<Response, PageFailure> {
    change(ids, posted, json!({"enabled": false})).await
}

/// `POST …/resume`
pub(in crate::ui) async fn resume(ids: Path<WebhookIds>, posted: Posted) -> Result<Response, PageFailure> {
    change(ids, posted, json!({"paused_until": null})).await
}

/// `POST …/pause`, for some hours.
pub(in crate::ui) async fn pause(ids: Path<WebhookIds>, posted: Posted) -> Result<Response, PageFailure> {
    let hours = match posted.form.text("hours") {
        "8" => 8,
        "24" => 24,
        "168" => 168,
        _ => 1,
    };
    let until = clock::now() + TimeDelta::hours(hours);
    change(ids, posted, json!({"paused_until": until})).await
}

async fn change(Path(ids): Path<WebhookIds>, posted: Posted, patch: Value) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let found = WebhookVisit::find(&posted.visit, &ids).await?;
            let api = &posted.visit.api;
            let reply = api.send(Method::PATCH, &found.api, Some(&patch), None).await?;
            reply.or_failure()?;
            Ok(see_other(&found.href))
        })
        .await
}

/// `POST …/finish-rotation`
pub(in crate::ui) async fn finish_rotation(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let found = WebhookVisit::find(&posted.visit, &ids).await?;
            let path = format!("{}/rotate-secret", found.api);
            let body = json!({"finish": true});
            let reply = posted
                .visit
                .api
                .send(Method::POST, &path, Some(&body), Some(posted.once()))
                .await?;
            reply.or_failure()?;
            Ok(see_other(&found.href))
        })
        .await
}

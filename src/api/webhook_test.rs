//! The call that sends a sample to a webhook's endpoint now.
//!
//! A test is a delivery of its own: it disables nothing, moves no health and is not sent again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::domain::delivery::Origin;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId, NotificationKind, WebhookId};
use crate::domain::notification::{Notification, NotificationData};
use crate::domain::sample;
use crate::domain::time::from_ms;
use crate::domain::webhook::{NextSecret, Webhook};
use crate::record::outcomes::{self, AttemptRow, DeliveryFacts, OutcomeRow};
use crate::record::{secrets, sites, test_limit};
use crate::{chance, clock};

use super::answer;
use super::body::OptionalJsonBody;
use super::connection_share::with_own_share;
use super::extract::{PathIds, WritableSite};
use super::field_errors::FieldErrors;
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::ApiState;
use super::test_sender::{TestRequest, TestSender};
use super::validate::BodyObject;
use super::webhooks::find;

const MESSAGE: &str =
    "This is a test from Bellwether. Nothing has happened; the sample shows what would come.";

/// `POST /api/sites/{site_id}/webhooks/{webhook_id}/test`
pub(super) async fn send(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    key: IdempotencyKey,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let id = ids.webhook()?;
    let path = format!("{}/webhooks/{id}/test", site.path());
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        send_once(state, site, id, body, execution).boxed()
    })
    .await
}

async fn send_once(
    state: &ApiState,
    site: &WritableSite,
    id: WebhookId,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = state.write(site).await?;
    let (webhook, sample) = prepare(state, &mut tx, (site, id), body).await?;
    let sender = state.tests.clone().ok_or_else(|| {
        Problem::new(
            ProblemType::Unavailable,
            "This process sends nothing to endpoints.",
        )
    })?;
    let share = sender.shares.take(site.id()).ok_or_else(too_many_of_site)?;
    let name = sites::get(&mut tx, site.id()).await?.and_then(|site| site.name);
    let request = make_request(&sender, webhook, sample, name.as_deref(), now);
    if let Err(next) = test_limit::count(&mut tx, id, now).await? {
        return Err(too_many(next, now));
    }
    site.write_audit(&mut tx, "webhook.test", Some(id.to_string()), Some(body))
        .await?;
    tx.commit().await?;

    let (state, site, execution) = (state.clone(), site.clone(), execution.clone());
    let sent = sender.tasks.clone().spawn(with_own_share(async move {
        let facts = facts_of(&request, now);
        let attempt = (sender.send)(request).await;
        drop(share);
        record(&state, &site, &execution, facts, attempt).await
    }));
    // Only a panic ends the task otherwise.
    sent.await.unwrap_or_else(|_| Err(Problem::internal()))
}

/// Reads the webhook as it is sent to, and the event type of the sample.
async fn prepare(
    state: &ApiState,
    conn: &mut PgConnection,
    (site, id): (&WritableSite, WebhookId),
    body: &Map<String, Value>,
) -> Result<(Webhook, EventType), Problem> {
    let stored = find(conn, &state.keyring, site.id(), id).await?;
    let event = read_event(&BodyObject::root(body), &stored.settings.events)?;
    let secrets = secrets::read(conn, &state.keyring, id).await?;
    let next = secrets.next.map(|next| NextSecret {
        secret: next.secret,
        overlap_until: next.until,
    });
    let webhook = stored.into_webhook(site.id().clone(), true, secrets.current, next);
    Ok((webhook, event))
}

fn make_request(
    sender: &TestSender,
    webhook: Webhook,
    event: EventType,
    site_name: Option<&str>,
    now: DateTime<Utc>,
) -> TestRequest {
    let (site_id, number) = (webhook.site_id.clone(), chance::bytes::<16>());
    let notification_id = NotificationId::derive(
        now.timestamp_millis(),
        site_id.as_str(),
        EventType::Test.as_str(),
        NotificationKind::Each,
        &[&number],
    );
    let link = sender.links.as_ref().map(|template| template.link_to(&site_id));
    let body = Notification {
        id: notification_id,
        event: EventType::Test,
        site_id,
        site_name,
        link: link.as_deref(),
        timestamp: now,
        data: NotificationData::Test {
            message: MESSAGE,
            sample: sample::of(event),
        },
    }
    .to_body();
    TestRequest {
        delivery_id: DeliveryId::derive(notification_id, webhook.id),
        notification_id,
        webhook,
        body: body.into(),
    }
}

/// Reads the event type of the sample: by default the first that the webhook subscribes to.
pub(super) fn read_event(body: &BodyObject<'_>, subscribed: &[EventType]) -> Result<EventType, Problem> {
    let mut errors = FieldErrors::default();
    body.refuse_unknown(&["event"], &mut errors);
    let samples: Vec<&str> = EventType::ALL
        .into_iter()
        .filter(|event| *event != EventType::Test)
        .map(EventType::as_str)
        .collect();
    let event = body.listed_word::<EventType>("event", &samples, &mut errors);
    match event.or_else(|| subscribed.first().copied()) {
        Some(event) if errors.is_empty() => Ok(event),
        _ => Err(Problem::invalid(errors)),
    }
}

fn too_many(next: DateTime<Utc>, now: DateTime<Utc>) -> Problem {
    let limit = test_limit::MAX_TESTS;
    let detail = format!("A webhook may be tested {limit} times a minute. Try again a little later.");
    let seconds = ((next - now).num_milliseconds().max(0) as u64).div_ceil(1_000);
    Problem::new(ProblemType::TooManyTests, detail).retry_after_seconds(seconds.max(1))
}

fn too_many_of_site() -> Problem {
    let detail = "Tests of this site are still waiting for their endpoints. Try again when one has ended.";
    Problem::new(ProblemType::TooManyTests, detail).retry_after_seconds(5)
}

fn facts_of(request: &TestRequest, now: DateTime<Utc>) -> DeliveryFacts {
    DeliveryFacts {
        id: request.delivery_id,
        notification_id: request.notification_id.uuid(),
        webhook_id: request.webhook.id,
        site_id: request.webhook.site_id.to_string(),
        event_type: EventType::Test,
        origin: Origin::Event,
        resend_of: None,
        payload: request.body.to_vec(),
        created_at: from_ms(now.timestamp_millis()),
    }
}

/// Records the delivery with its one attempt, and answers.
async fn record(
    state: &ApiState,
    site: &WritableSite,
    execution: &Execution,
    facts: DeliveryFacts,
    attempt: AttemptRow,
) -> Result<Response, Problem> {
    let row = OutcomeRow::of_only_attempt(facts, attempt);
    let answered = answer_of(&row);
    let mut tx = state.write(site).await?;
    outcomes::write(&mut tx, std::slice::from_ref(&row)).await?;
    // The test was made, whoever holds the key by now.
    let stored = execution
        .store_answer(&mut tx, StatusCode::OK, None, &answered)
        .await;
    tx.commit().await?;
    stored?;
    Ok(answer::ok(&answered))
}

fn answer_of(row: &OutcomeRow) -> Value {
    let attempt = row.attempt.as_ref();
    let response = attempt.and_then(|attempt| attempt.response.as_deref());
    let latency = attempt.and_then(|attempt| attempt.total_ms);
    json!({
        "delivery_id": row.facts.id,
        "status": row.status,
        "response_code": row.response_code,
        "result": attempt.map(|attempt| attempt.result),
        "error": attempt.and_then(|attempt| attempt.error.as_deref()),
        "latency_ms": latency,
        "response": response.map(String::from_utf8_lossy),
    })
}

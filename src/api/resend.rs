//! The call that sends a delivery again, and the conditions that a recovery shares with it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, Origin};
use crate::domain::event::EventType;
use crate::domain::health::{MAX_WAITING, ParkReason};
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::kafka::murmur2::partition_of;
use crate::record::deliveries_read::{self, StoredDelivery};
use crate::record::resends::{self, QueuedBatch, QueuedDelivery, SendState};
use crate::{chance, clock};

use super::answer;
use super::body::OptionalJsonBody;
use super::delivery_answer::DeliveryAnswer;
use super::extract::{PathIds, WritableSite};
use super::field_errors::FieldErrors;
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::ApiState;
use super::validate::BodyObject;

/// `POST /api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/retry`
pub(super) async fn retry(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    key: IdempotencyKey,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let (webhook, delivery) = (ids.webhook()?, ids.delivery()?);
    let path = format!("{}/webhooks/{webhook}/deliveries/{delivery}/retry", site.path());
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        retry_once(state, site, (webhook, delivery), body, execution).boxed()
    })
    .await
}

async fn retry_once(
    state: &ApiState,
    site: &WritableSite,
    (webhook, delivery): (WebhookId, DeliveryId),
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = state.write(site).await?;
    let sendable = check_webhook(&mut tx, site, webhook).await;
    if let Err(problem) = &sendable
        && problem.is_not_found()
    {
        return sendable.map(|()| answer::no_content());
    }
    let found = deliveries_read::one(&mut tx, site.id(), webhook, delivery).await?;
    let (asked, _) = found.ok_or_else(|| Problem::not_found("delivery"))?;
    refuse_fields(body)?;
    sendable?;
    check_delivery(&mut tx, &asked, now).await?;
    if resends::waiting(&mut tx, webhook).await? >= MAX_WAITING {
        let detail = format!("{MAX_WAITING} deliveries of this webhook wait already. Try again later.");
        return Err(not_sendable(detail));
    }
    let asked_by = uuid::Builder::from_random_bytes(chance::bytes()).into_uuid();
    let notification_id = NotificationId::from_uuid(asked.notification_id);
    let id = DeliveryId::derive_resend(now.timestamp_millis(), asked_by, notification_id, webhook);
    let queued = QueuedDelivery {
        id,
        notification_id,
        event_type: asked.event_type,
        payload: asked.payload.unwrap_or_default(),
        created_at: asked.created_at,
        resend_of: Some(delivery),
    };
    let batch = QueuedBatch {
        webhook,
        site_id: site.id().as_str(),
        partition: partition_of(webhook.to_string().as_bytes(), state.config.partitions),
        origin: Origin::Resend,
        reason: ParkReason::Resend,
        job: None,
        now,
    };
    resends::queue(&mut tx, batch, &[queued]).await?;
    site.write_audit(&mut tx, "delivery.retry", Some(delivery.to_string()), None)
        .await?;
    let made = deliveries_read::one(&mut tx, site.id(), webhook, id).await?;
    let (made, _) = made.ok_or_else(|| Problem::not_found("delivery"))?;
    let answered = serde_json::to_value(DeliveryAnswer::new(made, None, None)).unwrap_or_default();
    let location = format!("{}/webhooks/{webhook}/deliveries/{id}", site.path());
    execution
        .store_answer(&mut tx, StatusCode::ACCEPTED, Some(&location), &answered)
        .await?;
    tx.commit().await?;
    Ok(answer::accepted(&location, &answered))
}

fn refuse_fields(body: &Map<String, Value>) -> Result<(), Problem> {
    let mut errors = FieldErrors::default();
    BodyObject::root(body).refuse_unknown(&[], &mut errors);
    Problem::check(errors)
}

/// Locks the webhook's row, and refuses one that is off or deleted.
pub(super) async fn check_webhook(
    conn: &mut PgConnection,
    site: &WritableSite,
    webhook: WebhookId,
) -> Result<(), Problem> {
    match resends::lock_to_send(conn, site.id(), webhook).await? {
        SendState::On => Ok(()),
        SendState::Absent => Err(Problem::not_found("webhook")),
        SendState::Deleted => Err(not_sendable("The webhook is deleted.")),
        SendState::Off => Err(not_sendable(
            "The webhook is switched off. Switch it on first: PATCH it with `enabled: true`.",
        )),
    }
}

/// Refuses a delivery that cannot be sent again. One that is overdue ends here.
async fn check_delivery(
    conn: &mut PgConnection,
    asked: &StoredDelivery,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    if asked.event_type == EventType::Test.as_str() {
        return Err(not_sendable(
            "A test is not sent again. Send a new one with POST …/test.",
        ));
    }
    let is_finished = asked
        .status
        .parse()
        .is_ok_and(|status: DeliveryStatus| status.is_finished());
    if !is_finished && !end_overdue(conn, asked, now).await? {
        let mut detail = format!(
            "The delivery is `{}`: it is not finished, and will be sent anyway.",
            asked.status
        );
        if asked.parked_reason.is_none() {
            detail.push_str(" If it is not within an hour of its due time, ask again.");
        }
        return Err(not_sendable(detail));
    }
    if asked.payload.is_none() {
        return Err(not_sendable("What this delivery said is not stored any more."));
    }
    Ok(())
}

/// Ends a delivery if it is overdue. Returns false if it is not.
async fn end_overdue(
    conn: &mut PgConnection,
    asked: &StoredDelivery,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let webhook = WebhookId::from_uuid(asked.webhook_id);
    let next = Uuid::from_u128(asked.id.as_u128().saturating_add(1));
    Ok(resends::end_overdue(conn, webhook, asked.id..next, now).await? > 0)
}

fn not_sendable(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::NotSendable, detail)
}

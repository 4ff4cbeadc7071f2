//! The calls that read a webhook's history.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::record::deliveries_read::{self, AttemptRecord, DeliveryRecord, HistoryQuery};
use crate::record::webhooks;

use super::ApiState;
use super::answer::{self, Page, optional_time, time};
use super::auth::Caller;
use super::path::PathIds;
use super::problem::Problem;
use super::query::Query;
use super::validate::Errors;

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/deliveries?status=&event=&since=&limit=&after=`
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let webhook = path.webhook()?;
    let mut errors = Errors::default();
    let query = read_query(&Query::parse(query.as_deref()), &mut errors);
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let mut conn = state.read().await?;
    // Also of a deleted webhook: its history stays until its time is up.
    if !webhooks::existed(&mut conn, &site_id, webhook).await? {
        return Err(Problem::not_found("webhook"));
    }
    let (deliveries, next) = deliveries_read::history(&mut conn, webhook, &query).await?;
    let data = deliveries
        .into_iter()
        .map(|delivery| DeliveryAnswer::new(delivery, None))
        .collect();
    Ok(answer::json(
        StatusCode::OK,
        &Page {
            data,
            next: next.map(|id| id.to_string()),
        },
    ))
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let webhook = path.webhook()?;
    let mut conn = state.read().await?;
    if !webhooks::existed(&mut conn, &site_id, webhook).await? {
        return Err(Problem::not_found("webhook"));
    }
    let found = deliveries_read::one(&mut conn, webhook, path.delivery()?).await?;
    let (delivery, attempts) = found.ok_or_else(|| Problem::not_found("delivery"))?;
    Ok(answer::json(
        StatusCode::OK,
        &DeliveryAnswer::new(delivery, Some(attempts)),
    ))
}

fn read_query(query: &Query, errors: &mut Errors) -> HistoryQuery {
    query.refuse_unknown(&["status", "event", "since", "limit", "after"], errors);
    let since: Option<Since> = query.one("since", "an RFC 3339 time such as 2026-02-25T12:00:00Z", errors);
    HistoryQuery {
        statuses: query.many("status", &DeliveryStatus::ALL.map(DeliveryStatus::as_str), errors),
        events: query.many("event", &EventType::ALL.map(EventType::as_str), errors),
        since_ms: since.map(|since| since.0.timestamp_millis()),
        after: query.one("after", "the `next` of a page before", errors),
        limit: query.limit(errors),
    }
}

struct Since(DateTime<Utc>);

impl std::str::FromStr for Since {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, chrono::ParseError> {
        // A `+` that was not escaped arrives as a blank.
        DateTime::parse_from_rfc3339(&text.replace(' ', "+")).map(|at| Self(at.to_utc()))
    }
}

#[derive(Serialize)]
struct DeliveryAnswer {
    id: DeliveryId,
    notification_id: NotificationId,
    webhook_id: WebhookId,
    site_id: String,
    event_type: String,
    origin: String,
    status: String,
    response_code: Option<i32>,
    attempts: i32,
    failure_reason: Option<String>,
    next_retry_at: Option<String>,
    parked_until: Option<String>,
    parked_reason: Option<String>,
    resend_of: Option<DeliveryId>,
    /// The body as it was signed.
    payload: Option<Box<RawValue>>,
    created_at: String,
    first_attempt_at: Option<String>,
    inserted_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_log: Option<Vec<AttemptAnswer>>,
}

impl DeliveryAnswer {
    fn new(delivery: DeliveryRecord, attempts: Option<Vec<AttemptRecord>>) -> Self {
        Self {
            id: DeliveryId::from_uuid(delivery.id),
            notification_id: NotificationId::from_uuid(delivery.notification_id),
            webhook_id: WebhookId::from_uuid(delivery.webhook_id),
            site_id: delivery.site_id,
            event_type: delivery.event_type,
            origin: delivery.origin,
            status: delivery.status,
            response_code: delivery.response_code,
            attempts: delivery.attempts,
            failure_reason: delivery.failure_reason,
            next_retry_at: optional_time(delivery.next_retry_at),
            parked_until: optional_time(delivery.parked_until),
            parked_reason: delivery.parked_reason,
            resend_of: delivery.resend_of.map(DeliveryId::from_uuid),
            payload: delivery.payload.and_then(|body| read_payload(delivery.id, body)),
            created_at: time(delivery.created_at),
            first_attempt_at: optional_time(delivery.first_attempt_at),
            inserted_at: time(delivery.inserted_at),
            updated_at: time(delivery.updated_at),
            attempt_log: attempts.map(|attempts| attempts.into_iter().map(AttemptAnswer::from).collect()),
        }
    }
}

/// The stored body as it stands; read only to be sure that the answer stays JSON.
fn read_payload(id: Uuid, body: Vec<u8>) -> Option<Box<RawValue>> {
    let read = String::from_utf8(body)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok());
    if read.is_none() {
        tracing::error!(delivery.id = %DeliveryId::from_uuid(id), "a stored payload is not JSON");
    }
    read
}

#[derive(Serialize)]
struct AttemptAnswer {
    attempt: i32,
    response_code: Option<i32>,
    result: String,
    /// Whose fault: `none`, `endpoint` or `own`.
    fault: String,
    error: Option<String>,
    url: Option<String>,
    remote_address: Option<String>,
    due_at: String,
    started_at: String,
    headers_at: Option<String>,
    ended_at: String,
    retry_at: Option<String>,
    possible_repeat: bool,
    dns_ms: Option<i32>,
    connect_ms: Option<i32>,
    tls_ms: Option<i32>,
    response_ms: Option<i32>,
    total_ms: Option<i32>,
    /// The start of what the endpoint answered, as text.
    response: Option<String>,
}

impl From<AttemptRecord> for AttemptAnswer {
    fn from(attempt: AttemptRecord) -> Self {
        Self {
            attempt: attempt.attempt,
            response_code: attempt.status_code,
            result: attempt.result,
            fault: attempt.fault,
            error: attempt.error,
            url: attempt.url_masked,
            remote_address: attempt.remote_address,
            due_at: time(attempt.due_at),
            started_at: time(attempt.started_at),
            headers_at: optional_time(attempt.headers_at),
            ended_at: time(attempt.ended_at),
            retry_at: optional_time(attempt.retry_at),
            possible_repeat: attempt.possible_repeat,
            dns_ms: attempt.dns_ms,
            connect_ms: attempt.connect_ms,
            tls_ms: attempt.tls_ms,
            response_ms: attempt.response_ms,
            total_ms: attempt.total_ms,
            response: attempt
                .response
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

//! A delivery and its attempts in answers.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::record::deliveries_read::{AttemptRecord, LastAttempt, StoredDelivery};

use super::answer::{optional_time, time};

/// A delivery, with its attempts if it is shown alone.
#[derive(Serialize)]
pub(super) struct DeliveryAnswer {
    id: DeliveryId,
    notification_id: NotificationId,
    webhook_id: WebhookId,
    site_id: String,
    event_type: String,
    origin: String,
    status: String,
    response_code: Option<i32>,
    attempts: i32,
    /// Result of the last attempt.
    result: Option<String>,
    /// Time that the last attempt took.
    latency_ms: Option<i32>,
    failure_reason: Option<String>,
    next_retry_at: Option<String>,
    parked_until: Option<String>,
    parked_reason: Option<String>,
    resend_of: Option<DeliveryId>,
    /// The body, byte for byte as it was signed.
    payload: Option<Box<RawValue>>,
    created_at: String,
    first_attempt_at: Option<String>,
    inserted_at: String,
    updated_at: String,
    /// The deliveries by which this one was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    resends: Option<Vec<DeliveryId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_log: Option<Vec<AttemptAnswer>>,
}

impl DeliveryAnswer {
    pub(super) fn new(
        delivery: StoredDelivery,
        last: Option<LastAttempt>,
        attempts: Option<Vec<AttemptRecord>>,
    ) -> Self {
        let latency_ms = last.as_ref().and_then(|last| last.total_ms);
        Self {
            result: last.map(|last| last.result),
            latency_ms,
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
            resends: None,
            attempt_log: attempts.map(|attempts| attempts.into_iter().map(AttemptAnswer::from).collect()),
        }
    }

    /// Adds the deliveries by which it was sent again.
    pub(super) fn with_resends(mut self, resends: Vec<Uuid>) -> Self {
        self.resends = Some(resends.into_iter().map(DeliveryId::from_uuid).collect());
        self
    }
}

/// The stored body, byte for byte. It is parsed only to make sure that the answer is JSON.
fn read_payload(id: Uuid, body: Vec<u8>) -> Option<Box<RawValue>> {
    let read = String::from_utf8(body)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok());
    if read.is_none() {
        tracing::error!(delivery.id = %DeliveryId::from_uuid(id), "a stored payload is not JSON");
    }
    read
}

/// One request to the endpoint.
#[derive(Serialize)]
struct AttemptAnswer {
    attempt: i32,
    response_code: Option<i32>,
    result: String,
    /// The side at fault: `none`, `endpoint` or `own`.
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
    /// The start of the endpoint's answer, as text.
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

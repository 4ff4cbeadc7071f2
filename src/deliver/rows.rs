//! Conversions between a record at work, an exchange and rows of Postgres, all in one place.

use std::time::Duration;

use super::http::exchange::Exchange;
use super::intake::work::Work;
use super::outcome::Next;
use super::resume::{ClaimedAttempt, DeliveryProgress};
use crate::dispatch::record::DeliveryRecord;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::time::from_ms;
use crate::record::outcomes::{AttemptRow, Claim, DeliveryFacts, KnownDelivery, OutcomeRow};

/// Outcome of a record, on its way to Postgres.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) work: Work,
    pub(crate) row: OutcomeRow,
    /// `None`: cancelled, nothing follows.
    pub(crate) next: Option<Next>,
}

/// Makes the outcome of an attempt. `url` is the webhook's, masked.
pub(crate) fn attempted(
    work: Work,
    url: String,
    exchange: Exchange,
    next: Next,
    possible_repeat: bool,
) -> Outcome {
    let (status, failure_reason, next_retry_at) = match next {
        Next::Delivered => (DeliveryStatus::Delivered, None, None),
        Next::Retry { due_at_ms, .. } => (DeliveryStatus::Retrying, None, Some(from_ms(due_at_ms))),
        Next::Failed { reason } => (DeliveryStatus::Failed, Some(reason), None),
    };
    let started_at = from_ms(exchange.started_at_ms);
    let row = OutcomeRow {
        facts: facts(&work.record),
        status,
        attempts: to_int(work.record.attempt),
        response_code: exchange.status.map(i32::from),
        failure_reason,
        next_retry_at,
        first_attempt_at: Some(work.record.first_attempt_at_ms.map_or(started_at, from_ms)),
        attempt: Some(attempt(&work, url, exchange, possible_repeat)),
    };
    Outcome {
        work,
        row,
        next: Some(next),
    }
}

fn attempt(work: &Work, url: String, exchange: Exchange, possible_repeat: bool) -> AttemptRow {
    let millis =
        |duration: Option<Duration>| duration.map(|one| i32::try_from(one.as_millis()).unwrap_or(i32::MAX));
    AttemptRow {
        due_at: from_ms(work.due_at_ms),
        started_at: from_ms(exchange.started_at_ms),
        headers_at: exchange.headers_at_ms.map(from_ms),
        ended_at: from_ms(exchange.ended_at_ms),
        status_code: exchange.status.map(i32::from),
        result: exchange.result,
        fault: exchange.fault(),
        error: exchange.error,
        response: exchange.response,
        remote_address: exchange.remote.map(|address| address.to_string()),
        url_masked: url,
        possible_repeat,
        dns_ms: millis(exchange.phases.dns),
        connect_ms: millis(exchange.phases.connect),
        tls_ms: millis(exchange.phases.tls),
        response_ms: millis(exchange.phases.response),
        total_ms: millis(exchange.phases.total),
    }
}

/// Makes the outcome of a delivery that ends without a request.
pub(crate) fn unsent(work: Work, status: DeliveryStatus, reason: FailureReason) -> Outcome {
    let row = OutcomeRow {
        facts: facts(&work.record),
        status,
        attempts: to_int(work.record.attempt - 1),
        response_code: work.record.last_status.map(i32::from),
        failure_reason: Some(reason),
        next_retry_at: None,
        first_attempt_at: work.record.first_attempt_at_ms.map(from_ms),
        attempt: None,
    };
    let next = (status == DeliveryStatus::Failed).then_some(Next::Failed { reason });
    Outcome { work, row, next }
}

/// Makes the claim of a running attempt, which has ended at `deadline_ms` (milliseconds since the
/// Unix epoch).
pub(crate) fn claim(record: &DeliveryRecord, attempt: u32, deadline_ms: i64) -> Claim {
    Claim {
        facts: facts(record),
        attempt: to_int(attempt),
        until: from_ms(deadline_ms),
    }
}

/// Collects the facts that Postgres keeps of a delivery whatever its outcome.
fn facts(record: &DeliveryRecord) -> DeliveryFacts {
    DeliveryFacts {
        id: record.delivery_id,
        notification_id: record.notification_id.uuid(),
        webhook_id: record.webhook_id,
        site_id: record.site_id.to_string(),
        event_type: record.event_type,
        origin: record.origin,
        payload: record.body.to_vec(),
        created_at: from_ms(record.created_at_ms),
    }
}

/// Reads a row as the resume rule takes it.
pub(crate) fn progress_of(row: &KnownDelivery) -> DeliveryProgress {
    DeliveryProgress {
        status: row.status,
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        next_retry_at_ms: row.next_retry_at.map(|at| at.timestamp_millis()),
        failure_reason: row.failure_reason,
        last_status: row.response_code.and_then(|code| u16::try_from(code).ok()),
        first_attempt_at_ms: row.first_attempt_at.map(|at| at.timestamp_millis()),
        claim: row.claim.map(|(attempt, until)| ClaimedAttempt {
            attempt: u32::try_from(attempt).unwrap_or(0),
            until_ms: until.timestamp_millis(),
        }),
    }
}

/// Makes the record of attempt `attempt`, which follows the outcome `row`.
pub(crate) fn retry_after(
    record: &DeliveryRecord,
    row: &OutcomeRow,
    attempt: u32,
    due_at_ms: i64,
) -> DeliveryRecord {
    record.retry(attempt, due_at_ms, first_attempt_at_ms(row), last_status(row))
}

/// Makes the dead letter of a delivery of which `row` is the last outcome.
pub(crate) fn dead_letter_after(record: &DeliveryRecord, row: &OutcomeRow, reason: &str) -> DeliveryRecord {
    let attempts = u32::try_from(row.attempts).unwrap_or(0);
    record.dead_letter(reason, attempts, first_attempt_at_ms(row), last_status(row))
}

/// Makes the record of attempt `attempt` once more, which follows what Postgres has recorded.
pub(crate) fn retry_again(
    record: &DeliveryRecord,
    progress: Option<&DeliveryProgress>,
    attempt: u32,
    due_at_ms: i64,
) -> DeliveryRecord {
    let first_attempt_at_ms = progress.and_then(|known| known.first_attempt_at_ms);
    let last_status = progress.and_then(|known| known.last_status);
    record.retry(attempt, due_at_ms, first_attempt_at_ms, last_status)
}

/// Makes the dead letter of a delivery once more, by what Postgres has recorded.
pub(crate) fn dead_letter_again(
    record: &DeliveryRecord,
    progress: Option<&DeliveryProgress>,
    reason: FailureReason,
) -> DeliveryRecord {
    // A delivery that Postgres does not know has no dead letter to repeat.
    let attempts = progress.map_or(record.attempt, |known| known.attempts);
    let first_attempt_at_ms = progress.and_then(|known| known.first_attempt_at_ms);
    let last_status = progress.and_then(|known| known.last_status);
    record.dead_letter(reason.as_str(), attempts, first_attempt_at_ms, last_status)
}

fn first_attempt_at_ms(row: &OutcomeRow) -> Option<i64> {
    row.first_attempt_at.map(|at| at.timestamp_millis())
}

fn last_status(row: &OutcomeRow) -> Option<u16> {
    row.response_code.and_then(|code| u16::try_from(code).ok())
}

fn to_int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;

//! Conversions between a record at work, an exchange and rows of Postgres, all in one place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::http::exchange::Exchange;
use super::intake::work::{Assignment, Work, WorkOrigin};
use super::outcome::Next;
use super::resume::{ClaimedAttempt, DeliveryProgress};
use crate::clock;
use crate::dispatch::record::{DeliveryRecord, NextAttempt};
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::time::from_ms;
use crate::record::outcomes::{AttemptRow, Claim, DeliveryFacts, KnownDelivery, OutcomeRow, ParkedRow};
use crate::record::parked::ClaimedRow;

/// Time within which a dead letter is surely published, or its process gone.
const LETTER_CLAIM_MS: i64 = 60_000;

/// Outcome of a record, on its way to Postgres.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) work: Work,
    pub(crate) row: OutcomeRow,
    /// `None`: cancelled, nothing follows.
    pub(crate) next: Option<Next>,
    /// The webhook's own when the request was made, if one was.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
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
        Next::Retry(following, _) | Next::Park(following, _) => {
            (DeliveryStatus::Retrying, None, Some(from_ms(following.due_at_ms)))
        }
        Next::Failed { reason } => (DeliveryStatus::Failed, Some(reason), None),
    };
    let started_at = from_ms(exchange.started_at_ms);
    let (step, parked) = match next {
        Next::Retry(following, _) => (following.step, None),
        Next::Park(following, reason) => {
            let place = ParkedPlace {
                reason,
                attempt: following.attempt,
                due_at_ms: following.due_at_ms,
                shown_until_ms: following.due_at_ms,
            };
            // Nobody can have made the attempt that follows.
            let row = ParkedRow {
                claimed_until: None,
                ..parked_row(&work, place)
            };
            (following.step, Some(row))
        }
        Next::Failed { .. } => (work.record.step, kept_row(&work)),
        Next::Delivered => (work.record.step, None),
    };
    let row = OutcomeRow {
        facts: facts(&work.record),
        status,
        attempts: to_int(work.record.attempt),
        response_code: exchange.status.map(i32::from),
        failure_reason,
        next_retry_at,
        first_attempt_at: Some(work.record.first_attempt_at_ms.map_or(started_at, from_ms)),
        step: to_int(step),
        attempt: Some(attempt(work.due_at_ms, url, exchange, possible_repeat)),
        parked,
    };
    Outcome {
        work,
        row,
        next: Some(next),
        url_changed_at: None,
    }
}

/// Makes the row of an attempt that was due at `due_at_ms` (milliseconds since the Unix epoch).
pub(super) fn attempt(due_at_ms: i64, url: String, exchange: Exchange, possible_repeat: bool) -> AttemptRow {
    let millis =
        |duration: Option<Duration>| duration.map(|one| i32::try_from(one.as_millis()).unwrap_or(i32::MAX));
    AttemptRow {
        due_at: from_ms(due_at_ms),
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
        step: to_int(work.record.step),
        attempt: None,
        parked: (status == DeliveryStatus::Failed)
            .then(|| kept_row(&work))
            .flatten(),
    };
    let next = (status == DeliveryStatus::Failed).then_some(Next::Failed { reason });
    Outcome {
        work,
        row,
        next,
        url_changed_at: None,
    }
}

/// Makes the outcome of a record that is parked without an attempt: it is not sent before its own
/// due time, and its webhook is looked at again at `until_ms`.
pub(crate) fn parked(work: Work, reason: ParkReason, until_ms: i64) -> Outcome {
    let record = &work.record;
    let place = ParkedPlace {
        reason,
        attempt: record.attempt,
        due_at_ms: work.due_at_ms,
        shown_until_ms: until_ms.max(work.due_at_ms),
    };
    let is_first = record.attempt == 1;
    let row = OutcomeRow {
        facts: facts(record),
        status: if is_first {
            DeliveryStatus::Pending
        } else {
            DeliveryStatus::Retrying
        },
        attempts: to_int(record.attempt - 1),
        response_code: record.last_status.map(i32::from),
        failure_reason: None,
        next_retry_at: (!is_first).then(|| from_ms(place.shown_until_ms)),
        first_attempt_at: record.first_attempt_at_ms.map(from_ms),
        step: to_int(record.step),
        attempt: None,
        parked: Some(parked_row(&work, place)),
    };
    Outcome {
        work,
        row,
        next: None,
        url_changed_at: None,
    }
}

/// Place of a delivery in `parked`.
struct ParkedPlace {
    reason: ParkReason,
    attempt: u32,
    due_at_ms: i64,
    shown_until_ms: i64,
}

fn parked_row(work: &Work, place: ParkedPlace) -> ParkedRow {
    ParkedRow {
        partition: work.partition,
        due_at: from_ms(place.due_at_ms),
        shown_until: from_ms(place.shown_until_ms),
        reason: place.reason,
        attempt: to_int(place.attempt),
        paused_ms: work.paused_ms,
        // A claim that has ended is how a row says that its attempt may have been made.
        claimed_until: work.suspect.then_some(DateTime::UNIX_EPOCH),
        held_until: work.claimed_until(),
    }
}

/// Keeps the row of a delivery that has failed, claimed, until its dead letter is published.
fn kept_row(work: &Work) -> Option<ParkedRow> {
    let reason = work.parked()?;
    let place = ParkedPlace {
        reason,
        attempt: work.record.attempt,
        due_at_ms: work.due_at_ms,
        shown_until_ms: work.due_at_ms,
    };
    Some(ParkedRow {
        claimed_until: Some(from_ms(clock::now_ms() + LETTER_CLAIM_MS)),
        ..parked_row(work, place)
    })
}

/// Makes the work of a claimed row, under the assignment of its partition; `None` if the delivery's
/// own row is gone. `paused_to_ms`: until when its webhook has been paused at the latest. Of a
/// later attempt than the first, a dead owner's claim alone says that it may have been made.
pub(crate) fn work_of(
    row: ClaimedRow,
    assignment: Arc<Assignment>,
    read_at: Instant,
    paused_to_ms: i64,
) -> Option<(Work, DeliveryProgress)> {
    let delivery = row.delivery?;
    let pause_ms = match row.reason {
        ParkReason::Paused => (paused_to_ms - row.parked_at.timestamp_millis()).max(0),
        _ => 0,
    };
    let progress = DeliveryProgress {
        status: delivery.status,
        attempts: u32::try_from(delivery.attempts).unwrap_or(0),
        next_retry_at_ms: None,
        step: u32::try_from(row.step).unwrap_or(0),
        is_parked: delivery.waits,
        failure_reason: delivery.failure_reason,
        last_status: delivery.response_code.and_then(|code| u16::try_from(code).ok()),
        first_attempt_at_ms: delivery.first_attempt_at.map(|at| at.timestamp_millis()),
        claim: delivery.claim.map(claimed_attempt),
    };
    let record = DeliveryRecord {
        delivery_id: row.delivery_id,
        notification_id: NotificationId::from_uuid(delivery.notification_id),
        webhook_id: row.webhook_id,
        site_id: delivery.site_id.parse().ok()?,
        event_type: delivery.event_type,
        created_at_ms: delivery.created_at.timestamp_millis(),
        origin: delivery.origin,
        resend_of: delivery.resend_of.map(DeliveryId::from_uuid),
        attempt: u32::try_from(row.attempt).unwrap_or(1),
        step: progress.step,
        due_at_ms: Some(row.due_at.timestamp_millis()),
        first_attempt_at_ms: progress.first_attempt_at_ms,
        reason: None,
        last_status: progress.last_status,
        body: delivery.payload.into(),
    };
    let is_unsent_first = record.attempt == 1 && !row.was_claimed;
    let work = Work {
        record,
        origin: WorkOrigin::Row {
            assignment,
            reason: row.reason,
            claimed_until: row.claimed_until,
            job: row.job,
        },
        partition: row.partition,
        record_ms: row.parked_at.timestamp_millis(),
        due_at_ms: row.due_at.timestamp_millis(),
        suspect: row.was_claimed,
        is_suspect_if_noted: is_unsent_first,
        needs_look_up: false,
        must_be_noted: is_unsent_first,
        read_at,
        paused_ms: row.paused_ms + pause_ms,
        request: None,
    };
    Some((work, progress))
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
        resend_of: record.resend_of,
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
        step: u32::try_from(row.step).unwrap_or(0),
        is_parked: row.is_parked,
        claim: row.claim.map(claimed_attempt),
    }
}

fn claimed_attempt((attempt, until): (i32, DateTime<Utc>)) -> ClaimedAttempt {
    ClaimedAttempt {
        attempt: u32::try_from(attempt).unwrap_or(0),
        until_ms: until.timestamp_millis(),
    }
}

/// Makes the record of the attempt `following`, which follows the outcome `row`.
pub(crate) fn retry_record(
    record: &DeliveryRecord,
    row: &OutcomeRow,
    following: NextAttempt,
) -> DeliveryRecord {
    record.retry(following, first_attempt_at_ms(row), last_status(row))
}

/// Makes the dead letter of a delivery of which `row` is the last outcome.
pub(crate) fn dead_letter_record(record: &DeliveryRecord, row: &OutcomeRow, reason: &str) -> DeliveryRecord {
    let attempts = u32::try_from(row.attempts).unwrap_or(0);
    record.dead_letter(reason, attempts, first_attempt_at_ms(row), last_status(row))
}

/// Makes the record of the attempt `following` once more, which follows what Postgres has recorded.
pub(crate) fn retry_again(
    record: &DeliveryRecord,
    progress: Option<&DeliveryProgress>,
    following: NextAttempt,
) -> DeliveryRecord {
    let first_attempt_at_ms = progress.and_then(|known| known.first_attempt_at_ms);
    let last_status = progress.and_then(|known| known.last_status);
    record.retry(following, first_attempt_at_ms, last_status)
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

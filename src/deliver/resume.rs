//! Decides how to go on with a record that may have been worked on before, by the rule that a
//! recorded attempt redoes its publish, never its send.
//!
//! Work on attempt *n* is: HTTP exchange → outcome in Postgres → next record (tier or dead letter)
//! acknowledged → offset complete. After a crash between any two of them the record is read again,
//! and what Postgres knows says where to go on. Three duties of the caller make it hold:
//!
//! - It asks `resume` before every send, and again, with what is stored by then, when its own
//!   outcome was not written because another one for that attempt (or a later one) was. Then the
//!   stored due time is published and not its own, so that two owners publish the same next record.
//! - Within a process at most one record of a delivery is worked on at a time. Two copies of a
//!   record (a repeated publish) read in one batch would both find nothing known.
//! - On `Resume::Hold` it asks again at that time, or earlier when it likes.

use crate::dispatch::record::NextAttempt;
use crate::domain::delivery::{DeliveryStatus, FailureReason, LATE_AFTER};

/// State of a delivery in Postgres. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeliveryProgress {
    pub(crate) status: DeliveryStatus,
    /// The number of the last attempt recorded; 0 before the first.
    pub(crate) attempts: u32,
    /// Due time of the attempt after it, while `retrying`.
    pub(crate) next_retry_at_ms: Option<i64>,
    /// Step of the attempt after it.
    pub(crate) step: u32,
    /// True if it waits in `parked`.
    pub(crate) is_parked: bool,
    pub(crate) failure_reason: Option<FailureReason>,
    /// HTTP status of the last attempt.
    pub(crate) last_status: Option<u16>,
    pub(crate) first_attempt_at_ms: Option<i64>,
    /// The attempt that an owner had running when it gave the partition away.
    pub(crate) claim: Option<ClaimedAttempt>,
}

#[cfg(test)]
impl DeliveryProgress {
    /// Makes the state after so many attempts, for models.
    pub(in crate::deliver) const fn after(status: DeliveryStatus, attempts: u32) -> Self {
        Self {
            status,
            attempts,
            next_retry_at_ms: None,
            step: attempts,
            is_parked: false,
            failure_reason: None,
            last_status: None,
            first_attempt_at_ms: None,
            claim: None,
        }
    }
}

impl DeliveryProgress {
    /// True if its attempt is due for so long that somebody may be about to take it for overdue.
    pub(crate) fn is_late(&self, now_ms: i64) -> bool {
        let due_ms = self.next_retry_at_ms.max(self.claim.map(|claim| claim.until_ms));
        due_ms.is_none_or(|due_ms| now_ms.saturating_sub(due_ms) > LATE_AFTER.num_milliseconds())
    }
}

/// A running attempt, written down by the owner that handed its partition over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimedAttempt {
    pub(crate) attempt: u32,
    /// Time by which the attempt has ended.
    pub(crate) until_ms: i64,
}

/// Way to go on with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Nothing remains to be done for this record.
    Complete,
    /// Attempt *n* is recorded; publish the next record once more, then complete.
    Republish(NextRecord),
    /// A former owner's request may still be running: wait for its outcome, at most until then.
    Hold { until_ms: i64 },
    /// Send it. `possible_repeat`: a former owner began this attempt and its outcome never came.
    /// The caller adds what it knows itself: a record that was published before it owned the
    /// partition may have been sent, too.
    Send { possible_repeat: bool },
}

/// The record that follows a recorded attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextRecord {
    Retry(NextAttempt),
    DeadLetter { reason: FailureReason },
}

/// Decides how to go on with a record for attempt `attempt` (from 1) of a delivery that stands at
/// `progress` in Postgres; `None` when Postgres does not know it. `is_parked_row`: the record is
/// the row of `parked` itself.
pub(crate) fn resume(
    attempt: u32,
    is_parked_row: bool,
    progress: Option<&DeliveryProgress>,
    now_ms: i64,
) -> Resume {
    let Some(progress) = progress else {
        return Resume::Send {
            possible_repeat: false,
        };
    };
    // A later attempt's own record carries the chain on. The row does so itself: another owner may
    // have ended the delivery meanwhile, and died before its dead letter was published.
    let is_ended_row = is_parked_row && progress.status == DeliveryStatus::Failed;
    if progress.attempts > attempt && !is_ended_row {
        return Resume::Complete;
    }
    // Its row carries the chain on; if this attempt was recorded meanwhile, with a later one.
    if progress.is_parked && (!is_parked_row || progress.attempts == attempt) {
        return Resume::Complete;
    }
    match progress.status {
        DeliveryStatus::Delivered | DeliveryStatus::Cancelled => Resume::Complete,
        // Recorded with this attempt, or before its request was made (expired, overflow): its dead
        // letter may be missing.
        DeliveryStatus::Failed => Resume::Republish(NextRecord::DeadLetter {
            reason: progress.failure_reason.unwrap_or(FailureReason::Exhausted),
        }),
        DeliveryStatus::Pending | DeliveryStatus::Retrying if progress.attempts == attempt => {
            Resume::Republish(NextRecord::Retry(NextAttempt {
                attempt: attempt.saturating_add(1),
                step: progress.step,
                // It is always there; were it not, any fixed time would do, since two readers must
                // agree on it.
                due_at_ms: progress.next_retry_at_ms.unwrap_or(0),
            }))
        }
        DeliveryStatus::Pending | DeliveryStatus::Retrying => match progress.claim {
            Some(claim) if claim.attempt == attempt && claim.until_ms > now_ms => Resume::Hold {
                until_ms: claim.until_ms,
            },
            claim => Resume::Send {
                possible_repeat: claim.is_some_and(|claim| claim.attempt == attempt),
            },
        },
    }
}

#[cfg(test)]
mod protocol;

#[cfg(test)]
mod tests;

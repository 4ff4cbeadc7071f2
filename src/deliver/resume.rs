//! What to do with a record that may have been worked on before: the rule that a recorded attempt redoes its publish, never
//! its send.
//!
//! Work on attempt *n* is: HTTP exchange → outcome in Postgres → next record (tier or dead letter) acknowledged → offset
//! complete. After a crash between any two of them the record is read again, and what Postgres knows says where to go on. Three
//! duties of the caller make it hold:
//!
//! - It asks `resume` before every send, and again, with what is stored by then, when its own outcome was not written
//!   because another one for that attempt (or a later one) was: then the stored due time is published, not its own, and
//!   the chain does not fork.
//! - Within a process at most one record of a delivery is worked on at a time. Two copies of a record (a repeated publish)
//!   read in one batch would both find nothing known.
//! - `Resume::Hold` asks again at that time, or earlier when it likes.

use crate::domain::delivery::{DeliveryStatus, FailureReason};

/// What Postgres knows of a delivery. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) status: DeliveryStatus,
    /// The number of the last attempt recorded; 0 before the first.
    pub(crate) attempts: u32,
    /// When the attempt after it is due, while `retrying`.
    pub(crate) next_retry_at_ms: Option<i64>,
    pub(crate) failure_reason: Option<FailureReason>,
    /// HTTP status of the last attempt.
    pub(crate) last_status: Option<u16>,
    pub(crate) first_attempt_at_ms: Option<i64>,
    /// The attempt that an owner had running when it gave the partition away, and the time by which it has ended.
    pub(crate) claim: Option<Claim>,
}

/// A running attempt, written down by the owner that handed its partition over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) attempt: u32,
    pub(crate) until_ms: i64,
}

/// How to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Nothing remains to be done for this record.
    Complete,
    /// Attempt *n* is recorded; publish what follows it once more, then complete.
    Republish(Following),
    /// A former owner's request may still be under way: wait for its outcome, at most until then.
    Hold { until_ms: i64 },
    /// Send it. `possible_repeat`: a former owner began this attempt and its outcome never came. The caller adds what it knows
    /// itself: a record that was published before it owned the partition may have been sent, too.
    Send { possible_repeat: bool },
}

/// The record that follows a recorded attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Following {
    Retry { attempt: u32, due_at_ms: i64 },
    DeadLetter { reason: FailureReason },
}

/// Decides how to go on with a record for attempt `attempt` (from 1) of a delivery of which Postgres knows `known`.
pub(crate) fn resume(attempt: u32, known: Option<&Known>, now_ms: i64) -> Resume {
    let Some(known) = known else {
        return Resume::Send {
            possible_repeat: false,
        };
    };
    // A later attempt's own record carries the chain on.
    if known.attempts > attempt {
        return Resume::Complete;
    }
    match known.status {
        DeliveryStatus::Delivered | DeliveryStatus::Cancelled => Resume::Complete,
        // Recorded with this attempt, or before its request was made (expired, overflow): its dead letter may be missing.
        DeliveryStatus::Failed => Resume::Republish(Following::DeadLetter {
            reason: known.failure_reason.unwrap_or(FailureReason::Exhausted),
        }),
        DeliveryStatus::Pending | DeliveryStatus::Retrying if known.attempts == attempt => {
            Resume::Republish(Following::Retry {
                attempt: attempt.saturating_add(1),
                // It is always there; were it not, the time that cannot differ between two readers would be any fixed one.
                due_at_ms: known.next_retry_at_ms.unwrap_or(0),
            })
        }
        DeliveryStatus::Pending | DeliveryStatus::Retrying => match known.claim {
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
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn known(status: DeliveryStatus, attempts: u32) -> Known {
        Known {
            status,
            attempts,
            next_retry_at_ms: (status == DeliveryStatus::Retrying).then_some(NOW + 777),
            failure_reason: (status == DeliveryStatus::Failed).then_some(FailureReason::Gone),
            last_status: None,
            first_attempt_at_ms: None,
            claim: None,
        }
    }

    #[test]
    fn every_status_and_every_distance_between_record_and_database() {
        use DeliveryStatus::*;
        let send = Resume::Send {
            possible_repeat: false,
        };
        let again = Resume::Republish(Following::Retry {
            attempt: 3,
            due_at_ms: NOW + 777,
        });
        let dead = Resume::Republish(Following::DeadLetter {
            reason: FailureReason::Gone,
        });
        let done = Resume::Complete;
        // The record is for attempt 2; the columns are what the database has recorded.
        for (status, of_0, of_1, of_2, of_3) in [
            (Retrying, send, send, again, done),
            (Delivered, done, done, done, done),
            (Cancelled, done, done, done, done),
            (Failed, dead, dead, dead, done),
        ] {
            for (attempts, expected) in [(0, of_0), (1, of_1), (2, of_2), (3, of_3)] {
                assert_eq!(
                    resume(2, Some(&known(status, attempts)), NOW),
                    expected,
                    "{status} {attempts}"
                );
            }
        }
        assert_eq!(resume(1, Some(&known(Pending, 0)), NOW), send);
        assert_eq!(resume(1, Some(&known(Pending, 2)), NOW), done);
        assert_eq!(resume(1, None, NOW), send);
        assert_eq!(resume(7, None, NOW), send);
    }

    #[test]
    fn a_recorded_attempt_is_never_sent_again() {
        for status in DeliveryStatus::ALL {
            for attempts in 1..6 {
                for attempt in 1..=attempts {
                    for claim in [
                        None,
                        Some(Claim {
                            attempt,
                            until_ms: NOW - 1,
                        }),
                    ] {
                        let known = Known {
                            claim,
                            ..known(status, attempts)
                        };
                        assert!(!matches!(resume(attempt, Some(&known), NOW), Resume::Send { .. }));
                    }
                }
            }
        }
    }

    #[test]
    fn a_claimed_attempt_is_held_until_the_claim_has_passed_and_then_flagged() {
        let with = |attempt, until_ms| Known {
            claim: Some(Claim { attempt, until_ms }),
            ..known(DeliveryStatus::Retrying, 1)
        };
        assert_eq!(
            resume(2, Some(&with(2, NOW + 5)), NOW),
            Resume::Hold { until_ms: NOW + 5 }
        );
        assert_eq!(
            resume(2, Some(&with(2, NOW)), NOW),
            Resume::Send {
                possible_repeat: true
            }
        );
        // Of an earlier attempt nothing is under way any more: it is recorded.
        assert_eq!(
            resume(2, Some(&with(1, NOW + 5)), NOW),
            Resume::Send {
                possible_repeat: false
            }
        );
        let first = Known {
            claim: Some(Claim {
                attempt: 1,
                until_ms: NOW + 5,
            }),
            ..known(DeliveryStatus::Pending, 0)
        };
        assert_eq!(resume(1, Some(&first), NOW), Resume::Hold { until_ms: NOW + 5 });
    }
}

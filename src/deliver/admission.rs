//! Decides by a webhook's state and a notification's age if a delivery may be sent.
//!
//! Asked by `super::decide` when a delivery arrives, and again just before its request is built, as
//! the webhook may have changed. A verdict is acted on only after `super::resume` was asked, where
//! somebody else may have worked on the record: what is recorded is not judged anew.

use crate::domain::delivery::{FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::webhook::Webhook;

/// Verdict on a delivery that is about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendVerdict {
    Send,
    /// It ends as `failed` without a further attempt, with a dead letter.
    Fail(FailureReason),
    /// It ends as `cancelled` without a further attempt and without a dead letter.
    Cancel(FailureReason),
}

/// Checks the webhook's present state and the notification's age. Age counts from `created_at_ms`,
/// when the notification was decided. The caller subtracts the time for which the delivery was
/// paused from `now_ms`.
pub(crate) fn admit(
    webhook: &Webhook,
    event: EventType,
    origin: Origin,
    created_at_ms: i64,
    now_ms: i64,
) -> SendVerdict {
    if !webhook.enabled || webhook.disabled {
        return SendVerdict::Cancel(FailureReason::Disabled);
    }
    // What was decided before the webhook was last switched on is not sent; detection draws the
    // same line. Only deliveries of events are judged by it. One that a person asked for again may
    // also be of any age.
    if origin == Origin::Event && created_at_ms < webhook.active_since_ms {
        return SendVerdict::Cancel(FailureReason::Disabled);
    }
    let is_asked_for = matches!(origin, Origin::Resend | Origin::Recover);
    match webhook.max_age_seconds(event).filter(|_| !is_asked_for) {
        Some(seconds) if now_ms.saturating_sub(created_at_ms) > i64::from(seconds) * 1_000 => {
            SendVerdict::Fail(FailureReason::Expired)
        }
        _ => SendVerdict::Send,
    }
}

#[cfg(test)]
mod tests;

//! Decides if a webhook still wants a delivery, before anything is sent.
//!
//! Asked after `super::resume`, because what is recorded is not judged anew, and before the request
//! is built.

use crate::domain::delivery::{FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::webhook::Webhook;

/// Answer to a delivery that asks to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Send it.
    Open,
    /// The delivery fails unsent, and gets a dead letter.
    Fail(FailureReason),
    /// The delivery is cancelled unsent; `recover` can send it.
    Cancel(FailureReason),
}

/// Judges by the webhook as it is now and by the notification's age, which counts from its
/// decision. `now_ms` is less by the time for which the delivery was paused.
pub(crate) fn gate(
    webhook: &Webhook,
    event: EventType,
    origin: Origin,
    created_at_ms: i64,
    now_ms: i64,
) -> Gate {
    if !webhook.enabled || webhook.disabled {
        return Gate::Cancel(FailureReason::Disabled);
    }
    // A notification from before the webhook was switched on again missed nothing: detection draws
    // the same line. A delivery that somebody asked for again is allowed to be old.
    if origin == Origin::Event && created_at_ms < webhook.active_since_ms {
        return Gate::Cancel(FailureReason::Disabled);
    }
    // A person who asks for an old delivery wants it.
    let is_asked_for = matches!(origin, Origin::Resend | Origin::Recover);
    match webhook.max_age_seconds(event).filter(|_| !is_asked_for) {
        Some(seconds) if now_ms.saturating_sub(created_at_ms) > i64::from(seconds) * 1_000 => {
            Gate::Fail(FailureReason::Expired)
        }
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests;

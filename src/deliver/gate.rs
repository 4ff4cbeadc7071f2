//! Whether a record is still wanted, before anything is sent.
//!
//! Asked after `super::resume` (what is recorded is not judged anew) and before the request is built.

use crate::domain::delivery::{FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::webhook::Webhook;

/// What is to be done with a record before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Send it.
    Open,
    /// The delivery fails unsent, and gets a dead letter.
    Fail(FailureReason),
    /// The delivery is cancelled unsent; `recover` can send it.
    Cancel(FailureReason),
}

/// Looks at the webhook as it is now (`None`: deleted) and at the notification's age, which counts from its decision.
pub(crate) fn gate(
    webhook: Option<&Webhook>,
    event: EventType,
    origin: Origin,
    created_at_ms: i64,
    now_ms: i64,
) -> Gate {
    let Some(webhook) = webhook else {
        return Gate::Cancel(FailureReason::Deleted);
    };
    if !webhook.enabled || webhook.disabled {
        return Gate::Cancel(FailureReason::Disabled);
    }
    // Off and on again: what was queued before has not waited for it. Detection draws the same line. Whoever asks for one
    // delivery again means an old one.
    if origin == Origin::Event && created_at_ms < webhook.active_since_ms {
        return Gate::Cancel(FailureReason::Disabled);
    }
    match webhook.max_age_seconds(event) {
        Some(seconds) if now_ms.saturating_sub(created_at_ms) > i64::from(seconds) * 1_000 => {
            Gate::Fail(FailureReason::Expired)
        }
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::request::tests::webhook;

    const NOW: i64 = 1_771_970_400_000;

    fn asked(hook: &Webhook, event: EventType, created_at_ms: i64, now_ms: i64) -> Gate {
        gate(Some(hook), event, Origin::Event, created_at_ms, now_ms)
    }

    #[test]
    fn a_record_is_sent_only_in_time() {
        let mut hook = webhook("https://example.com/");
        let (spike, goal) = (EventType::VisitorSpike, EventType::GoalCompletion);
        let six_hours = 6 * 3_600_000;
        assert_eq!(asked(&hook, spike, NOW - six_hours, NOW), Gate::Open);
        assert_eq!(
            asked(&hook, spike, NOW - six_hours - 1, NOW),
            Gate::Fail(FailureReason::Expired)
        );
        assert_eq!(asked(&hook, goal, 0, NOW), Gate::Open);
        hook.max_age_seconds = Some(60);
        assert_eq!(
            asked(&hook, goal, NOW - 60_001, NOW),
            Gate::Fail(FailureReason::Expired)
        );
        assert_eq!(asked(&hook, goal, NOW + 60_001, NOW), Gate::Open);
        hook.active_since_ms = i64::MIN;
        assert_eq!(
            asked(&hook, goal, i64::MIN, i64::MAX),
            Gate::Fail(FailureReason::Expired)
        );
    }

    #[test]
    fn a_webhook_that_is_off_whoever_switched_it_gets_nothing() {
        let goal = EventType::GoalCompletion;
        for (enabled, disabled, wanted) in [
            (true, false, Gate::Open),
            (true, true, Gate::Cancel(FailureReason::Disabled)),
            (false, false, Gate::Cancel(FailureReason::Disabled)),
            (false, true, Gate::Cancel(FailureReason::Disabled)),
        ] {
            let mut hook = webhook("https://example.com/");
            (hook.enabled, hook.disabled) = (enabled, disabled);
            assert_eq!(asked(&hook, goal, NOW, NOW), wanted, "{enabled} {disabled}");
        }
        assert_eq!(
            gate(None, goal, Origin::Event, NOW, NOW),
            Gate::Cancel(FailureReason::Deleted)
        );
    }

    #[test]
    fn what_was_decided_before_the_webhook_was_switched_on_is_sent_only_when_somebody_asks_for_it() {
        let mut hook = webhook("https://example.com/");
        hook.active_since_ms = NOW;
        hook.max_age_seconds = Some(60);
        for (origin, created_at_ms, wanted) in [
            (Origin::Event, NOW - 1, Gate::Cancel(FailureReason::Disabled)),
            (Origin::Event, NOW, Gate::Open),
            (Origin::Resend, NOW - 1, Gate::Open),
            (Origin::Recover, NOW - 1, Gate::Open),
            (Origin::Replay, NOW - 1, Gate::Open),
            // It missed nothing, so nothing has failed either.
            (Origin::Event, NOW - 61_000, Gate::Cancel(FailureReason::Disabled)),
        ] {
            let event = EventType::GoalCompletion;
            assert_eq!(
                gate(Some(&hook), event, origin, created_at_ms, NOW),
                wanted,
                "{origin:?} {created_at_ms}"
            );
        }
    }
}

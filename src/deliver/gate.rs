//! Whether a record is still wanted, before anything is sent.
//!
//! Asked after `super::resume` (what is recorded is not judged anew) and before the request is built.

use crate::domain::delivery::FailureReason;
use crate::domain::event::EventType;
use crate::domain::webhook::Webhook;

/// What is to be done with a record before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Send it.
    Open,
    /// The delivery fails unsent, and gets a dead letter.
    Fail(FailureReason),
    /// The delivery is cancelled unsent; `recover` can send it.
    Cancel(FailureReason),
}

/// Looks at the webhook as it is now (`None`: deleted) and at the notification's age, which counts from its decision.
pub fn gate(webhook: Option<&Webhook>, event: EventType, created_at_ms: i64, now_ms: i64) -> Gate {
    let Some(webhook) = webhook else {
        return Gate::Cancel(FailureReason::Deleted);
    };
    if !webhook.enabled {
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

    #[test]
    fn a_record_is_sent_only_to_a_webhook_that_wants_it_and_in_time() {
        let mut hook = webhook("https://example.com/");
        let (spike, goal) = (EventType::VisitorSpike, EventType::GoalCompletion);
        let six_hours = 6 * 3_600_000;
        assert_eq!(gate(Some(&hook), spike, NOW - six_hours, NOW), Gate::Open);
        assert_eq!(
            gate(Some(&hook), spike, NOW - six_hours - 1, NOW),
            Gate::Fail(FailureReason::Expired)
        );
        assert_eq!(gate(Some(&hook), goal, 0, NOW), Gate::Open);
        hook.max_age_seconds = Some(60);
        assert_eq!(
            gate(Some(&hook), goal, NOW - 60_001, NOW),
            Gate::Fail(FailureReason::Expired)
        );
        assert_eq!(gate(Some(&hook), goal, NOW + 60_001, NOW), Gate::Open);
        assert_eq!(
            gate(Some(&hook), goal, i64::MIN, i64::MAX),
            Gate::Fail(FailureReason::Expired)
        );
        hook.enabled = false;
        assert_eq!(
            gate(Some(&hook), goal, NOW, NOW),
            Gate::Cancel(FailureReason::Disabled)
        );
        assert_eq!(gate(None, goal, NOW, NOW), Gate::Cancel(FailureReason::Deleted));
    }
}

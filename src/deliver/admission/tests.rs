use super::*;
use crate::deliver::request::tests::webhook;

const NOW: i64 = 1_771_970_400_000;

fn asked(hook: &Webhook, event: EventType, created_at_ms: i64, now_ms: i64) -> SendVerdict {
    admit(hook, event, Origin::Event, created_at_ms, now_ms)
}

#[test]
fn a_record_is_sent_only_in_time() {
    let mut hook = webhook("https://example.com/");
    let (spike, goal) = (EventType::VisitorSpike, EventType::GoalCompletion);
    let six_hours = 6 * 3_600_000;
    assert_eq!(asked(&hook, spike, NOW - six_hours, NOW), SendVerdict::Send);
    assert_eq!(
        asked(&hook, spike, NOW - six_hours - 1, NOW),
        SendVerdict::Fail(FailureReason::Expired)
    );
    assert_eq!(asked(&hook, goal, 0, NOW), SendVerdict::Send);
    hook.max_age_seconds = Some(60);
    assert_eq!(
        asked(&hook, goal, NOW - 60_001, NOW),
        SendVerdict::Fail(FailureReason::Expired)
    );
    assert_eq!(asked(&hook, goal, NOW + 60_001, NOW), SendVerdict::Send);
    hook.active_since_ms = i64::MIN;
    assert_eq!(
        asked(&hook, goal, i64::MIN, i64::MAX),
        SendVerdict::Fail(FailureReason::Expired)
    );
}

#[test]
fn a_webhook_that_is_off_gets_nothing_whoever_switched_it() {
    let goal = EventType::GoalCompletion;
    for (enabled, disabled, wanted) in [
        (true, false, SendVerdict::Send),
        (true, true, SendVerdict::Cancel(FailureReason::Disabled)),
        (false, false, SendVerdict::Cancel(FailureReason::Disabled)),
        (false, true, SendVerdict::Cancel(FailureReason::Disabled)),
    ] {
        let mut hook = webhook("https://example.com/");
        (hook.enabled, hook.disabled) = (enabled, disabled);
        assert_eq!(asked(&hook, goal, NOW, NOW), wanted, "{enabled} {disabled}");
    }
}

#[test]
fn what_is_older_than_the_activation_is_sent_only_on_request() {
    let mut hook = webhook("https://example.com/");
    hook.active_since_ms = NOW;
    hook.max_age_seconds = Some(60);
    for (origin, created_at_ms, wanted) in [
        (
            Origin::Event,
            NOW - 1,
            SendVerdict::Cancel(FailureReason::Disabled),
        ),
        (Origin::Event, NOW, SendVerdict::Send),
        (Origin::Resend, NOW - 1, SendVerdict::Send),
        (Origin::Recover, NOW - 1, SendVerdict::Send),
        (Origin::Replay, NOW - 1, SendVerdict::Send),
        // It missed nothing, so nothing has failed either.
        (
            Origin::Event,
            NOW - 61_000,
            SendVerdict::Cancel(FailureReason::Disabled),
        ),
    ] {
        let event = EventType::GoalCompletion;
        assert_eq!(
            admit(&hook, event, origin, created_at_ms, NOW),
            wanted,
            "{origin:?} {created_at_ms}"
        );
    }
}

use super::*;
use crate::deliver::request::tests::webhook;
use crate::deliver::tests::{PUBLISHED_MS, Source};
use crate::domain::time::from_ms;

const NOW: i64 = PUBLISHED_MS + 10;

/// A snapshot of the registry, read at this time, with or without the webhook.
fn snapshot(webhook: Option<Webhook>, read_at_ms: i64) -> WebhookSnapshot {
    let webhook = match webhook {
        Some(webhook) => WebhookState::There(Arc::new(webhook)),
        None => WebhookState::Absent,
    };
    WebhookSnapshot { webhook, read_at_ms }
}

fn disabled(read_at_ms: i64) -> WebhookSnapshot {
    let mut webhook = webhook("https://example.com/");
    webhook.disabled = true;
    snapshot(Some(webhook), read_at_ms)
}

fn decide_on(snapshot: &WebhookSnapshot) -> Action {
    decide(&Source::new().read(1, 2), snapshot, NOW)
}

fn cancelled(reason: FailureReason) -> Action {
    let status = DeliveryStatus::Cancelled;
    Action::Settle(Settlement::End { status, reason })
}

#[test]
fn what_is_wanted_waits_for_its_turn() {
    let wanted = snapshot(Some(webhook("https://example.com/")), NOW);
    assert!(matches!(decide_on(&wanted), Action::Queue { .. }));
}

#[test]
fn a_deleted_or_disabled_webhook_cancels_the_delivery() {
    let after = PUBLISHED_MS + CLOCK_SLACK_MS + 1;
    assert_eq!(
        decide_on(&snapshot(None, after)),
        cancelled(FailureReason::Deleted)
    );
    assert_eq!(decide_on(&disabled(after)), cancelled(FailureReason::Disabled));
}

#[test]
fn an_unreadable_webhook_is_not_a_deleted_one() {
    let unreadable = WebhookSnapshot {
        webhook: WebhookState::Unreadable,
        read_at_ms: i64::MAX,
    };
    assert!(matches!(
        decide_on(&unreadable),
        Action::Settle(Settlement::Park { .. })
    ));
}

#[test]
fn a_registry_older_than_the_record_cancels_nothing() {
    let before = PUBLISHED_MS + CLOCK_SLACK_MS;
    for snapshot in [snapshot(None, before), disabled(before)] {
        assert_eq!(decide_on(&snapshot), Action::RequeueAfter(REGISTRY_POLL));
    }
    // A record from a clock that runs ahead does not wait longer than its due time says.
    let mut work = Source::new().read(1, 1);
    work.record_ms = i64::MAX;
    assert_eq!(
        decide(&work, &snapshot(None, before + 1), NOW),
        cancelled(FailureReason::Deleted)
    );
}

#[test]
fn age_does_not_count_a_pause_and_not_what_was_asked_for() {
    let mut short = webhook("https://example.com/");
    short.max_age_seconds = Some(1);
    let old = snapshot(Some(short), i64::MIN);
    let mut work = Source::new().read(1, 1);
    let expired = Action::Settle(Settlement::End {
        status: DeliveryStatus::Failed,
        reason: FailureReason::Expired,
    });
    let now_ms = PUBLISHED_MS + 5_000;
    assert_eq!(decide(&work, &old, now_ms), expired);
    work.paused_ms = 4_500;
    assert!(matches!(decide(&work, &old, now_ms), Action::Queue { .. }));
    work.paused_ms = 0;
    work.record.origin = crate::domain::delivery::Origin::Resend;
    assert!(matches!(decide(&work, &old, now_ms), Action::Queue { .. }));
}

#[test]
fn age_does_not_count_a_pause_before_its_record_was_read() {
    let mut short = webhook("https://example.com/");
    short.max_age_seconds = Some(1);
    short.paused_at = Some(from_ms(PUBLISHED_MS - 9_000));
    short.limits.paused_until_ms = Some(PUBLISHED_MS + 4_500);
    let paused = snapshot(Some(short), i64::MIN);
    let work = Source::new().read(1, 1);
    let expired = Action::Settle(Settlement::End {
        status: DeliveryStatus::Failed,
        reason: FailureReason::Expired,
    });
    for (after_ms, is_expired) in [(3_000, false), (5_000, false), (5_500, false), (5_501, true)] {
        let action = decide(&work, &paused, PUBLISHED_MS + after_ms);
        assert_eq!(action == expired, is_expired, "{after_ms} ms after: {action:?}");
    }
}

#[test]
fn what_is_due_far_away_is_parked_until_then() {
    let mut work = Source::new().read(1, 2);
    work.due_at_ms = NOW + 3_600_000;
    if let WorkOrigin::Record { is_far_due, .. } = &mut work.origin {
        *is_far_due = true;
    }
    let wanted = snapshot(Some(webhook("https://example.com/")), NOW);
    let expected = Settlement::Park {
        reason: ParkReason::FarDue,
        until_ms: work.due_at_ms,
    };
    assert_eq!(decide(&work, &wanted, NOW), Action::Settle(expected));
}

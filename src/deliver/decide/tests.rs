use super::*;
use crate::deliver::request::tests::webhook;
use crate::deliver::resume::ClaimedAttempt;
use crate::deliver::tests::{PUBLISHED_MS, Source};

const NOW: i64 = PUBLISHED_MS + 10;

fn progress(status: DeliveryStatus, attempts: u32) -> DeliveryProgress {
    DeliveryProgress {
        status,
        attempts,
        next_retry_at_ms: Some(NOW + 777),
        failure_reason: Some(FailureReason::Exhausted),
        last_status: None,
        first_attempt_at_ms: None,
        claim: None,
    }
}

/// A snapshot of the registry, read at this time, with or without the webhook.
fn snapshot(webhook: Option<Webhook>, read_at_ms: i64) -> WebhookSnapshot {
    WebhookSnapshot {
        webhook: webhook.map(Arc::new),
        read_at_ms,
    }
}

fn wanted() -> WebhookSnapshot {
    snapshot(Some(webhook("https://example.com/")), NOW)
}

fn disabled(read_at_ms: i64) -> WebhookSnapshot {
    let mut webhook = webhook("https://example.com/");
    webhook.disabled = true;
    snapshot(Some(webhook), read_at_ms)
}

fn decide_on(progress: Option<DeliveryProgress>, snapshot: &WebhookSnapshot) -> Action {
    decide(&Source::new().read(1, 2), progress.as_ref(), snapshot, NOW)
}

fn cancelled(reason: FailureReason) -> Action {
    Action::EndUnsent {
        status: DeliveryStatus::Cancelled,
        reason,
    }
}

#[test]
fn recorded_attempts_are_not_judged_by_the_webhook() {
    use DeliveryStatus::*;
    let retry = NextRecord::Retry {
        attempt: 3,
        due_at_ms: NOW + 777,
    };
    let letter = NextRecord::DeadLetter {
        reason: FailureReason::Exhausted,
    };
    for (progress, expected) in [
        (progress(Delivered, 2), Action::Complete),
        (progress(Retrying, 3), Action::Complete),
        (progress(Retrying, 2), Action::Republish(retry)),
        (progress(Failed, 2), Action::Republish(letter)),
    ] {
        for snapshot in [wanted(), disabled(i64::MAX), snapshot(None, i64::MIN)] {
            let action = decide_on(Some(progress), &snapshot);
            assert_eq!(action, expected);
            assert!(!action.needs_permit());
        }
    }
}

#[test]
fn a_claimed_attempt_is_held_and_later_flagged() {
    let claimed_until = |until_ms| DeliveryProgress {
        claim: Some(ClaimedAttempt { attempt: 2, until_ms }),
        ..progress(DeliveryStatus::Retrying, 1)
    };
    let held = decide_on(Some(claimed_until(NOW + 5)), &wanted());
    assert_eq!(held, Action::HoldUntil { until_ms: NOW + 5 });
    assert!(!held.needs_permit());
    let sent = decide_on(Some(claimed_until(NOW)), &wanted());
    assert!(matches!(
        sent,
        Action::Send {
            possible_repeat: true,
            ..
        }
    ));
}

#[test]
fn a_record_that_may_have_been_sent_before_is_flagged() {
    for suspect in [false, true] {
        let mut work = Source::new().read(1, 1);
        work.suspect = suspect;
        let action = decide(&work, None, &wanted(), NOW);
        let expected = Action::Send {
            webhook: Arc::clone(wanted().webhook.as_ref().expect("there")),
            possible_repeat: suspect,
        };
        assert_eq!(action, expected);
        assert!(action.needs_permit());
    }
}

#[test]
fn a_deleted_or_disabled_webhook_cancels_the_delivery() {
    let after = PUBLISHED_MS + CLOCK_SLACK_MS + 1;
    assert_eq!(
        decide_on(None, &snapshot(None, after)),
        cancelled(FailureReason::Deleted)
    );
    assert_eq!(
        decide_on(None, &disabled(after)),
        cancelled(FailureReason::Disabled)
    );
}

#[test]
fn a_registry_older_than_the_record_cancels_nothing() {
    let before = PUBLISHED_MS + CLOCK_SLACK_MS;
    for snapshot in [snapshot(None, before), disabled(before)] {
        let action = decide_on(None, &snapshot);
        assert_eq!(action, Action::RequeueAfter(REGISTRY_POLL));
        assert!(action.needs_permit());
    }
    // A record from a clock that runs ahead does not wait longer than its due time says.
    let mut work = Source::new().read(1, 1);
    work.record_ms = i64::MAX;
    assert_eq!(
        decide(&work, None, &snapshot(None, before + 1), NOW),
        cancelled(FailureReason::Deleted)
    );
}

#[test]
fn an_expired_delivery_fails_however_old_the_registry_is() {
    let mut webhook = webhook("https://example.com/");
    webhook.max_age_seconds = Some(1);
    let work = Source::new().read(1, 1);
    assert_eq!(
        decide(
            &work,
            None,
            &snapshot(Some(webhook), i64::MIN),
            PUBLISHED_MS + 1_000
        ),
        Action::EndUnsent {
            status: DeliveryStatus::Failed,
            reason: FailureReason::Expired
        }
    );
}

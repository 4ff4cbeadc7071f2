use chrono::{DateTime, Utc};

use super::*;
use crate::deliver::tests::{PUBLISHED_MS, Source};
use crate::dispatch::tier::Tier;

fn exchange(status: Option<u16>) -> Exchange {
    Exchange {
        status,
        ..Exchange::failed_by_us(PUBLISHED_MS + 5, PUBLISHED_MS + 9)
    }
}

fn tier() -> Tier {
    "2s".parse().expect("a tier")
}

/// The row of Postgres once it has taken this outcome.
fn known(outcome: &Outcome) -> KnownDelivery {
    KnownDelivery {
        id: outcome.row.facts.id,
        status: outcome.row.status,
        attempts: outcome.row.attempts,
        response_code: outcome.row.response_code,
        failure_reason: outcome.row.failure_reason,
        next_retry_at: outcome.row.next_retry_at,
        first_attempt_at: outcome.row.first_attempt_at,
        step: outcome.row.step,
        is_parked: outcome.row.parked.is_some(),
        claim: None,
    }
}

#[test]
fn a_retry_is_the_same_when_it_is_published_again() {
    for (first_attempt_at_ms, status) in [(None, Some(503)), (Some(77), None)] {
        let mut work = Source::new().read(1, 2);
        work.record.first_attempt_at_ms = first_attempt_at_ms;
        let due_at_ms = PUBLISHED_MS + 2_000;
        let following = NextAttempt {
            attempt: 3,
            step: 2,
            due_at_ms,
        };
        let next = Next::Retry(following, tier());
        let outcome = attempted(work, String::new(), exchange(status), next, false);
        let progress = progress_of(&known(&outcome));
        assert_eq!(progress.next_retry_at_ms, Some(due_at_ms));
        let record = &outcome.work.record;
        let retry = retry_record(record, &outcome.row, following);
        assert_eq!((retry.attempt, retry.step, retry.last_status), (3, 2, status));
        assert_eq!(
            retry.first_attempt_at_ms,
            first_attempt_at_ms.or(Some(PUBLISHED_MS + 5))
        );
        assert_eq!(retry_again(record, Some(&progress), following), retry);
    }
}

#[test]
fn a_dead_letter_is_the_same_when_it_is_published_again() {
    let reason = FailureReason::Exhausted;
    let next = Next::Failed { reason };
    let made = attempted(
        Source::new().read(1, 4),
        String::new(),
        exchange(Some(500)),
        next,
        false,
    );
    let unmade = unsent(Source::new().read(1, 1), DeliveryStatus::Failed, reason);
    for (outcome, attempts) in [(made, 4), (unmade, 0)] {
        assert_eq!(outcome.next, Some(next));
        let record = &outcome.work.record;
        let letter = dead_letter_record(record, &outcome.row, reason.as_str());
        assert_eq!(
            (letter.attempt, letter.reason.as_deref()),
            (attempts, Some("exhausted"))
        );
        let progress = progress_of(&known(&outcome));
        assert_eq!(dead_letter_again(record, Some(&progress), reason), letter);
    }
}

#[test]
fn a_cancelled_delivery_has_no_attempt_and_nothing_follows() {
    let mut work = Source::new().read(1, 3);
    work.record.last_status = Some(503);
    let outcome = unsent(work, DeliveryStatus::Cancelled, FailureReason::Deleted);
    assert_eq!(outcome.next, None);
    assert_eq!((outcome.row.attempts, outcome.row.response_code), (2, Some(503)));
    assert!(outcome.row.attempt.is_none());
}

#[test]
fn a_claim_is_read_back_as_the_attempt_that_ran() {
    let deadline_ms = PUBLISHED_MS + 35_000;
    let claim = claim(&Source::new().read(1, 2).record, 2, deadline_ms);
    let until: DateTime<Utc> = claim.until;
    let row = KnownDelivery {
        id: claim.facts.id,
        status: DeliveryStatus::Retrying,
        attempts: 1,
        response_code: None,
        failure_reason: None,
        next_retry_at: None,
        first_attempt_at: None,
        step: 1,
        is_parked: false,
        claim: Some((claim.attempt, until)),
    };
    let expected = ClaimedAttempt {
        attempt: 2,
        until_ms: deadline_ms,
    };
    assert_eq!(progress_of(&row).claim, Some(expected));
}

#[test]
fn a_parked_row_is_due_when_its_delivery_is() {
    let mut work = Source::new().read(1, 2);
    work.due_at_ms = PUBLISHED_MS + 3_600_000;
    let paused = parked(work, ParkReason::Paused, PUBLISHED_MS + 60_000);
    let row = paused.row.parked.expect("a row");
    // The pause is over sooner: the later time is shown.
    assert_eq!(row.due_at, row.shown_until);
    assert_eq!(row.due_at.timestamp_millis(), PUBLISHED_MS + 3_600_000);
    assert_eq!(
        (paused.row.status, paused.row.attempts),
        (DeliveryStatus::Retrying, 1)
    );
    let first = parked(
        Source::new().read(1, 1),
        ParkReason::Circuit,
        PUBLISHED_MS + 60_000,
    );
    let row = first.row.parked.expect("a row");
    assert_eq!(row.due_at.timestamp_millis(), PUBLISHED_MS);
    assert_eq!(row.shown_until.timestamp_millis(), PUBLISHED_MS + 60_000);
    assert_eq!(
        (first.row.status, first.row.attempts),
        (DeliveryStatus::Pending, 0)
    );
}

#[test]
fn a_failed_row_is_kept_until_its_dead_letter_is_there() {
    let next = Next::Failed {
        reason: FailureReason::Exhausted,
    };
    let source = Source::new();
    let of_row = attempted(source.claim(1, 4), String::new(), exchange(None), next, false);
    let row = of_row.row.parked.expect("kept");
    assert!(row.claimed_until.is_some());
    let done = attempted(
        source.claim(1, 4),
        String::new(),
        exchange(Some(200)),
        Next::Delivered,
        false,
    );
    assert!(done.row.parked.is_none());
}

#[test]
fn the_next_attempt_of_a_row_inherits_no_suspicion() {
    let mut work = Source::new().claim(1, 2);
    work.suspect = true;
    let following = NextAttempt {
        attempt: 3,
        step: 2,
        due_at_ms: PUBLISHED_MS + 2_000,
    };
    let next = Next::Park(following, ParkReason::FarDue);
    let row = attempted(work, String::new(), exchange(Some(503)), next, true).row;
    assert!(row.attempt.expect("an attempt").possible_repeat);
    assert_eq!(row.parked.expect("a row").claimed_until, None);

    // Parked again without an attempt, it may still have been sent.
    let mut unsent = Source::new().claim(1, 2);
    unsent.suspect = true;
    let row = parked(unsent, ParkReason::Queue, PUBLISHED_MS).row;
    let claim = row.parked.expect("a row").claimed_until;
    assert_eq!(claim, Some(DateTime::UNIX_EPOCH));
}

use super::*;

const NOW: i64 = 1_000_000;

fn progress(status: DeliveryStatus, attempts: u32) -> DeliveryProgress {
    DeliveryProgress {
        status,
        attempts,
        next_retry_at_ms: (status == DeliveryStatus::Retrying).then_some(NOW + 777),
        step: 1,
        is_parked: false,
        failure_reason: (status == DeliveryStatus::Failed).then_some(FailureReason::Gone),
        last_status: None,
        first_attempt_at_ms: None,
        claim: None,
    }
}

#[test]
fn every_status_and_attempt_number_resumes_as_in_the_table() {
    use DeliveryStatus::*;
    let send = Resume::Send {
        possible_repeat: false,
    };
    let again = Resume::Republish(NextRecord::Retry(NextAttempt {
        attempt: 3,
        step: 1,
        due_at_ms: NOW + 777,
    }));
    let dead = Resume::Republish(NextRecord::DeadLetter {
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
                resume(2, false, Some(&progress(status, attempts)), NOW),
                expected,
                "{status} {attempts}"
            );
        }
    }
    assert_eq!(resume(1, false, Some(&progress(Pending, 0)), NOW), send);
    assert_eq!(resume(1, false, Some(&progress(Pending, 2)), NOW), done);
    assert_eq!(resume(1, false, None, NOW), send);
    assert_eq!(resume(7, false, None, NOW), send);
}

#[test]
fn a_recorded_attempt_is_never_sent_again() {
    for status in DeliveryStatus::ALL {
        for attempts in 1..6 {
            for attempt in 1..=attempts {
                for claim in [
                    None,
                    Some(ClaimedAttempt {
                        attempt,
                        until_ms: NOW - 1,
                    }),
                ] {
                    let progress = DeliveryProgress {
                        claim,
                        ..progress(status, attempts)
                    };
                    assert!(!matches!(
                        resume(attempt, false, Some(&progress), NOW),
                        Resume::Send { .. }
                    ));
                }
            }
        }
    }
}

#[test]
fn a_claimed_attempt_is_held_until_its_deadline_then_flagged() {
    let with = |attempt, until_ms| DeliveryProgress {
        claim: Some(ClaimedAttempt { attempt, until_ms }),
        ..progress(DeliveryStatus::Retrying, 1)
    };
    assert_eq!(
        resume(2, false, Some(&with(2, NOW + 5)), NOW),
        Resume::Hold { until_ms: NOW + 5 }
    );
    assert_eq!(
        resume(2, false, Some(&with(2, NOW)), NOW),
        Resume::Send {
            possible_repeat: true
        }
    );
    // A recorded attempt does not run any more, so its claim holds nothing up.
    assert_eq!(
        resume(2, false, Some(&with(1, NOW + 5)), NOW),
        Resume::Send {
            possible_repeat: false
        }
    );
    let first = DeliveryProgress {
        claim: Some(ClaimedAttempt {
            attempt: 1,
            until_ms: NOW + 5,
        }),
        ..progress(DeliveryStatus::Pending, 0)
    };
    assert_eq!(
        resume(1, false, Some(&first), NOW),
        Resume::Hold { until_ms: NOW + 5 }
    );
}

#[test]
fn a_record_of_a_parked_delivery_is_complete_its_row_goes_on() {
    let parked = DeliveryProgress {
        is_parked: true,
        ..progress(DeliveryStatus::Retrying, 1)
    };
    for attempt in [1, 2] {
        assert_eq!(resume(attempt, false, Some(&parked), NOW), Resume::Complete);
    }
    let send = Resume::Send {
        possible_repeat: false,
    };
    assert_eq!(resume(2, true, Some(&parked), NOW), send);
}

#[test]
fn a_row_that_another_owner_worked_on_ends_or_goes_on_itself() {
    let row = |status, attempts, is_parked| {
        let progress = DeliveryProgress {
            is_parked,
            ..progress(status, attempts)
        };
        resume(2, true, Some(&progress), NOW)
    };
    let send = Resume::Send {
        possible_repeat: false,
    };
    assert_eq!(row(DeliveryStatus::Retrying, 1, true), send);
    // Its attempt was recorded: the row is for a later one now.
    for attempts in [2, 3] {
        assert_eq!(row(DeliveryStatus::Retrying, attempts, true), Resume::Complete);
    }
    // Who recorded the end may have died before its dead letter was published.
    for attempts in [1, 2, 3] {
        let letter = Resume::Republish(NextRecord::DeadLetter {
            reason: FailureReason::Gone,
        });
        assert_eq!(row(DeliveryStatus::Failed, attempts, false), letter);
        assert_eq!(row(DeliveryStatus::Delivered, attempts, false), Resume::Complete);
    }
}

#[test]
fn what_is_due_for_half_an_hour_is_late() {
    let late_ms = LATE_AFTER.num_milliseconds();
    let retrying = |next_retry_at_ms, claimed_until_ms: Option<i64>| DeliveryProgress {
        next_retry_at_ms,
        claim: claimed_until_ms.map(|until_ms| ClaimedAttempt { attempt: 2, until_ms }),
        ..progress(DeliveryStatus::Retrying, 1)
    };
    assert!(!retrying(Some(NOW), None).is_late(NOW + late_ms));
    assert!(retrying(Some(NOW), None).is_late(NOW + late_ms + 1));
    assert!(!retrying(Some(NOW), Some(NOW + 1)).is_late(NOW + late_ms + 1));
    assert!(retrying(None, Some(NOW)).is_late(NOW + late_ms + 1));
    assert!(
        retrying(None, None).is_late(NOW),
        "nobody knows since when it is due"
    );
}

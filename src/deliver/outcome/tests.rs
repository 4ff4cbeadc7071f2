use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_771_970_400_000;

/// An attempt that ended at [`NOW`].
fn ended(step: u32, result: AttemptResult, retry_after: Option<&str>) -> EndedAttempt<'_> {
    EndedAttempt {
        attempt: step + 1,
        step,
        result,
        retry_after,
        ended_at_ms: NOW,
        is_probe: false,
        due_at_ms: NOW - 5_000,
        is_row: false,
        is_of_old_url: false,
    }
}

fn after_end(delays: &[&str], ended: &EndedAttempt<'_>, chance: f64) -> Next {
    let schedule = RetrySchedule::parse(delays).expect("a schedule");
    let tiers = schedule.tiers().collect();
    next(ended, &schedule, &tiers, chance)
}

fn after(
    delays: &[&str],
    attempt: u32,
    result: AttemptResult,
    retry_after: Option<&str>,
    chance: f64,
) -> Next {
    after_end(delays, &ended(attempt - 1, result, retry_after), chance)
}

/// The next attempt of a step of its own, `wait_ms` and a millisecond after the end.
fn following(attempt: u32, wait_ms: i64) -> NextAttempt {
    NextAttempt {
        attempt,
        step: attempt - 1,
        due_at_ms: NOW + 1 + wait_ms,
    }
}

fn retry(attempt: u32, wait_ms: i64, tier: &str) -> Next {
    Next::Retry(following(attempt, wait_ms), tier.parse().expect("a tier"))
}

const DEFAULT: &[&str] = &["1s", "2s", "4s"];
const EXHAUSTED: Next = Next::Failed {
    reason: FailureReason::Exhausted,
};

#[test]
fn failures_walk_the_schedule_and_the_fourth_is_the_last() {
    use AttemptResult::*;
    for result in AttemptResult::ALL {
        let ends: Vec<_> = (1..=5)
            .map(|attempt| after(DEFAULT, attempt, result, None, 0.9))
            .collect();
        match result {
            Success => assert_eq!(ends, [Next::Delivered; 5]),
            Internal => {}
            Gone => assert!(ends.iter().all(|end| *end
                == Next::Failed {
                    reason: FailureReason::Gone
                })),
            _ => assert_eq!(
                ends,
                [
                    retry(2, 1_000, "1s"),
                    retry(3, 2_000, "2s"),
                    retry(4, 4_000, "4s"),
                    EXHAUSTED,
                    EXHAUSTED
                ]
            ),
        }
    }
    assert_eq!(after(&[], 1, Timeout, None, 0.0), EXHAUSTED);
    assert_eq!(after(DEFAULT, u32::MAX, Timeout, None, 0.0), EXHAUSTED);
}

#[test]
fn delays_from_thirty_seconds_on_get_jitter_of_at_most_a_tenth() {
    let wait = |delay: &str, chance| match after(&[delay], 1, AttemptResult::Timeout, None, chance) {
        Next::Retry(following, _) => following.due_at_ms - 1 - NOW,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait("29s", 0.999), 29_000);
    assert_eq!(wait("30s", 0.0), 30_000);
    assert_eq!(wait("30s", 0.5), 31_500);
    assert_eq!(wait("5m", 1.0), 330_000);
    assert_eq!(wait("5m", f64::NAN), 300_000);
}

#[test]
fn retry_after_on_any_failure_postpones_and_never_hastens() {
    use AttemptResult::*;
    for result in [TooManyRequests, ServerError, Redirect, ClientError, Timeout] {
        for (text, wait_ms) in [
            ("10", 10_000),
            (" 10 ", 10_000),
            ("0", 1_000),
            ("1", 1_000),
            ("86400", 86_400_000),
            ("86401", 86_400_000),
            ("99999999999999999999999", 86_400_000),
            // 2026-02-24T22:00:00Z is NOW.
            ("Tue, 24 Feb 2026 22:00:30 GMT", 30_000),
            ("Tue, 24 Feb 2026 21:00:00 GMT", 1_000),
            ("Tue, 24 Feb 2099 22:00:00 GMT", 86_400_000),
            ("Sun Nov  6 08:49:37 1994", 1_000),
            ("-5", 1_000),
            ("2.5", 2_500),
            ("1.0005", 1_001),
            ("1.500000", 1_500),
            ("1.", 1_000),
            (".5", 1_000),
            ("1.5.2", 1_000),
            ("soon", 1_000),
            ("", 1_000),
        ] {
            let expected = match wait_ms {
                0..=1_100 => retry(2, wait_ms, "1s"),
                1_101..=2_200 => retry(2, wait_ms, "2s"),
                2_201..=4_400 => retry(2, wait_ms, "4s"),
                _ => Next::Park(following(2, wait_ms), ParkReason::FarDue),
            };
            assert_eq!(after(DEFAULT, 1, result, Some(text), 0.9), expected, "{text}");
        }
    }
    assert_eq!(after(DEFAULT, 1, Success, Some("10"), 0.0), Next::Delivered);
    assert_eq!(after(DEFAULT, 4, ServerError, Some("10"), 0.0), EXHAUSTED);
    assert!(matches!(
        after(DEFAULT, 1, Gone, Some("10"), 0.0),
        Next::Failed { .. }
    ));
    // The endpoint named a time: no jitter on it.
    assert_eq!(
        after(&["30s", "1m"], 1, ServerError, Some("60"), 0.9),
        retry(2, 60_000, "1m")
    );
}

#[test]
fn a_fault_of_our_own_uses_nothing_up() {
    for (step, wait_ms) in [(0, 1_000), (1, 1_000), (2, 2_000), (3, 4_000)] {
        let own = EndedAttempt {
            attempt: 9,
            ..ended(step, AttemptResult::Internal, None)
        };
        let expected = NextAttempt {
            attempt: 10,
            step,
            due_at_ms: NOW + 1 + wait_ms,
        };
        match after_end(DEFAULT, &own, 0.0) {
            Next::Retry(following, _) => assert_eq!(following, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_410_of_an_old_url_is_a_failure_like_others() {
    for step in 0..4 {
        let mut gone = ended(step, AttemptResult::Gone, None);
        let reason = FailureReason::Gone;
        assert_eq!(after_end(DEFAULT, &gone, 0.0), Next::Failed { reason });
        gone.is_of_old_url = true;
        let other = ended(step, AttemptResult::ServerError, None);
        assert_eq!(after_end(DEFAULT, &gone, 0.0), after_end(DEFAULT, &other, 0.0));
    }
}

#[test]
fn a_failed_probe_waits_on_and_uses_nothing_up() {
    let probe = EndedAttempt {
        attempt: 7,
        is_probe: true,
        ..ended(3, AttemptResult::Timeout, None)
    };
    let mut expected = NextAttempt {
        attempt: 8,
        step: 3,
        due_at_ms: probe.due_at_ms,
    };
    assert_eq!(
        after_end(DEFAULT, &probe, 0.0),
        Next::Park(expected, ParkReason::Circuit)
    );
    let asked = EndedAttempt {
        retry_after: Some("3600"),
        ..probe
    };
    expected.due_at_ms = NOW + 1 + 3_600_000;
    assert_eq!(
        after_end(DEFAULT, &asked, 0.0),
        Next::Park(expected, ParkReason::FarDue)
    );
}

#[test]
fn a_parked_delivery_stays_a_row_and_waits_for_its_due_time() {
    let parked = EndedAttempt {
        is_row: true,
        ..ended(0, AttemptResult::ServerError, None)
    };
    assert_eq!(
        after_end(DEFAULT, &parked, 0.0),
        Next::Park(following(2, 1_000), ParkReason::FarDue)
    );
}

proptest! {
    #[test]
    fn the_next_attempt_is_never_early_and_at_most_1_1_days_late(
        delays in proptest::collection::vec(1_u64..=86_400_000, 1..6), step in 0_u32..8, chance in 0.0..1.0_f64, text in "[0-9]{0,12}(\\.[0-9]{0,5})?|\\PC{0,20}",
        results in proptest::sample::select(vec![AttemptResult::ServerError, AttemptResult::Internal]),
    ) {
        let schedule = RetrySchedule::parse(&delays.iter().map(|ms| format!("{ms}ms")).collect::<Vec<_>>()).expect("a schedule");
        let tiers = schedule.tiers().collect();
        let is_own = results == AttemptResult::Internal;
        let end = ended(step, results, Some(&text));
        let least = if is_own { schedule.current_delay(step) } else { schedule.delay_at(step) };
        let (following, holds) = match next(&end, &schedule, &tiers, chance) {
            Next::Retry(following, tier) => (following, Some(tier)),
            Next::Park(following, ParkReason::FarDue) => (following, None),
            other => {
                prop_assert!(step as usize >= delays.len() && !is_own);
                prop_assert_eq!(other, EXHAUSTED);
                return Ok(());
            }
        };
        let wait_ms = following.due_at_ms - NOW;
        prop_assert_eq!(following.attempt, step + 2);
        prop_assert_eq!(following.step, if is_own { step } else { step + 1 });
        let least_ms = least.expect("a delay").delay().as_millis() as i64;
        prop_assert!(wait_ms > least_ms && wait_ms <= 95_040_001);
        let longest = delays.iter().max().expect("some");
        match holds {
            Some(tier) => prop_assert!(tier.may_hold(wait_ms)),
            None => prop_assert!(wait_ms as u64 > longest * 11 / 10),
        }
    }
}

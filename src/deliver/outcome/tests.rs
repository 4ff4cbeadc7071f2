use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_771_970_400_000;

fn after(
    delays: &[&str],
    attempt: u32,
    result: AttemptResult,
    retry_after: Option<&str>,
    chance: f64,
) -> Next {
    let schedule = RetrySchedule::parse(delays).expect("a schedule");
    let tiers = schedule.tiers().collect();
    let ended = EndedAttempt {
        attempt,
        result,
        retry_after,
        ended_at_ms: NOW,
    };
    next(&ended, &schedule, &tiers, chance)
}

fn retry(attempt: u32, wait_ms: i64, tier: &str) -> Next {
    Next::Retry {
        attempt,
        due_at_ms: NOW + wait_ms,
        tier: tier.parse().expect("a tier"),
    }
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
        Next::Retry { due_at_ms, .. } => due_at_ms - NOW,
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
            ("1.5", 1_000),
            ("soon", 1_000),
            ("", 1_000),
        ] {
            let tier = if wait_ms >= 4_000 { "4s" } else { "1s" };
            assert_eq!(
                after(DEFAULT, 1, result, Some(text), 0.9),
                retry(2, wait_ms, tier),
                "{text}"
            );
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
        after(&["30s"], 1, ServerError, Some("60"), 0.9),
        retry(2, 60_000, "30s")
    );
}

proptest! {
    #[test]
    fn the_next_attempt_is_never_early_and_at_most_1_1_days_late(
        delays in proptest::collection::vec(1_u64..=86_400_000, 1..6), attempt in 1_u32..8, chance in 0.0..1.0_f64, text in "[0-9]{0,12}|\\PC{0,20}",
    ) {
        let schedule = RetrySchedule::parse(&delays.iter().map(|ms| format!("{ms}ms")).collect::<Vec<_>>()).expect("a schedule");
        let tiers = schedule.tiers().collect();
        let ended = EndedAttempt { attempt, result: AttemptResult::ServerError, retry_after: Some(&text), ended_at_ms: NOW };
        match next(&ended, &schedule, &tiers, chance) {
            Next::Retry { attempt: following, due_at_ms, tier } => {
                let wait_ms = due_at_ms - NOW;
                prop_assert_eq!(following, attempt + 1);
                prop_assert!(wait_ms >= delays[attempt as usize - 1] as i64 && wait_ms <= 95_040_000);
                prop_assert!(tier.delay().as_millis() as i64 <= wait_ms);
            }
            other => {
                prop_assert!(attempt as usize > delays.len());
                prop_assert_eq!(other, EXHAUSTED);
            }
        }
    }
}

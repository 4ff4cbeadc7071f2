use chrono::{DateTime, Duration, NaiveDateTime, TimeZone, Utc, Weekday};
use proptest::prelude::*;

use super::*;

/// The hour of a UTC time, since the Unix epoch.
fn hour_at(text: &str) -> u32 {
    let at: DateTime<Utc> = text.parse().expect("a time");
    (at.timestamp() / 3_600) as u32
}

fn local(hour: u32, zone: Tz) -> NaiveDateTime {
    let at = Utc
        .timestamp_opt(i64::from(hour) * 3_600, 0)
        .single()
        .expect("a time");
    // By the whole hour, where clocks change by half an hour.
    let at = at.with_timezone(&zone).naive_local();
    at.with_minute(0).expect("a full hour")
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let len = values.len();
    match len % 2 {
        1 => values[len / 2],
        _ => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// The rule as it is written down, on local times: status, expected value, samples.
fn naive(medians: &[(u32, f32)], zone: Tz, hour: u32) -> Option<(BaselineStatus, f64, usize)> {
    let now = local(hour, zone);
    let is_weekend = |at: NaiveDateTime| matches!(at.weekday(), Weekday::Sat | Weekday::Sun);
    let alike = |is_alike: &dyn Fn(NaiveDateTime) -> bool| -> Vec<f64> {
        medians
            .iter()
            .filter(|(at, _)| *at < hour && local(*at, zone) >= now - Duration::days(28))
            .filter(|(at, _)| local(*at, zone).hour() == now.hour() && is_alike(local(*at, zone)))
            .map(|(_, median)| f64::from((2.0 * (f64::from(*median) + 0.375).sqrt()) as f32))
            .collect()
    };
    let slot = alike(&|at| at.weekday() == now.weekday());
    if slot.len() >= 3 {
        let last: Vec<f64> = slot[slot.len().saturating_sub(4)..].to_vec();
        return Some((BaselineStatus::Ready, middle(last.clone()), last.len()));
    }
    for values in [alike(&|at| is_weekend(at) == is_weekend(now)), alike(&|_| true)] {
        if values.len() >= 3 {
            return Some((BaselineStatus::Warming, middle(values.clone()), values.len()));
        }
    }
    None
}

const ZONES: [Tz; 6] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Kolkata,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Auckland,
];

proptest! {
    #[test]
    fn an_expectation_is_that_of_the_rule_as_written(
        zone in proptest::sample::select(&ZONES),
        // From March to April and from October to November of 2026 clocks change.
        first in prop_oneof![Just("2026-03-01T00:00:00Z"), Just("2026-10-01T00:00:00Z"), Just("2026-07-01T00:00:00Z")],
        gaps in proptest::collection::vec((prop_oneof![9 => Just(1_u32), 1 => 1_u32..80], 0_u32..400), 1..1_000),
        ahead in 0_u32..200,
    ) {
        let mut at = hour_at(first);
        let mut usual = Usual::new(zone);
        let mut medians = Vec::new();
        for (gap, half_visitors) in gaps {
            at += gap;
            let median = half_visitors as f32 / 2.0;
            usual.learn(at, median);
            medians.push((at, median));
        }
        let hour = at + 1 + ahead;
        let found = usual.expectation(hour);
        let found = found.map(|one| (one.status, one.root, one.samples as usize));
        let wanted = naive(&medians, zone, hour);
        match (found, wanted) {
            (Some(found), Some(wanted)) => {
                prop_assert_eq!((found.0, found.2), (wanted.0, wanted.2));
                prop_assert!((found.1 - wanted.1).abs() < 1e-6, "{} {}", found.1, wanted.1);
            }
            (found, wanted) => prop_assert_eq!(found, wanted),
        }
    }

    #[test]
    fn what_is_loaded_in_parts_is_what_was_learned_at_once(
        medians in proptest::collection::btree_map(500_000_u32..500_700, 0_u32..100, 1..300),
        split in any::<u64>(),
    ) {
        let mut whole = Usual::new(Tz::Europe__Berlin);
        let (mut own, mut loaded) = (whole.clone(), whole.clone());
        for (at, median) in &medians {
            let median = *median as f32;
            whole.learn(*at, median);
            if split >> (at % 64) & 1 == 0 { own.learn(*at, median) } else { loaded.learn(*at, median) }
        }
        own.learn_all(&loaded);
        let at = 500_700;
        let (own, whole) = (own.expectation(at), whole.expectation(at));
        prop_assert_eq!(own.map(|one| (one.status, one.samples)), whole.map(|one| (one.status, one.samples)));
        prop_assert!(own.zip(whole).is_none_or(|(own, whole)| (own.root - whole.root).abs() < 1e-4));
    }
}

/// A site with `visitors` at this hour for so many weeks back, and nothing else.
fn weekly(zone: Tz, hour: u32, weeks: u32, visitors: f32) -> Usual {
    let mut usual = Usual::new(zone);
    for week in (1..=weeks).rev() {
        usual.learn(hour - week * 168, visitors);
    }
    usual
}

#[test]
fn three_weeks_make_an_hour_of_the_week_ready() {
    let hour = hour_at("2026-07-15T12:00:00Z");
    let second = hour * 3_600 + 1_800;
    assert_eq!(weekly(Tz::UTC, hour, 2, 41.3).compare(second, 211), None);
    for (weeks, samples) in [(3, 3), (4, 4)] {
        let baseline = weekly(Tz::UTC, hour, weeks, 41.3).compare(second, 211);
        assert_eq!(
            baseline,
            Some(Baseline {
                status: BaselineStatus::Ready,
                current: 211,
                expected: 41.3,
                change_percent: Some(411),
                score: None,
                samples,
            })
        );
    }
}

#[test]
fn where_nobody_is_usual_there_is_no_percentage() {
    let hour = hour_at("2026-07-15T12:00:00Z");
    let baseline = weekly(Tz::UTC, hour, 4, 0.0)
        .compare(hour * 3_600, 7)
        .expect("known");
    assert_eq!((baseline.expected, baseline.change_percent), (0.0, None));
}

#[test]
fn days_of_the_same_class_stand_in_and_then_any_day() {
    // A Wednesday.
    let hour = hour_at("2026-07-15T12:00:00Z");
    let mut usual = Usual::new(Tz::UTC);
    for (days, visitors) in [(4, 10.0), (3, 20.0), (2, 30.0)] {
        usual.learn(hour - days * 24, visitors);
    }
    // Saturday, Sunday and Monday are of both classes.
    let expectation = usual.expectation(hour).expect("any day");
    assert_eq!(
        (expectation.status, expectation.samples),
        (BaselineStatus::Warming, 3)
    );
    assert!((from_root(expectation.root) - 20.0).abs() < 1e-4);
    usual.learn(hour - 24, 40.0);
    usual.learn(hour - 5 * 24, 50.0);
    let expectation = usual.expectation(hour).expect("weekdays");
    assert_eq!(
        (expectation.status, expectation.samples),
        (BaselineStatus::Warming, 3)
    );
    assert!((from_root(expectation.root) - 40.0).abs() < 1e-4);
}

#[test]
fn slots_follow_local_time_when_clocks_change() {
    // 09:00 in Berlin is 08:00 UTC until 2026-03-29, then 07:00 UTC.
    let mut usual = Usual::new(Tz::Europe__Berlin);
    for day in ["2026-03-04", "2026-03-11", "2026-03-18", "2026-03-25"] {
        usual.learn(hour_at(&format!("{day}T08:00:00Z")), 50.0);
        usual.learn(hour_at(&format!("{day}T07:00:00Z")), 5.0);
    }
    let expectation = usual.expectation(hour_at("2026-04-01T07:00:00Z")).expect("known");
    assert_eq!(
        (expectation.status, expectation.samples),
        (BaselineStatus::Ready, 4)
    );
    assert!((from_root(expectation.root) - 50.0).abs() < 1e-4);
}

#[test]
fn both_autumn_hours_count() {
    // On 2026-10-25 there are two hours from 02:00 in Berlin: 00:00 and 01:00 UTC.
    let mut usual = Usual::new(Tz::Europe__Berlin);
    for (at, visitors) in [
        ("2026-10-18T00:00:00Z", 1.0),
        ("2026-10-25T00:00:00Z", 10.0),
        ("2026-10-25T01:00:00Z", 20.0),
    ] {
        usual.learn(hour_at(at), visitors);
    }
    let expectation = usual.expectation(hour_at("2026-11-01T01:00:00Z")).expect("known");
    assert_eq!(
        (expectation.status, expectation.samples),
        (BaselineStatus::Ready, 3)
    );
    assert!((from_root(expectation.root) - 10.0).abs() < 1e-4);
}

#[test]
fn hours_inside_an_unusual_week_do_not_move_the_median() {
    let hour = hour_at("2026-07-15T12:00:00Z");
    let mut usual = weekly(Tz::UTC, hour, 4, 40.0);
    usual.learn(hour - 168, 4_000.0);
    let expected = usual.compare(hour * 3_600, 40).expect("known").expected;
    assert_eq!(expected, 40.0);
}

#[test]
fn the_spread_is_at_least_one_and_grows_with_the_site() {
    let last = hour_at("2026-07-15T12:00:00Z");
    let mut calm = Usual::new(Tz::UTC);
    let mut wild = Usual::new(Tz::UTC);
    for back in (1..=672).rev() {
        calm.learn(last - back, 100.0);
        // Every other week three times as many.
        wild.learn(last - back, if back / 168 % 2 == 0 { 100.0 } else { 300.0 });
    }
    assert_eq!(calm.spread(last), 1.0);
    // Half the distance between the two roots, as a deviation.
    let wanted = 1.4826 * (to_root(300.0) - to_root(100.0)) / 2.0;
    assert!((wild.spread(last) - wanted).abs() < 0.01, "{}", wild.spread(last));
    let z = calm.z(last, 121.0).expect("known");
    assert!((z - (to_root(121.0) - to_root(100.0))).abs() < 1e-4);
}

#[test]
fn another_time_zone_puts_hours_into_other_slots() {
    let hour = hour_at("2026-07-15T12:00:00Z");
    let mut usual = weekly(Tz::UTC, hour, 4, 40.0);
    usual.set_zone(Tz::Asia__Kolkata);
    let expected = usual.compare(hour * 3_600, 40).expect("known").expected;
    assert_eq!(expected, 40.0);
    assert_eq!(usual.compare((hour - 5) * 3_600, 40), None);
}

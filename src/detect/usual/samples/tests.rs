use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_minute_ends_with_its_last_second() {
    assert_eq!((minute_of(59), minute_of(60)), (0, 1));
    assert_eq!((end_of(0), end_of(1)), (60, 120));
}

#[test]
fn the_mean_needs_fifteen_covered_minutes_in_a_row() {
    let mut samples = Samples::new(30);
    for minute in 30..44 {
        samples.take(minute, Some(10), 0);
        samples.end(minute);
        assert_eq!(samples.mean(), None);
    }
    samples.take(44, Some(25), 0);
    assert_eq!(samples.mean(), Some(11.0));
    samples.take(45, None, 0);
    assert_eq!(samples.mean(), None);
}

#[test]
fn the_first_hour_waits_for_the_counts_of_an_earlier_owner() {
    let mut samples = Samples::new(30);
    samples.take(30, Some(1), 5);
    samples.skip_to(60);
    samples.take(60, Some(2), 0);
    let handed_over = samples.hand_over(false);
    assert_eq!(handed_over.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [1]);
    let earlier = HourSummary {
        events: 7,
        goals: BTreeMap::from([("Signup".into(), 1)]),
        ..HourSummary::default()
    };
    samples.set_earlier(0, Some(&earlier));
    let handed_over = samples.hand_over(false);
    let (hour, first) = &handed_over[0];
    assert_eq!((*hour, first.events, first.goals["Signup"]), (0, 12, 1));
    assert!(samples.hand_over(false).is_empty(), "nothing changed since");
}

#[test]
fn while_windows_are_rebuilt_the_first_hour_moves_on() {
    let mut samples = Samples::new(30);
    samples.skip_to(150);
    assert_eq!(samples.waits_for_earlier(), Some(2));
    samples.set_earlier(0, None);
    assert_eq!(
        samples.waits_for_earlier(),
        Some(2),
        "the answer is about another hour"
    );
    samples.take(150, Some(1), 0);
    samples.skip_to(200);
    assert_eq!(samples.waits_for_earlier(), Some(2));
}

#[test]
fn the_last_hand_over_waits_for_nothing() {
    let mut samples = Samples::new(30);
    samples.take(30, Some(1), 0);
    assert!(samples.hand_over(false).is_empty());
    assert_eq!(samples.hand_over(true).len(), 1);
}

#[test]
fn the_greatest_distance_of_an_hour_is_kept() {
    let mut samples = Samples::new(0);
    samples.take(0, Some(1), 0);
    for z in [0.5, -3.25, 2.0] {
        samples.note_z(z);
    }
    samples.set_earlier(0, None);
    assert_eq!(samples.hand_over(false)[0].1.peak_z, Some(3.25));
}

proptest! {
    #[test]
    fn hours_hold_the_samples_that_were_taken(
        steps in proptest::collection::vec((1_u32..90, proptest::option::of(any::<u32>()), 0_u32..9), 1..200),
        hand_over_every in 1_usize..20,
    ) {
        let mut samples = Samples::new(0);
        samples.set_earlier(0, None);
        let mut minute = 0;
        let mut wanted: BTreeMap<u32, SiteHour> = BTreeMap::new();
        let mut stored: BTreeMap<u32, SiteHour> = BTreeMap::new();
        for (index, (gap, visitors, events)) in steps.iter().enumerate() {
            if *gap > 1 {
                samples.skip_to(minute + gap);
            }
            minute += gap;
            samples.take(minute, *visitors, *events);
            if visitors.is_some() || *events > 0 {
                let hour = wanted.entry(minute / 60).or_default();
                hour.events += u64::from(*events);
                if let Some(visitors) = visitors {
                    hour.set((minute % 60) as usize, *visitors);
                }
            }
            if let Some((hour, HourSummary { median: Some(median), .. })) = samples.end(minute) {
                prop_assert_eq!(wanted.get(&hour).and_then(SiteHour::median), Some(median));
            }
            if index % hand_over_every == 0 {
                for (hour, handed_over) in samples.hand_over(false) {
                    stored.entry(hour).or_default().merge(&handed_over);
                }
            }
        }
        for (hour, handed_over) in samples.hand_over(true) {
            stored.entry(hour).or_default().merge(&handed_over);
        }
        prop_assert_eq!(stored, wanted);
    }
}

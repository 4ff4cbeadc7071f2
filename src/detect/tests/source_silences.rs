//! Silences of whole sources: drops and silences wait for a while, and are never lost.

use super::fixtures::*;
use super::silences::{answer, silent};
use crate::detect::notification::Decision;
use crate::domain::event::{Event, EventKind, EventType, SourceClock};
use crate::domain::time::from_ms;

const START: i64 = RECORD_MS / 1_000;
/// Time of the latest record of the source that falls silent.
const LAST_MS: i64 = START * 1_000;
/// Second after the start at which the visitor of the site leaves its window.
const FALLS: i64 = 301;

/// An engine with a site that has had a visitor for an hour, until now.
fn visited() -> Fed {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(1, 300)])]);
    for second in (START - 3_600..=START).step_by(200) {
        assert_eq!(visit(&mut fed, second, second), []);
    }
    assert_eq!(fed.tick(START * 1_000), []);
    fed
}

/// Feeds a pageview of `second` that is written and read `at` a second.
fn visit(fed: &mut Fed, second: i64, at: i64) -> Vec<Decision> {
    (fed.now_ms, fed.record_ms) = (at * 1_000, at * 1_000);
    fed.feed(&view("a", "1", second))
}

/// Ticks up to a second after the start, the source being silent or not.
fn wait(fed: &mut Fed, until: i64, is_silent: bool) -> Vec<(i64, Decision)> {
    let from = fed.now_ms / 1_000 - START;
    let ticks = (from + 1..=until).flat_map(|second| {
        fed.engine.set_silent_sources(&[is_silent.then_some(LAST_MS)]);
        let decided = fed.tick((START + second) * 1_000);
        decided.into_iter().map(move |decision| (second, decision))
    });
    ticks.collect()
}

fn cause(decision: &Decision) -> Option<String> {
    let cause = json(decision)["data"]["suspected_cause"].clone();
    cause.as_str().map(str::to_owned)
}

#[test]
fn a_drop_waits_15_minutes_for_a_silent_source_and_says_why() {
    let mut fed = visited();
    assert_eq!(wait(&mut fed, 60, false), []);
    // Out of order, events may come ten seconds late.
    assert_eq!(wait(&mut fed, FALLS + 10 + 899, true), []);
    let decided = wait(&mut fed, FALLS + 10 + 900, true);
    assert_eq!(decided.len(), 1);
    let (_, decision) = &decided[0];
    assert_eq!(decision.event, EventType::VisitorDrop);
    assert_eq!(cause(decision).as_deref(), Some("source_silent"));
    assert_eq!(
        json(decision)["timestamp"],
        "2026-02-25T12:05:01Z",
        "the instant at which it fell due"
    );
    assert_eq!(wait(&mut fed, 9_000, true), [], "once");
    assert_eq!(fed.engine.take_withheld(), []);
}

#[test]
fn silences_of_sites_and_goals_wait_for_a_silent_source_too() {
    for goal in [None, Some("Signup")] {
        for (is_silent, at) in [(false, 1_390), (true, 1_390 + 900)] {
            let mut fed = Fed::new(SourceClock::Live, [silent(goal)]);
            let signup = Event {
                name: Some("Signup".into()),
                ..event("a", EventKind::Goal, LAST_MS)
            };
            fed.feed(&signup);
            // 13.8 events at 36 an hour take 1,380 s.
            assert!(answer(&mut fed.engine, 36, 36));
            assert_eq!(wait(&mut fed, 60, false), []);
            let decided = wait(&mut fed, 9_000, is_silent);
            let told: Vec<_> = decided
                .iter()
                .map(|(second, one)| (*second, one.event, cause(one)))
                .collect();
            let suspected = is_silent.then(|| "source_silent".to_owned());
            assert_eq!(told, [(at, EventType::ErrorCondition, suspected)], "{goal:?}");
            assert_eq!(json(&decided[0].1)["timestamp"], "2026-02-25T12:23:00Z");
            assert_eq!(fed.engine.take_withheld(), []);
        }
    }
}

#[test]
fn events_that_come_late_from_a_silent_source_prevent_its_drop() {
    let mut fed = visited();
    wait(&mut fed, 60, false);
    assert_eq!(wait(&mut fed, 800, true), []);
    // The producer sends what it kept meanwhile.
    for second in (100..=800).step_by(100) {
        assert_eq!(visit(&mut fed, START + second, START + 800), [], "{second}");
    }
    assert_eq!(wait(&mut fed, 1_100, false), []);
    let decided = wait(&mut fed, 1_200, false);
    assert_eq!(decided.len(), 1, "the visitor of second 800 left");
    assert_eq!(cause(&decided[0].1), None);
}

#[test]
fn a_drop_that_was_held_back_is_told_when_its_source_is_back() {
    // At the last second of the hold it is older than what is otherwise notified.
    for back in [700, FALLS + 909] {
        let mut fed = visited();
        wait(&mut fed, 60, false);
        assert_eq!(wait(&mut fed, back, true), []);
        let decided = visit(&mut fed, START + back, START + back);
        let told: Vec<_> = decided.iter().map(|one| (one.event, cause(one))).collect();
        let silent = Some("source_silent".to_owned());
        assert_eq!(told, [(EventType::VisitorDrop, silent)]);
        assert_eq!(fed.engine.take_withheld(), [], "{back}");
    }
}

#[test]
fn an_event_as_old_as_the_silence_is_stale_all_the_same() {
    let mut spiking = site("a", [spike(1, 300)]);
    spiking.id = "b".parse().expect("a site id");
    let mut fed = Fed::new(SourceClock::Live, [spiking]);
    wait(&mut fed, 60, false);
    wait(&mut fed, 2_000, true);
    (fed.now_ms, fed.record_ms) = ((START + 2_000) * 1_000, (START + 2_000) * 1_000);
    assert_eq!(fed.feed(&view("b", "1", START + 1_000)), []);
    assert_eq!(fed.engine.take_withheld().len(), 1);
}

#[test]
fn the_present_of_a_site_says_since_when_its_source_is_silent() {
    let mut fed = visited();
    let present = |fed: &mut Fed| {
        let rounds = (0..10).flat_map(|_| fed.engine.hand_over(false).presents);
        rounds.last().map(|present| present.source_silent_since)
    };
    assert_eq!(present(&mut fed), Some(None));
    assert_eq!(wait(&mut fed, 60, true), []);
    assert_eq!(present(&mut fed), Some(Some(from_ms(LAST_MS))));
    assert_eq!(wait(&mut fed, 61, false), []);
    assert_eq!(present(&mut fed), Some(None));
}

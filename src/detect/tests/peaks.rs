//! The peaks of alerts that go on, as the history of alerts gets them.

use super::fixtures::*;
use crate::detect::completeness::CompleteFrom;
use crate::domain::event::SourceClock;

/// The peaks of the rows that are handed over.
fn peaks(fed: &mut Fed) -> Vec<u32> {
    let rows = fed.engine.hand_over(false).episodes;
    rows.iter().map(|row| row.peak).collect()
}

/// A live site at which a visitor came every 20 s, six in all.
fn falling() -> Fed {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(5, 300)])]);
    fed.engine.completeness_mut().begin(0, 0, 0, CompleteFrom::Ever);
    for second in [0, 20, 40, 60, 80, 100] {
        visit(&mut fed, &second.to_string(), second);
    }
    fed
}

/// A visitor so many seconds after the beginning.
fn visit(fed: &mut Fed, visitor: &str, second: i64) {
    fed.now_ms = RECORD_MS + second * 1_000;
    fed.record_ms = fed.now_ms;
    fed.feed(&view("a", visitor, fed.now_ms / 1_000));
}

#[test]
fn the_peak_of_a_running_spike_is_told_once_a_minute() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(2, 3_600)])]);
    for visitor in ["1", "2"] {
        visit(&mut fed, visitor, 0);
    }
    assert_eq!(peaks(&mut fed), [2]);
    let mut told = Vec::new();
    for second in 1..=130_i64 {
        for n in 0..3 {
            visit(&mut fed, &format!("{second} {n}"), second);
        }
        fed.tick(fed.now_ms);
        told.extend(peaks(&mut fed));
    }
    // With the first tick, and a minute and two minutes later: never one row an event.
    assert_eq!(told, [5, 185, 365]);
    for second in 131..=400 {
        fed.tick(RECORD_MS + second * 1_000);
        told.extend(peaks(&mut fed));
    }
    assert_eq!(told.last(), Some(&392), "the last growth is told as well");
    assert_eq!(told.len(), 4, "and nothing where nothing grows");
}

#[test]
fn the_peak_of_a_running_drop_is_told_as_it_falls() {
    let mut fed = falling();
    let mut told = Vec::new();
    for second in 100..=600 {
        fed.tick(RECORD_MS + second * 1_000);
        told.extend(peaks(&mut fed));
    }
    assert_eq!(told.first(), Some(&4));
    assert_eq!(told.last(), Some(&0));
}

#[test]
fn what_is_given_back_has_the_peaks_so_far() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(2, 300)])]);
    for visitor in 0..9 {
        visit(&mut fed, &visitor.to_string(), 0);
    }
    let rows = fed.engine.hand_over(true).episodes;
    assert_eq!(rows.iter().map(|row| row.peak).collect::<Vec<_>>(), [2, 9]);
}

#[test]
fn a_count_that_lacks_visitors_is_no_peak_of_a_drop() {
    let mut fed = falling();
    fed.tick(RECORD_MS + 340_000);
    assert_eq!(peaks(&mut fed), [4]);
    // Records are missed, among them may be any number of visitors.
    fed.engine.completeness_mut().open_gap(0);
    for second in 341..=500 {
        fed.tick(RECORD_MS + second * 1_000);
        assert_eq!(peaks(&mut fed), [0_u32; 0]);
    }
}

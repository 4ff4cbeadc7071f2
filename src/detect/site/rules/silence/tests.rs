use super::*;
use crate::detect::usual::rates::{ExpectedRate, HourlyRate};
use crate::detect::window::SlidingWindow;
use crate::detect::window::latest::LatestVisitors;
use crate::detect::window::segments::Segments;

/// The same rate at any time.
#[derive(Debug)]
struct Steady(f64, f64);

impl ExpectedRate for Steady {
    fn in_hour_of(&self, _: Option<&str>, _: u32, second: u32) -> Option<HourlyRate> {
        Some(HourlyRate {
            events: self.0,
            spread: self.1,
            until: (second / 3_600 + 1) * 3_600,
        })
    }
}

/// No rate is known of any site.
#[derive(Debug)]
struct NoRates;

impl ExpectedRate for NoRates {
    fn in_hour_of(&self, _: Option<&str>, _: u32, _: u32) -> Option<HourlyRate> {
        None
    }
}

fn rule(last: u32) -> SilenceRule {
    SilenceRule {
        goal: None,
        last: Some(last),
        watched_from: None,
    }
}

fn judge(rates: &dyn ExpectedRate, last: u32, now: u32, started_at: Option<u32>) -> (Level, Option<u32>) {
    let (mut window, latest) = (SlidingWindow::new(&[300], 0), LatestVisitors::default());
    window.advance(now, &mut Segments::new(1));
    let reading = SiteReading {
        window: &window,
        latest: &latest,
        first_event: Some(0),
        complete_from: 0,
        rates,
        now,
        is_log: false,
    };
    let rule = rule(last);
    let change = rule.next_change(started_at.is_some(), reading);
    (rule.level(started_at, reading), change)
}

#[test]
fn fires_where_so_many_events_were_expected() {
    // 13.8 events at 36 an hour take 1,380 s.
    let rates = Steady(36.0, 1.0);
    assert_eq!(
        judge(&rates, 10_000, 11_379, None),
        (Level::Between, Some(11_380))
    );
    assert_eq!(judge(&rates, 10_000, 11_380, None).0, Level::Breach);
    // Over the end of an hour as well.
    assert_eq!(judge(&Steady(13.8, 1.0), 10_000, 10_001, None).1, Some(13_600));
}

#[test]
fn a_silence_lasts_at_least_ten_minutes() {
    let rates = Steady(100_000.0, 1.0);
    assert_eq!(judge(&rates, 10_000, 10_001, None).1, Some(10_600));
}

#[test]
fn more_spread_needs_more_by_its_square() {
    assert_eq!(
        judge(&Steady(36.0, 2.0), 10_000, 10_001, None).1,
        Some(10_000 + 4 * 1_380)
    );
}

#[test]
fn without_a_rate_there_is_no_silence() {
    assert_eq!(judge(&NoRates, 10_000, 4_000_000, None), (Level::Between, None));
    let never = Steady(0.0, 1.0);
    assert_eq!(judge(&never, 10_000, 4_000_000, None), (Level::Between, None));
}

#[test]
fn the_first_event_begins_five_calm_minutes() {
    let rates = Steady(36.0, 1.0);
    assert_eq!(judge(&rates, 10_000, 12_000, Some(11_380)).0, Level::Breach);
    let calm = Level::Calm { seconds: 300 };
    assert_eq!(judge(&rates, 11_990, 12_000, Some(11_380)).0, calm);
}

#[test]
fn what_was_expected_is_summed_over_the_hours() {
    let (mut window, latest) = (SlidingWindow::new(&[300], 0), LatestVisitors::default());
    window.advance(17_200, &mut Segments::new(1));
    let rates = Steady(36.0, 1.0);
    let reading = SiteReading {
        window: &window,
        latest: &latest,
        first_event: Some(0),
        complete_from: 0,
        rates: &rates,
        now: window.now(),
        is_log: false,
    };
    let expected = rule(10_000).expected(reading).expect("a rate");
    assert!((expected - 72.0).abs() < 1e-9, "{expected}");
}

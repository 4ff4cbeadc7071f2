use std::collections::{BTreeMap, HashMap};

use super::*;
use proptest::prelude::*;

const MANY: usize = 1 << 20;

fn visit(hash: u64, second: u32) -> Visit {
    Visit {
        hash,
        second,
        source: NO_LABEL,
        page: NO_LABEL,
    }
}

struct Site {
    window: SlidingWindow,
    segments: Segments,
    offset: i64,
}

impl Site {
    fn new(lengths: &[u32], now: u32) -> Self {
        Self {
            window: SlidingWindow::new(lengths, now),
            segments: Segments::new(1),
            offset: 0,
        }
    }

    /// An event as the engine feeds it: the clock first, then the visitor.
    fn event(&mut self, hash: u64, second: u32) -> VisitResult {
        let segment = self.segments.begin_record(0, self.offset);
        self.offset += 1;
        self.window.advance(second, &mut self.segments);
        self.window
            .visit(visit(hash, second), MANY, segment, &mut self.segments)
    }

    fn advance(&mut self, to: u32) {
        self.window.advance(to, &mut self.segments);
    }
}

#[test]
fn a_visitor_counts_up_to_and_including_the_windows_last_second() {
    let mut site = Site::new(&[300], 0);
    site.event(1, 1_000);
    site.advance(1_300);
    assert_eq!(site.window.count(0), 1);
    site.advance(1_301);
    assert_eq!(site.window.count(0), 0);
    assert!(site.window.is_empty());
}

#[test]
fn a_late_event_counts_and_never_moves_a_visitor_back() {
    let mut site = Site::new(&[300], 0);
    site.event(1, 1_000);
    // Another visitor, 300 s late: just in time.
    assert_eq!(site.event(2, 700), VisitResult::Counted);
    assert_eq!(site.event(3, 699), VisitResult::TooOld);
    assert_eq!(site.window.count(0), 2);
    // The first visitor's older event changes nothing.
    site.event(1, 800);
    site.advance(1_001);
    assert_eq!(site.window.count(0), 1);
    site.advance(1_300);
    assert_eq!(site.window.count(0), 1);
    assert_eq!(site.window.now(), 1_300);
}

#[test]
fn a_jump_of_years_costs_no_more_than_what_is_held() {
    let mut site = Site::new(&[60, 3_600], 0);
    for n in 0..100 {
        site.event(u64::from(n) << 40, n);
    }
    site.advance(LAST_SECOND);
    assert_eq!((site.window.count(0), site.window.count(1)), (0, 0));
    site.event(7, LAST_SECOND);
    assert_eq!((site.window.count(0), site.window.count(1)), (1, 1));
}

#[test]
fn a_longer_window_counts_what_was_kept() {
    let mut site = Site::new(&[60], 0);
    site.event(1, 100);
    site.event(2, 161);
    site.window.set_lengths(&[60, 300], &mut site.segments);
    assert_eq!((site.window.count(0), site.window.count(1)), (1, 1));
    // The visitor who was removed is new to the longer length.
    site.event(1, 161);
    assert_eq!((site.window.count(0), site.window.count(1)), (2, 2));
    site.window.set_lengths(&[10], &mut site.segments);
    site.advance(171);
    assert_eq!(site.window.count(0), 2);
    site.advance(172);
    assert_eq!(site.window.count(0), 0);
}

#[test]
fn a_full_window_refuses_new_visitors_and_keeps_the_known() {
    let mut site = Site::new(&[300], 1_000);
    for hash in 1..=5 {
        let result = site
            .window
            .visit(visit(hash << 32, 1_000), 4, 0, &mut site.segments);
        let expected = if hash <= 4 {
            VisitResult::Counted
        } else {
            VisitResult::Refused
        };
        assert_eq!(result, expected);
    }
    site.advance(1_200);
    let result = site.window.visit(visit(1 << 32, 1_200), 4, 0, &mut site.segments);
    assert_eq!(result, VisitResult::Counted);
    assert_eq!(site.window.count(0), 4);
    // Expired visitors make room.
    site.advance(1_301);
    let result = site.window.visit(visit(9 << 32, 1_301), 4, 0, &mut site.segments);
    assert_eq!(result, VisitResult::Counted);
    assert_eq!(site.window.count(0), 2);
}

/// The instant at which a length's count falls next.
fn next_fall(window: &SlidingWindow, length: usize) -> Option<u32> {
    window.falls_below(length, window.count(length))
}

#[test]
fn the_next_fall_is_the_second_after_a_visitors_last() {
    let mut site = Site::new(&[60, 300], 0);
    assert_eq!(next_fall(&site.window, 0), None);
    site.event(1, 1_000);
    site.event(2, 1_010);
    assert_eq!(next_fall(&site.window, 0), Some(1_061));
    assert_eq!(next_fall(&site.window, 1), Some(1_301));
    // The second before stays without visitors.
    site.event(1, 1_020);
    assert_eq!(next_fall(&site.window, 0), Some(1_071));
    site.advance(1_071);
    assert_eq!(next_fall(&site.window, 0), Some(1_081));
}

#[test]
fn expired_visitors_leave_the_table_step_by_step() {
    let mut site = Site::new(&[300], 0);
    for n in 0_u64..20_000 {
        let hash = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        site.event(hash, 1_000 + (n / 10) as u32);
        let held = site.window.visitors.len();
        let live = site.window.live() as usize;
        assert!(held <= live + live / 2 + 128, "{held} held, {live} live");
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Visitor and seconds before (or, negative, after) now.
    Event(u64, i64),
    Advance(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_u64..40, prop_oneof![3 => -3_i64..3, 2 => -30_i64..90, 1 => Just(60), 1 => Just(61), 1 => Just(-2_000)])
            .prop_map(|(visitor, ago)| Step::Event(visitor << 57, ago)),
        1 => prop_oneof![0_u32..5, 50_u32..70, Just(100_000)].prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..250)
}

proptest! {
    #[test]
    fn every_count_is_that_of_all_events_listed(steps in steps()) {
        const LENGTHS: [u32; 3] = [60, 5, 77];
        let mut site = Site::new(&LENGTHS, 1_000);
        let mut latest = HashMap::<u64, u32>::new();
        let mut now = 1_000_u32;
        for step in steps {
            match step {
                Step::Event(hash, ago) => {
                    let second = (i64::from(now) - ago).max(0) as u32;
                    now = now.max(second);
                    site.event(hash, second);
                    let known = latest.entry(hash).or_insert(second);
                    *known = second.max(*known);
                }
                Step::Advance(by) => {
                    now += by;
                    site.advance(now);
                }
            }
            for (index, length) in LENGTHS.into_iter().enumerate() {
                let expected = latest.values().filter(|second| now - **second <= length).count();
                prop_assert_eq!(site.window.count(index) as usize, expected);
                let next = latest.values().filter(|second| now - **second <= length).min();
                prop_assert_eq!(next_fall(&site.window, index), next.map(|second| second + length + 1));
            }
            let held: u32 = site.window.seconds.iter().map(|second| second.visitors).sum();
            prop_assert_eq!(held, site.window.live());
            // Who left may still be in the table.
            prop_assert_eq!(site.window.within(u32::MAX).count() as u32, site.window.live());
            prop_assert!(site.window.seconds.iter().is_sorted_by(|a, b| a.at < b.at));
        }
        site.window.clear(&mut site.segments);
        prop_assert_eq!(site.segments.replay_from(0), site.segments.next_offset(0));
    }

    /// Reads again from `replay_from`: the counts and the clock must be the same.
    #[test]
    fn reading_from_the_oldest_segment_gives_the_same_window(
        events in proptest::collection::vec((1_u64..200, 0_u32..120), 1..60),
        every in 1_usize..20,
    ) {
        let mut site = Site::new(&[60], 0);
        let mut log = BTreeMap::new();
        // Filler from one visitor makes segments pass.
        for (n, (hash, ago)) in events.iter().enumerate() {
            for _ in 0..every {
                let now = site.window.now().max(1_000);
                log.insert(site.offset, (u64::MAX, now));
                site.event(u64::MAX, now);
            }
            let second = 1_000 + (n as u32 * 7) - ago;
            log.insert(site.offset, (*hash << 50, second));
            site.event(*hash << 50, second);
        }
        let from = site.segments.replay_from(0).expect("records were read");
        let mut again = Site::new(&[60], 0);
        for (hash, second) in log.range(from..).map(|(_, event)| *event) {
            again.event(hash, second);
        }
        prop_assert_eq!(again.window.now(), site.window.now());
        prop_assert_eq!(again.window.count(0), site.window.count(0));
        for later in 0..62 {
            site.advance(2_000 + later);
            again.advance(2_000 + later);
            prop_assert_eq!(again.window.count(0), site.window.count(0));
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::dispatch::read_ahead::ReadAhead;
use crate::dispatch::tier::due_time;

const BEGIN_MS: i64 = 1_771_970_400_000;
/// Longest step of the wall clock.
const MOST_MS: i64 = 3_000;

/// A tier's reader, beside a wall clock that is stepped and one that is not.
struct Reader {
    tier: Tier,
    wall_ms: i64,
    /// Time that has passed, in microseconds.
    true_us: i64,
    /// By how much the wall clock was set back.
    set_back_ms: i64,
    ahead: ReadAhead<u8, HeldRecord>,
    published: usize,
    handed_out: usize,
}

/// A record in the heap, and the clocks when it was read.
#[derive(Debug)]
struct HeldRecord {
    due_at_ms: i64,
    wall_ms: i64,
    true_us: i64,
    set_back_ms: i64,
}

impl Reader {
    fn new() -> Self {
        Self {
            tier: "2s".parse().expect("a tier"),
            wall_ms: BEGIN_MS,
            true_us: 0,
            set_back_ms: 0,
            ahead: ReadAhead::new(),
            published: 0,
            handed_out: 0,
        }
    }

    /// Reads a record that somebody has published just now by the same clock.
    fn read(&mut self, delay_ms: i64) {
        let due = due_time(self.wall_ms + delay_ms, self.wall_ms, self.wall_ms);
        assert!(!due.clamped);
        self.published += 1;
        let due_at_ms = due.at_ms;
        if is_far_due(Some(self.tier), due_at_ms, self.wall_ms) {
            // It is parked in Postgres until then.
            self.handed_out += 1;
            return;
        }
        let held = HeldRecord {
            due_at_ms,
            wall_ms: self.wall_ms,
            true_us: self.true_us,
            set_back_ms: self.set_back_ms,
        };
        self.ahead.push(0, due_at_ms, 1, held);
    }

    /// Steps the wall clock.
    fn step_clock(&mut self, ms: i64) {
        self.wall_ms += ms;
        self.set_back_ms += (-ms).max(0);
    }

    /// Hands out what is due, and parks.
    fn turn(&mut self) {
        while let Some(due) = self.ahead.pop_due(self.wall_ms) {
            let record = due.payload;
            assert!(self.wall_ms >= record.due_at_ms, "it is early: {record:?}");
            let waited_us = self.true_us - record.true_us;
            let planned_ms = (record.due_at_ms - record.wall_ms).max(0);
            let set_back_ms = self.set_back_ms - record.set_back_ms;
            let latest_us = (planned_ms + set_back_ms) * 1_000 + PARK_TIMEOUT.as_micros() as i64;
            assert!(waited_us <= latest_us, "{waited_us} µs for {record:?}");
            self.handed_out += 1;
        }
        let parked = park_timeout(self.ahead.next_due(), self.wall_ms);
        assert!(parked > Duration::ZERO && parked <= PARK_TIMEOUT);
        let before_ms = self.true_us / 1_000;
        self.true_us += parked.as_micros() as i64;
        self.wall_ms += self.true_us / 1_000 - before_ms;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stepped_clock_makes_nothing_early_lost_or_later_yet(
        actions in proptest::collection::vec((0..4_u8, -MOST_MS..MOST_MS), 0..40),
    ) {
        let mut reader = Reader::new();
        for (kind, ms) in actions {
            match kind {
                0 | 1 => reader.read(ms.abs()),
                2 => reader.step_clock(ms),
                _ => (0..ms.abs() / 20).for_each(|_| reader.turn()),
            }
        }
        let mut turns = 0;
        while reader.ahead.next_due().is_some() {
            reader.turn();
            turns += 1;
            prop_assert!(turns < 100_000, "it is never handed out");
        }
        prop_assert_eq!(reader.handed_out, reader.published);
    }
}

#[test]
fn a_thread_parks_briefly_however_far_the_clock_was_set_back() {
    for (next_due_ms, expected) in [
        (None, PARK_TIMEOUT),
        (Some(BEGIN_MS + 86_400_000), PARK_TIMEOUT),
        (Some(BEGIN_MS + 3), Duration::from_millis(3)),
        (Some(BEGIN_MS), SHORTEST_PARK_TIMEOUT),
        (Some(BEGIN_MS - 86_400_000), SHORTEST_PARK_TIMEOUT),
        (Some(i64::MIN), SHORTEST_PARK_TIMEOUT),
        (Some(i64::MAX), PARK_TIMEOUT),
    ] {
        assert_eq!(park_timeout(next_due_ms, BEGIN_MS), expected, "{next_due_ms:?}");
    }
}

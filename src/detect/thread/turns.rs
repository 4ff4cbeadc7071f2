//! The turns of a thread, and the gaps between them.

use std::time::{Duration, Instant};

/// Turns of a thread, and whether it may have been suspended between two.
#[derive(Debug)]
pub(super) struct ThreadTurns {
    /// Longest time between two turns in which no other owner can have come in between.
    max_gap: Duration,
    /// Time of the last turn. Both clocks are watched, because either may stand still while a
    /// machine is suspended.
    last: Instant,
    last_ms: i64,
    pub(super) is_unsure: bool,
}

impl ThreadTurns {
    pub(super) fn new(max_gap: Duration, now: Instant, now_ms: i64) -> Self {
        Self {
            max_gap,
            last: now,
            last_ms: now_ms,
            is_unsure: false,
        }
    }

    /// True if the partitions may be another member's by now.
    pub(super) fn are_unsure(&self) -> bool {
        self.is_unsure
    }

    /// Notes that the thread is at work. True if the partitions may be another member's by now.
    pub(super) fn note(&mut self, now: Instant, now_ms: i64) -> bool {
        let by_wall = Duration::from_millis(now_ms.saturating_sub(self.last_ms).unsigned_abs());
        let gap = now.saturating_duration_since(self.last).max(by_wall);
        self.is_unsure |= gap >= self.max_gap;
        (self.last, self.last_ms) = (now, now_ms);
        self.is_unsure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_gap_by_either_clock_makes_unsure_until_told_otherwise() {
        let (begun, second) = (clock::monotonic(), Duration::from_secs(1));
        for (by_one, by_the_other, is_unsure) in [(2, 2, false), (3, 0, true), (0, 3, true), (0, -9, true)] {
            let mut turns = ThreadTurns::new(3 * second, begun, 1_000_000);
            let now = begun + second * by_one;
            assert_eq!(turns.note(now, 1_000_000 + by_the_other * 1_000), is_unsure);
            assert_eq!(turns.note(now, 1_000_000 + by_the_other * 1_000), is_unsure);
            turns.is_unsure = false;
            assert!(!turns.note(now, 1_000_000 + by_the_other * 1_000));
        }
    }
}

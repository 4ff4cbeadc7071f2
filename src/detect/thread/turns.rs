//! The turns of a thread, and the doubt that a gap between two of them raises.

use std::time::{Duration, Instant};

/// Turns of a thread, and its doubt whether its partitions are still its own.
#[derive(Debug)]
pub(super) struct ThreadTurns {
    /// Time without a word of a member after which its group gives its partitions to others.
    session: Duration,
    /// Time of the last turn. Both clocks are watched, because either may stand still while a
    /// machine is suspended.
    last: Instant,
    last_ms: i64,
    /// Set while the partitions may be another member's: the end of the last gap.
    unsure_since: Option<Instant>,
}

impl ThreadTurns {
    pub(super) fn new(session: Duration, now: Instant, now_ms: i64) -> Self {
        Self {
            session,
            last: now,
            last_ms: now_ms,
            unsure_since: None,
        }
    }

    /// True if the partitions may be another member's.
    pub(super) fn are_unsure(&self) -> bool {
        self.unsure_since.is_some()
    }

    /// Notes that the thread is at work. Returns true if the partitions may be another member's by
    /// now: no gap of half a session can hide the end of one. A session later the client itself has
    /// heard of its group, or has given the partitions up.
    pub(super) fn note(&mut self, now: Instant, now_ms: i64) -> bool {
        let by_wall = Duration::from_millis(now_ms.saturating_sub(self.last_ms).unsigned_abs());
        let gap = now.saturating_duration_since(self.last).max(by_wall);
        (self.last, self.last_ms) = (now, now_ms);
        let is_over = |since| now.saturating_duration_since(since) >= self.session;
        if gap >= self.session / 2 {
            self.unsure_since = Some(now);
        } else if self.unsure_since.is_some_and(is_over) {
            self.unsure_since = None;
        }
        self.are_unsure()
    }

    /// Notes that the group has counted the thread among its members since the last turn.
    pub(super) fn confirm(&mut self, now: Instant, now_ms: i64) -> bool {
        self.unsure_since = None;
        !self.note(now, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_gap_by_either_clock_makes_unsure_until_confirmed() {
        let (begun, begun_ms) = (clock::monotonic(), 1_000_000);
        for (by_one, by_the_other, is_unsure) in [(2, 2, false), (3, 0, true), (0, 3, true), (0, -9, true)] {
            let mut turns = ThreadTurns::new(6 * SECOND, begun, begun_ms);
            let (now, now_ms) = (
                begun + by_one * SECOND,
                begun_ms + i64::from(by_the_other) * 1_000,
            );
            assert_eq!(turns.note(now, now_ms), is_unsure);
            assert_eq!(turns.note(now, now_ms), is_unsure, "a turn alone is no answer");
            assert!(turns.confirm(now + SECOND, now_ms + 1_000));
            assert!(!turns.note(now + SECOND, now_ms + 1_000));
        }
    }

    #[test]
    fn an_answer_from_before_a_gap_confirms_nothing() {
        let begun = clock::monotonic();
        let mut turns = ThreadTurns::new(6 * SECOND, begun, 0);
        assert!(turns.note(begun + 9 * SECOND, 9_000));
        assert!(!turns.confirm(begun + 18 * SECOND, 18_000));
        assert!(turns.confirm(begun + 19 * SECOND, 19_000));
    }

    #[test]
    fn a_doubt_ends_with_the_session_in_which_the_client_speaks() {
        let begun = clock::monotonic();
        let mut turns = ThreadTurns::new(6 * SECOND, begun, 0);
        let mut note = |second: u32| turns.note(begun + second * SECOND, i64::from(second) * 1_000);
        assert!(note(9));
        assert!((10..15).all(&mut note));
        assert!(!note(15));
    }
}

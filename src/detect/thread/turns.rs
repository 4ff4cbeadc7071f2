//! The turns of a thread, and the doubt that a gap between two of them raises.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Turns of a thread, and its doubt whether its partitions are still its own. Clones are of the
/// same thread.
#[derive(Debug, Clone)]
pub(crate) struct ThreadTurns(Arc<Mutex<NotedTurns>>);

#[derive(Debug)]
struct NotedTurns {
    /// Time without a word of a member after which its group gives its partitions to others.
    session: Duration,
    /// Time of the last turn. Both clocks are watched, because either may stand still while a
    /// machine is suspended.
    last: Instant,
    last_ms: i64,
    /// Set while the partitions may be another member's: the end of the last gap.
    unsure_since: Option<Instant>,
    /// Number of times that partitions were lost in doubt.
    losses: u64,
}

impl ThreadTurns {
    pub(crate) fn new(session: Duration, now: Instant, now_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(NotedTurns {
            session,
            last: now,
            last_ms: now_ms,
            unsure_since: None,
            losses: 0,
        })))
    }

    /// True if the partitions may be another member's.
    pub(super) fn are_unsure(&self) -> bool {
        self.lock().unsure_since.is_some()
    }

    /// Notes that the thread is at work. Returns true if the partitions may be another member's by
    /// now. A session later the client itself has heard of its group, or has given them up.
    pub(super) fn note(&self, now: Instant, now_ms: i64) -> bool {
        self.lock().note(now, now_ms)
    }

    /// Notes that the group has counted the thread among its members since the last turn. Returns
    /// true unless there was another gap.
    pub(super) fn confirm(&self, now: Instant, now_ms: i64) -> bool {
        let mut turns = self.lock();
        turns.unsure_since = None;
        !turns.note(now, now_ms)
    }

    /// Notes that the partitions are lost. Returns true if another member may have had them while
    /// the thread did not know.
    pub(super) fn lose(&self, now: Instant, now_ms: i64) -> bool {
        let mut turns = self.lock();
        let is_unsure = turns.note(now, now_ms);
        turns.losses += u64::from(is_unsure);
        is_unsure
    }

    /// Marks what is owned now, for [`Self::are_owned`]: the number of losses before.
    pub(super) fn losses(&self) -> u64 {
        self.lock().losses
    }

    /// True if what was owned at [`Self::losses`] still is, false if it was lost in doubt, `None`
    /// while that is not known.
    pub(super) fn are_owned(&self, losses: u64, now: Instant, now_ms: i64) -> Option<bool> {
        let turns = self.lock();
        if turns.losses != losses {
            return Some(false);
        }
        (turns.unsure_since.is_none() && !turns.is_gap(now, now_ms)).then_some(true)
    }

    fn lock(&self) -> MutexGuard<'_, NotedTurns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotedTurns {
    fn note(&mut self, now: Instant, now_ms: i64) -> bool {
        let is_over = |since| now.saturating_duration_since(since) >= self.session;
        if self.is_gap(now, now_ms) {
            self.unsure_since = Some(now);
        } else if self.unsure_since.is_some_and(is_over) {
            self.unsure_since = None;
        }
        (self.last, self.last_ms) = (now, now_ms);
        self.unsure_since.is_some()
    }

    /// True if the last turn was so long ago that the end of a session may lie in between.
    fn is_gap(&self, now: Instant, now_ms: i64) -> bool {
        let by_wall = Duration::from_millis(now_ms.abs_diff(self.last_ms));
        now.saturating_duration_since(self.last).max(by_wall) >= self.session / 2
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
            let turns = ThreadTurns::new(6 * SECOND, begun, begun_ms);
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
        let turns = ThreadTurns::new(6 * SECOND, begun, 0);
        assert!(turns.note(begun + 9 * SECOND, 9_000));
        assert!(!turns.confirm(begun + 18 * SECOND, 18_000));
        assert!(turns.confirm(begun + 19 * SECOND, 19_000));
    }

    #[test]
    fn a_doubt_ends_with_the_session_in_which_the_client_speaks() {
        let begun = clock::monotonic();
        let turns = ThreadTurns::new(6 * SECOND, begun, 0);
        let note = |second: u32| turns.note(begun + second * SECOND, i64::from(second) * 1_000);
        assert!(note(9));
        assert!((10..15).all(note));
        assert!(!note(15));
    }

    #[test]
    fn what_was_lost_in_doubt_is_owned_no_more() {
        let begun = clock::monotonic();
        let turns = ThreadTurns::new(6 * SECOND, begun, 0);
        let losses = turns.losses();
        let owned = |second: u32| turns.are_owned(losses, begun + second * SECOND, i64::from(second) * 1_000);
        assert_eq!(
            (owned(2), owned(3)),
            (Some(true), None),
            "nobody has noted the gap yet"
        );
        assert!(turns.note(begun + 3 * SECOND, 3_000));
        assert_eq!(owned(4), None);
        assert!(turns.confirm(begun + 4 * SECOND, 4_000));
        assert_eq!(owned(5), Some(true));
        assert!(!turns.lose(begun + 5 * SECOND, 5_000), "without a doubt");
        assert_eq!(owned(6), Some(true));
        assert!(turns.lose(begun + 9 * SECOND, 9_000));
        assert_eq!(owned(9), Some(false));
    }
}

//! A guard for threads that were suspended: another member may own their partitions by then.
//!
//! The client learns of it only later, and has records that were fetched before. Of several
//! sources they come in another order than to the new owner, so that what is decided on them has
//! other ids. So nothing is read and nobody is moved on until the group has taken a commit.

use std::time::{Duration, Instant};

use super::{Detector, READ_TIMEOUT};
use crate::clock;
use crate::kafka::session::CommitScope;

/// Turns of a thread, and whether it may have been suspended between two.
#[derive(Debug)]
pub(super) struct Turns {
    /// Longest time between two turns in which no other owner can have come in between.
    max_gap: Duration,
    /// Time of the last turn. Both clocks are watched, because either may stand still while a
    /// machine is suspended.
    last: Instant,
    last_ms: i64,
    is_unsure: bool,
}

impl Turns {
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

impl Detector {
    /// True if the thread may own its partitions no more. Then the group is asked, by a commit: that
    /// of a member which is none any more is refused, and its partitions are taken from it.
    pub(super) fn may_be_replaced(&mut self) -> bool {
        let now = clock::monotonic();
        if !self.turns.note(now, clock::now_ms()) {
            return false;
        }
        if !self.owned.iter().any(Option::is_some) {
            self.turns.is_unsure = false;
        } else if self.session.due_commit(now).is_some() {
            let commits = self.commits(CommitScope::All);
            self.session.commit_and_wait(&commits);
            self.turns.is_unsure = !self.session.are_commits_answered();
        } else {
            std::thread::park_timeout(READ_TIMEOUT);
        }
        self.turns.is_unsure
    }

    /// Leaves the records of a batch that was read before the thread was suspended: they are read
    /// again once the group has been asked.
    pub(super) fn leave_records(&mut self) {
        tracing::warn!(
            thread = self.settings.name,
            "the thread was suspended for longer than its place in the group lasts without a doubt; it asks the group \
             before it goes on"
        );
        self.owned
            .iter_mut()
            .flatten()
            .for_each(|owned| owned.set_elsewhere());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_by_either_clock_makes_unsure_until_told_otherwise() {
        let (begun, second) = (clock::monotonic(), Duration::from_secs(1));
        for (by_one, by_the_other, is_unsure) in [(2, 2, false), (3, 0, true), (0, 3, true), (0, -9, true)] {
            let mut turns = Turns::new(3 * second, begun, 1_000_000);
            let now = begun + second * by_one;
            assert_eq!(turns.note(now, 1_000_000 + by_the_other * 1_000), is_unsure);
            assert_eq!(turns.note(now, 1_000_000 + by_the_other * 1_000), is_unsure);
            turns.is_unsure = false;
            assert!(!turns.note(now, 1_000_000 + by_the_other * 1_000));
        }
    }
}

//! Tracks which offset of a partition may be committed while its records complete in any order.
//!
//! Only offsets that were seen count: transaction markers and records that compaction removed leave
//! gaps, and nothing is waited for there. Only open offsets are held, so one slow request among a
//! million quick ones costs one entry.

use std::collections::BTreeSet;

/// Most open offsets of a partition; beyond them the partition is not read.
pub(crate) const MAX_OPEN: usize = 100_000;

/// Number of a partition's assignment. A partition that was lost and came back has a new one, and a
/// record that was begun under the old one must not complete an offset of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub u64);

/// The offsets of one partition during one assignment.
#[derive(Debug)]
pub(crate) struct OffsetTracker {
    epoch: Epoch,
    open: BTreeSet<i64>,
    /// The highest offset seen.
    last: Option<i64>,
    /// The position last committed, by us or before us.
    committed: Option<i64>,
}

/// Effect of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The offset is complete.
    Done,
    /// It belongs to another assignment; nothing was changed.
    OtherEpoch,
    /// It was not open: never seen, or completed before.
    NotOpen,
}

impl OffsetTracker {
    /// Tracks a partition from its assignment on. `committed` is the group's committed position, if
    /// there is one.
    pub(crate) fn new(epoch: Epoch, committed: Option<i64>) -> Self {
        Self {
            epoch,
            open: BTreeSet::new(),
            last: None,
            committed,
        }
    }

    /// Returns the assignment that this tracker is for.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins again within the assignment, because the topic was made anew: its offsets begin
    /// again, and those of the earlier topic mean nothing any more.
    pub(crate) fn restart(&mut self) {
        // Numbers of assignments are below 2³², so this one is new.
        *self = Self::new(Epoch(self.epoch.0.wrapping_add(1 << 32)), None);
    }

    /// Notes that `offset` was read. Offsets come in order: one that is not beyond all before it
    /// was handed out already, is not opened, and answers `false`.
    pub(crate) fn open(&mut self, offset: i64) -> bool {
        if self.last.is_some_and(|last| offset <= last) {
            return false;
        }
        self.last = Some(offset);
        self.open.insert(offset)
    }

    /// Notes that the partition has no more records before `position` than were read.
    pub(crate) fn pass_over(&mut self, position: i64) {
        self.last = self.last.max(Some(position.saturating_sub(1)));
    }

    /// True if `offset` was read and nothing remains to be done for it. A partition that comes back
    /// is read again from its committed offset, and records that were completed beyond that are not
    /// worked on twice.
    pub(crate) fn is_complete(&self, offset: i64) -> bool {
        self.last.is_some_and(|last| offset <= last) && !self.open.contains(&offset)
    }

    /// Notes that nothing remains to be done for `offset`.
    pub(crate) fn complete(&mut self, epoch: Epoch, offset: i64) -> Completion {
        if epoch != self.epoch {
            Completion::OtherEpoch
        } else if self.open.remove(&offset) {
            Completion::Done
        } else {
            Completion::NotOpen
        }
    }

    /// Returns the low-water mark, at which a successor has to begin: the lowest open offset, or
    /// one past the last seen; none before the first record.
    pub(crate) fn low_water(&self) -> Option<i64> {
        self.open
            .first()
            .copied()
            .or_else(|| self.last.map(|last| last.saturating_add(1)))
    }

    /// Returns the position to commit, if it lies beyond the one committed.
    pub(crate) fn to_commit(&self) -> Option<i64> {
        self.low_water()
            .filter(|position| self.committed.is_none_or(|committed| *position > committed))
    }

    /// Notes that `position` was committed.
    pub(crate) fn committed(&mut self, position: i64) {
        self.committed = self.committed.max(Some(position));
    }

    /// Counts the open offsets.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// True if the partition is not to be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }
}

#[cfg(test)]
mod tests;

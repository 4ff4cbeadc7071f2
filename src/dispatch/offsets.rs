//! Which offset of a partition may be committed while its records complete in any order.
//!
//! Only offsets that were seen count: transaction markers and records that compaction removed leave gaps, and nothing is
//! waited for there. What is held are the open offsets and nothing about the completed ones, so one slow request among a
//! million quick ones costs one entry.

use std::collections::BTreeSet;

/// Most open offsets of a partition; beyond it the partition is not read.
pub(crate) const MAX_OPEN: usize = 100_000;

/// Which assignment of a partition a completion belongs to. A partition that was lost and came back has a new one, and what was
/// begun under the old one must not be taken for a record of the new one.
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

/// What came of a completion.
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
    /// Tracks a partition from its assignment on. `committed` is the group's committed position, if there is one.
    pub(crate) fn new(epoch: Epoch, committed: Option<i64>) -> Self {
        Self {
            epoch,
            open: BTreeSet::new(),
            last: None,
            committed,
        }
    }

    /// The assignment this tracker is for.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Notes that `offset` was read. Offsets come in order; one that is not beyond all before it answers `false` and is not
    /// opened: it was handed out already.
    pub(crate) fn open(&mut self, offset: i64) -> bool {
        if self.last.is_some_and(|last| offset <= last) {
            return false;
        }
        self.last = Some(offset);
        self.open.insert(offset)
    }

    /// Whether `offset` was read and nothing remains to be done for it. A partition that comes back is read again from its
    /// committed offset, and what was completed beyond that is not done twice.
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

    /// The low-water mark: where a successor has to begin. The lowest open offset, or one past the last seen; none before the
    /// first record.
    pub(crate) fn low_water(&self) -> Option<i64> {
        self.open
            .first()
            .copied()
            .or_else(|| self.last.map(|last| last.saturating_add(1)))
    }

    /// The position to commit, if it lies beyond the one committed.
    pub(crate) fn to_commit(&self) -> Option<i64> {
        self.low_water()
            .filter(|position| self.committed.is_none_or(|committed| *position > committed))
    }

    /// Notes that `position` was committed.
    pub(crate) fn committed(&mut self, position: i64) {
        self.committed = self.committed.max(Some(position));
    }

    /// How many offsets are open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether the partition is not to be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Epoch = Epoch(1);

    #[test]
    fn the_mark_waits_for_the_oldest_and_then_passes_all_that_is_done() {
        let mut offsets = OffsetTracker::new(EPOCH, Some(10));
        assert_eq!((offsets.low_water(), offsets.to_commit()), (None, None));
        for offset in 10..15 {
            assert!(offsets.open(offset));
        }
        for offset in [14, 12, 11] {
            assert_eq!(offsets.complete(EPOCH, offset), Completion::Done);
            assert_eq!((offsets.low_water(), offsets.to_commit()), (Some(10), None));
        }
        offsets.complete(EPOCH, 10);
        assert_eq!(offsets.to_commit(), Some(13));
        offsets.committed(13);
        assert_eq!((offsets.to_commit(), offsets.open_count()), (None, 1));
        offsets.complete(EPOCH, 13);
        assert_eq!(offsets.to_commit(), Some(15));
    }

    #[test]
    fn gaps_are_not_waited_for() {
        let mut offsets = OffsetTracker::new(EPOCH, None);
        for offset in [3, 4, 9] {
            offsets.open(offset);
        }
        offsets.complete(EPOCH, 3);
        offsets.complete(EPOCH, 4);
        assert_eq!(offsets.low_water(), Some(9));
        offsets.complete(EPOCH, 9);
        assert_eq!(offsets.low_water(), Some(10));
    }

    #[test]
    fn another_assignments_completion_changes_nothing() {
        let mut offsets = OffsetTracker::new(Epoch(2), None);
        offsets.open(5);
        assert_eq!(offsets.complete(EPOCH, 5), Completion::OtherEpoch);
        assert_eq!(offsets.low_water(), Some(5));
        assert_eq!(offsets.complete(Epoch(2), 5), Completion::Done);
        assert_eq!(offsets.complete(Epoch(2), 5), Completion::NotOpen);
    }

    #[test]
    fn what_was_handed_out_is_not_handed_out_again() {
        let mut offsets = OffsetTracker::new(EPOCH, None);
        assert!(offsets.open(5));
        assert!(!offsets.open(5) && !offsets.open(4));
        assert_eq!(offsets.open_count(), 1);
    }

    #[test]
    fn reading_stops_at_the_bound() {
        let mut offsets = OffsetTracker::new(EPOCH, None);
        for offset in 0..100_000 {
            assert!(!offsets.is_full());
            offsets.open(offset);
        }
        assert!(offsets.is_full());
        offsets.complete(EPOCH, 50_000);
        assert!(!offsets.is_full());
    }

    proptest! {
        #[test]
        fn no_open_record_is_ever_passed_and_no_done_one_waited_for(gaps in proptest::collection::vec(1_i64..4, 1..60), order in any::<proptest::sample::Index>(), picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80)) {
            let mut offsets = OffsetTracker::new(EPOCH, None);
            let mut model: Vec<(i64, bool)> = vec![];
            let mut next = i64::try_from(order.index(1_000)).expect("small");
            let mut gaps = gaps.into_iter();
            for pick in picks {
                // Now a record is read, now one of those read completes.
                if let (0, Some(gap)) = (pick.index(2), gaps.next()) {
                    next += gap;
                    prop_assert!(offsets.open(next));
                    model.push((next, false));
                } else if !model.is_empty() {
                    let place = pick.index(model.len());
                    let (offset, done) = model[place];
                    let expected = if done { Completion::NotOpen } else { Completion::Done };
                    prop_assert_eq!(offsets.complete(EPOCH, offset), expected);
                    model[place].1 = true;
                }
                let naive = model.iter().find(|(_, done)| !done).map(|(offset, _)| *offset).or(model.last().map(|(offset, _)| offset + 1));
                prop_assert_eq!(offsets.low_water(), naive);
                prop_assert_eq!(offsets.open_count(), model.iter().filter(|(_, done)| !done).count());
            }
        }
    }
}

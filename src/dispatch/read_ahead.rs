//! What was read ahead from the tiers and is not due yet.
//!
//! A tier is not read in order of due time: jitter, `Retry-After`, clamping and late publishes mix it. Holding back the first
//! record of a partition would make every one behind it late, so records are read ahead into a heap by due time. What is read
//! ahead is bounded for each partition; beyond the bound it is not read, which holds the partition's queue back without ever
//! pausing it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

/// Most records held for a partition.
pub(crate) const MAX_RECORDS: usize = 2_000;
/// Most bytes held for a partition; one record more may pass it.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Records waiting for their due time, from any number of partitions `P`. Times are milliseconds since the Unix epoch.
#[derive(Debug)]
pub(crate) struct ReadAhead<P, T> {
    heap: BinaryHeap<Reverse<Held<P, T>>>,
    held: HashMap<P, Load>,
    /// Keeps records with one due time in the order they were read.
    sequence: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    records: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Held<P, T> {
    due_at_ms: i64,
    sequence: u64,
    bytes: usize,
    partition: P,
    payload: T,
}

impl<P: Copy + Eq + Hash, T> ReadAhead<P, T> {
    /// Holds nothing.
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            held: HashMap::new(),
            sequence: 0,
        }
    }

    /// Whether `partition` is not to be read for now.
    pub(crate) fn is_full(&self, partition: P) -> bool {
        self.held
            .get(&partition)
            .is_some_and(|load| load.records >= MAX_RECORDS || load.bytes >= MAX_BYTES)
    }

    /// Holds `payload` until `due_at_ms`; `bytes` is what it weighs. Taken even when the partition is full: what has been read
    /// from Kafka must not be dropped.
    pub(crate) fn push(&mut self, partition: P, due_at_ms: i64, bytes: usize, payload: T) {
        let load = self.held.entry(partition).or_default();
        load.records += 1;
        load.bytes += bytes;
        self.sequence += 1;
        self.heap.push(Reverse(Held {
            due_at_ms,
            sequence: self.sequence,
            bytes,
            partition,
            payload,
        }));
    }

    /// Takes the record that has been due longest, if one is due at `now_ms`.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<Due<P, T>> {
        if self.next_due()? > now_ms {
            return None;
        }
        let Reverse(one) = self.heap.pop()?;
        if let Some(load) = self.held.get_mut(&one.partition) {
            load.records -= 1;
            load.bytes -= one.bytes;
            if load.records == 0 {
                self.held.remove(&one.partition);
            }
        }
        Some(Due {
            partition: one.partition,
            due_at_ms: one.due_at_ms,
            payload: one.payload,
        })
    }

    /// When the next record is due.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(one)| one.due_at_ms)
    }

    /// Forgets what is held for a partition that is no longer ours; its next owner reads it again. Answers how many.
    pub(crate) fn remove_partition(&mut self, partition: P) -> usize {
        let Some(load) = self.held.remove(&partition) else {
            return 0;
        };
        self.heap.retain(|Reverse(one)| one.partition != partition);
        load.records
    }

    /// How many records are held.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<P: Copy + Eq + Hash, T> Default for ReadAhead<P, T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A record whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due<P, T> {
    pub(crate) partition: P,
    pub(crate) due_at_ms: i64,
    pub(crate) payload: T,
}

// By due time and then by the order of reading; partition and payload have no say.
impl<P, T> Ord for Held<P, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due_at_ms, self.sequence).cmp(&(other.due_at_ms, other.sequence))
    }
}

impl<P, T> PartialOrd for Held<P, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P, T> PartialEq for Held<P, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P, T> Eq for Held<P, T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_come_out_by_due_time_and_never_early() {
        let mut ahead = ReadAhead::new();
        for (due, name) in [(30, "c"), (10, "a"), (20, "b1"), (20, "b2")] {
            ahead.push(0, due, 1, name);
        }
        assert_eq!(ahead.next_due(), Some(10));
        assert_eq!(ahead.pop_due(9), None);
        let due: Vec<_> = std::iter::from_fn(|| ahead.pop_due(20))
            .map(|one| one.payload)
            .collect();
        assert_eq!(due, ["a", "b1", "b2"]);
        assert_eq!((ahead.next_due(), ahead.len()), (Some(30), 1));
    }

    #[test]
    fn a_partition_is_full_at_its_own_bound_only() {
        let mut ahead = ReadAhead::new();
        for n in 0..MAX_RECORDS {
            assert!(!ahead.is_full(0));
            ahead.push(0, n as i64, 1, ());
        }
        assert!(ahead.is_full(0) && !ahead.is_full(1));
        assert!(ahead.pop_due(0).is_some());
        assert!(!ahead.is_full(0));
        ahead.push(1, 0, MAX_BYTES - 1, ());
        assert!(!ahead.is_full(1));
        ahead.push(1, 0, 1, ());
        assert!(ahead.is_full(1));
    }

    #[test]
    fn a_revoked_partition_leaves_nothing_behind() {
        let mut ahead = ReadAhead::new();
        for n in 0..10 {
            ahead.push(n % 2, i64::from(n), 1, n);
        }
        assert_eq!((ahead.remove_partition(1), ahead.remove_partition(1)), (5, 0));
        let left: Vec<_> = std::iter::from_fn(|| ahead.pop_due(100))
            .map(|one| one.payload)
            .collect();
        assert_eq!(left, [0, 2, 4, 6, 8]);
        assert!(ahead.is_empty() && ahead.next_due().is_none());
    }

    proptest! {
        #[test]
        fn it_does_what_a_sorted_list_does(steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..50_i64), 0..200)) {
            let mut ahead = ReadAhead::new();
            let mut model: Vec<(i64, usize, u8)> = vec![];
            for (n, (kind, partition, time)) in steps.into_iter().enumerate() {
                match kind {
                    0 | 1 => {
                        ahead.push(partition, time, 1, n);
                        model.push((time, n, partition));
                        model.sort_unstable();
                    }
                    2 => {
                        let expected = model.first().copied().filter(|(due, _, _)| *due <= time);
                        if expected.is_some() {
                            model.remove(0);
                        }
                        prop_assert_eq!(ahead.pop_due(time).map(|one| (one.due_at_ms, one.payload, one.partition)), expected);
                    }
                    _ => {
                        let before = model.len();
                        model.retain(|(_, _, one)| *one != partition);
                        prop_assert_eq!(ahead.remove_partition(partition), before - model.len());
                    }
                }
                prop_assert_eq!(ahead.len(), model.len());
                prop_assert_eq!(ahead.next_due(), model.first().map(|one| one.0));
            }
        }
    }
}

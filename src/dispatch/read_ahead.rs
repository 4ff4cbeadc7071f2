//! Holds records that were read ahead from the tiers and are not due yet.
//!
//! Records of a tier do not lie in order of due time: jitter, `Retry-After`, clamping and late
//! publishes mix them. Holding back the first record of a partition would make every one behind it
//! late, so records are read ahead into a heap by due time. The heap is bounded for each partition;
//! a partition beyond its bound is not read, which holds its queue back without ever pausing it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

/// Most records held for a partition.
pub(crate) const MAX_RECORDS: usize = 2_000;
/// Most bytes held for a partition; one record more may pass it.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Records that wait for their due time, from any number of partitions `P`. Times are milliseconds
/// since the Unix epoch.
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
    /// Makes an empty heap.
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            held: HashMap::new(),
            sequence: 0,
        }
    }

    /// True if `partition` is not to be read for now.
    pub(crate) fn is_full(&self, partition: P) -> bool {
        self.held
            .get(&partition)
            .is_some_and(|load| load.records >= MAX_RECORDS || load.bytes >= MAX_BYTES)
    }

    /// Holds `payload`, of `bytes` bytes, until `due_at_ms`, also when the partition is full: a
    /// record that was read from Kafka must not be dropped.
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

    /// Removes the record that has been due longest, if one is due at `now_ms`.
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

    /// Returns the due time of the next record.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(one)| one.due_at_ms)
    }
}

impl<P: Copy + Eq + Hash, T> Default for ReadAhead<P, T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A record that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due<P, T> {
    pub(crate) partition: P,
    pub(crate) due_at_ms: i64,
    pub(crate) payload: T,
}

// By due time and then by the order of reading, never by partition or payload.
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
mod tests;

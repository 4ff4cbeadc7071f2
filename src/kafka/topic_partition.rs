//! Partitions of the topics that a group member reads.

use std::collections::BTreeSet;

/// A topic's partition; the topic is given by its index in the member's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
}

/// Distinct partition numbers of a list.
pub(crate) fn partition_numbers<'a>(list: impl IntoIterator<Item = &'a TopicPartition>) -> BTreeSet<i32> {
    list.into_iter().map(|at| at.partition).collect()
}

//! Partitions to look up, and what the brokers know of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::thread::position::Positions;
use crate::kafka::topic_partition::TopicPartition;

/// Reasons why partition numbers cannot be restored for now.
pub(crate) type Unrestorable = BTreeMap<i32, String>;

/// The brokers' knowledge of partitions that are to be restored.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// Positions in the sources by partition number.
    pub(crate) positions: BTreeMap<i32, Positions>,
    /// Ends of the sources' partitions.
    pub(crate) ends: BTreeMap<TopicPartition, i64>,
    /// Partitions of the sources that were made anew: nothing that was known of their offsets
    /// holds.
    pub(crate) made_anew: BTreeSet<TopicPartition>,
    /// Partitions of the sources without a commit.
    pub(super) uncommitted: BTreeSet<TopicPartition>,
    /// The ones of these that had a commit.
    pub(super) lost: BTreeSet<TopicPartition>,
    /// Number of the state topic's partitions, if a broker has told it.
    pub(super) state_partitions: Option<i32>,
    /// First offsets of the state topic's partitions.
    pub(crate) state_beginnings: BTreeMap<i32, i64>,
    /// Ends of the state topic's partitions, before its records are read.
    pub(crate) state_ends: BTreeMap<i32, i64>,
    pub(crate) unrestorable: Unrestorable,
}

/// Partitions to look up.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) list: &'a [TopicPartition],
    /// Partitions whose offsets went back: they are read from their beginning.
    pub(crate) anew: &'a BTreeSet<TopicPartition>,
    /// Partitions of which the group has a commit, or had one.
    pub(crate) seen: &'a BTreeSet<TopicPartition>,
    /// Longest wait for a partition's leader.
    pub(crate) timeout: Duration,
    /// True if it fails where none of them can be restored.
    pub(crate) needs_one: bool,
}

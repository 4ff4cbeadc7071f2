//! Gauges and counters of an engine.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::domain::event::EventType;

/// Current gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Registered sites with state.
    pub sites: usize,
    /// Visitors within the longest window of their site.
    pub visitors: u64,
    /// Episodes going on, by the type of their notification.
    pub(crate) episodes: BTreeMap<EventType, u64>,
    /// Partitions with a site whose windows hold less than all records since their beginning.
    pub(crate) incomplete_partitions: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.sites += other.sites;
        self.visitors += other.visitors;
        self.incomplete_partitions += other.incomplete_partitions;
        for (event, episodes) in other.episodes {
            *self.episodes.entry(event).or_default() += episodes;
        }
    }
}

/// Counts since they were last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Visitors not counted because their site was at its bound.
    pub(crate) evicted_visitors: u64,
    /// Names of sources that found no room.
    pub(crate) evicted_sources: u64,
    /// Names of pages that found no room.
    pub(crate) evicted_pages: u64,
    /// Names of goals and custom events that found no room to be counted.
    pub(crate) evicted_names: u64,
    /// Changes of episodes that found no room on their way to Postgres.
    pub(crate) evicted_history: u64,
    /// Rows of episodes that found no room in their site's state before they were known to be in
    /// Postgres.
    pub(crate) evicted_rows: u64,
    /// For each source topic, live events whose own time was more than a day older than their
    /// record.
    pub(crate) clock_skew: Vec<u64>,
}

impl Counters {
    /// Makes counters of zero for so many source topics.
    pub(super) fn new(sources: usize) -> Self {
        Self {
            clock_skew: vec![0; sources],
            ..Self::default()
        }
    }
}

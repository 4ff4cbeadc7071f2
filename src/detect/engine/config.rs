//! What goes into an engine beside events, and what it says of itself.

use std::ops::AddAssign;

use super::event_time::SourceClock;

/// A source topic of the engine's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopic {
    pub topic: String,
    pub clock: SourceClock,
}

/// Bounds of what is held. What they turn away is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Visitors of a site. At the bound new ones are not counted: the count stays right for those held, and no
    /// threshold beyond the bound can be reached. To evict someone instead would make the count wrong both ways.
    pub(crate) visitors_per_site: usize,
    /// Names of sources and pages of a site; at most 65,534.
    pub(crate) labels_per_site: usize,
    /// Bytes for the names of all sites of the partition.
    pub(crate) label_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            visitors_per_site: 2_000_000,
            labels_per_site: 4_096,
            label_bytes: 16 << 20,
        }
    }
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    pub partition: i32,
    /// The source topics; records name theirs by its place here.
    pub sources: Vec<SourceTopic>,
    /// Keys the visitors' hashes, so that ids cannot be chosen to collide nor be found again.
    pub hash_key: [u8; 16],
    /// How far behind the latest time a silent site's clock stays, in milliseconds.
    pub out_of_order_ms: i64,
    /// From which age on a live event is no longer told, in milliseconds.
    pub stale_after_ms: i64,
    pub limits: Limits,
}

/// Where a record stood in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts {
    /// Place of its topic among the sources.
    pub source: usize,
    pub offset: i64,
    /// The record's time in milliseconds since the Unix epoch. It becomes the first part of ids, so a record without
    /// a usable time needs one that is the same whenever it is read.
    pub record_ms: i64,
    /// Below the committed offset: it rebuilds windows and gives no output.
    pub replaying: bool,
}

/// What became of a record: the `result` label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handled {
    Counted,
    /// Of a site that is not registered.
    Unregistered,
    /// Counted, but too far in the past to be told.
    Stale,
    /// Read again to rebuild windows.
    Replayed,
}

impl Handled {
    /// The label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Unregistered => "unregistered",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
        }
    }
}

/// What a commit remembers besides its offset. Taken right after a record, it belongs to the commit of that record:
/// one taken later may name a later beginning, from which the windows of then cannot be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// For each source, the offset after the last record handled: what to commit. `None` if none was.
    pub(crate) next: Vec<Option<i64>>,
    /// For each source, the oldest offset from which the windows as they are now can be rebuilt.
    pub(crate) replay_from: Vec<Option<i64>>,
    /// The partition's clock in milliseconds since the Unix epoch, for [`super::Engine::resume`]; `None` as
    /// long as no log source was read.
    pub(crate) clock_ms: Option<i64>,
}

/// Gauges as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Registered sites with state.
    pub sites: usize,
    /// Visitors within the longest window of their site.
    pub visitors: u64,
    /// Episodes of `visitor_spike` going on.
    pub(crate) spike_episodes: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.sites += other.sites;
        self.visitors += other.visitors;
        self.spike_episodes += other.spike_episodes;
    }
}

/// What happened since it was last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Visitors not counted because their site was at its bound.
    pub(crate) evicted_visitors: u64,
    /// Names of sources and of pages that found no room.
    pub(crate) evicted_sources: u64,
    pub(crate) evicted_pages: u64,
    /// For each source topic, live events whose own time was more than a day older than their record.
    pub(crate) clock_skew: Vec<u64>,
}

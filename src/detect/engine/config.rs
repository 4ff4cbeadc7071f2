//! Settings of an engine.

use crate::domain::event::SourceClock;
use crate::domain::site::SiteId;
use crate::kafka::murmur2;

/// A source topic of the engine's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopic {
    pub topic: String,
    /// The clock of the sites of which nothing was read yet, if it is routed.
    pub clock: SourceClock,
    /// True for the topic into which `route` writes, whose events bring their own clock.
    pub is_routed: bool,
}

/// Bounds on memory. Everything beyond them is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Visitors of a site. At the bound new visitors are not counted: the count stays right for the
    /// others, and no threshold beyond the bound can be reached. Evicting someone instead would
    /// make it wrong both ways.
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

/// Settings that an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    pub partition: i32,
    /// Partitions of the sources, by which a site's partition is told; 0 if that cannot be told.
    pub partition_count: i32,
    /// Source topics; a record names its topic by the index in this list.
    pub sources: Vec<SourceTopic>,
    /// Key of the visitors' hashes, so that nobody can choose ids that collide, or find an id by
    /// its hash.
    pub hash_key: [u8; 16],
    /// Milliseconds by which a silent site's clock stays behind the latest time.
    pub out_of_order_ms: i64,
    /// Age in milliseconds from which a live event is no longer notified.
    pub stale_after_ms: i64,
    pub limits: Limits,
}

impl EngineConfig {
    /// Index of the source into which others are routed.
    pub(crate) fn routed_source(&self) -> Option<usize> {
        self.sources.iter().position(|source| source.is_routed)
    }

    /// True if the records of a site belong into this partition, if they are keyed by site.
    pub(super) fn is_keyed_here(&self, site_id: &SiteId) -> bool {
        let key = site_id.as_str().as_bytes();
        self.partition_count > 0 && murmur2::partition_of(key, self.partition_count) == self.partition
    }
}

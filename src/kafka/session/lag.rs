//! Distance of a consumer from the end of a topic.

/// Lag over the partitions of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConsumerLag {
    /// Records between the committed offset and the end, of all partitions together.
    pub(crate) records: i64,
    /// Age of the oldest record that could be worked on now.
    pub(crate) behind_ms: i64,
}

impl ConsumerLag {
    /// Adds what another partition of the topic lags.
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.behind_ms = self.behind_ms.max(other.behind_ms);
    }
}

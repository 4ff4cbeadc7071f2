//! Sources that are missing as a whole, as after their topic is deleted.
//!
//! The group then assigns none of their partitions. What they held is not known any more: they
//! prove no end, and no window is known to hold their records.

use std::time::Duration;

use anyhow::Context as _;

use super::Detector;
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

/// Longest time that a broker may take to tell of a topic.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(3);

impl Detector {
    /// Finds out which sources are missing, as the group assigns these partitions. Sources have
    /// equally many, and those of a number are assigned together: so one of which none is assigned
    /// beside others is missing, or was when the group was told. Only if the numbers of partitions
    /// differ, others may have its partitions. Fails if that cannot be told.
    pub(super) fn find_missing(&mut self, list: &[TopicPartition]) -> anyhow::Result<()> {
        let sources = &self.settings.engine.sources;
        let is_absent = |source: usize| list.iter().all(|at| at.topic != source);
        let mut missing = vec![false; sources.len()];
        if !list.is_empty() && (0..sources.len()).any(is_absent) {
            let member = self.session.member();
            let counts = sources
                .iter()
                .map(|source| member.find_partition_count(&source.topic, TOPIC_TIMEOUT));
            let counts = counts
                .collect::<Result<Vec<_>, _>>()
                .context("asking if a source is there")?;
            let are_equal = counts
                .iter()
                .flatten()
                .all(|count| *count == self.settings.kafka.partitions);
            for (source, count) in counts.iter().enumerate() {
                missing[source] = is_absent(source) && (count.is_none() || are_equal);
            }
        }
        for (topic, source) in sources.iter().enumerate() {
            if !missing[topic] {
                continue;
            }
            let numbers = partition_numbers(list).into_iter();
            self.seen
                .extend(numbers.map(|partition| TopicPartition { topic, partition }));
            if !self.missing[topic] {
                tracing::warn!(
                    topic = source.topic,
                    "the source is missing: nobody knows what it held, so silent sites are not moved on, and drops \
                     and the ends of spikes wait until it is there again"
                );
            }
        }
        self.missing = missing;
        Ok(())
    }
}

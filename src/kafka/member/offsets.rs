//! Offsets of a member's partitions: committed, first, next, and by time.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ffi::CString;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::GroupMember;
use crate::kafka::topic_partition::TopicPartition;

/// A committed offset and the metadata beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed {
    pub(crate) offset: Option<i64>,
    pub(crate) metadata: String,
}

impl GroupMember {
    /// The group's last commits for these partitions, in their order.
    pub(crate) fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<Committed>> {
        let found = self.consumer.committed_offsets(self.list(partitions), timeout)?;
        partitions
            .iter()
            .map(
                |at| match found.find_partition(self.topic(at.topic), at.partition) {
                    Some(one) => {
                        one.error()?;
                        let offset = match one.offset() {
                            Offset::Offset(offset) => Some(offset),
                            _ => None,
                        };
                        Ok(Committed {
                            offset,
                            metadata: one.metadata().to_owned(),
                        })
                    }
                    None => Ok(Committed::default()),
                },
            )
            .collect()
    }

    /// Number of a topic's partitions, asked of a broker. `None` if none has told it in time.
    pub(crate) fn partition_count(&self, topic: &str, timeout: Duration) -> Option<i32> {
        self.find_partition_count(topic, timeout).ok().flatten()
    }

    /// Number of a topic's partitions, asked of a broker. `None` if there is no such topic, or the
    /// broker shows none of its partitions.
    pub(crate) fn find_partition_count(&self, topic: &str, timeout: Duration) -> KafkaResult<Option<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
        let found = metadata.topics().iter().find(|one| one.name() == topic);
        // A broker that has not caught up may know the topic without its partitions.
        let known = found.filter(|one| one.error().is_none());
        let count = known.and_then(|one| i32::try_from(one.partitions().len()).ok());
        Ok(count.filter(|count| *count > 0))
    }

    /// First and next offset of a partition, asked of its broker.
    #[expect(
        clippy::disallowed_methods,
        reason = "tells where to begin reading, not if reading has caught up"
    )]
    pub(crate) fn watermarks(&self, at: TopicPartition, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer
            .fetch_watermarks(self.topic(at.topic), at.partition, timeout)
    }

    /// First offsets at or after a time, asked of the brokers; `None` when no record is that new.
    pub(crate) fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        at_ms: i64,
        timeout: Duration,
    ) -> KafkaResult<Vec<Option<i64>>> {
        let mut list = self.list(partitions);
        list.set_all_offsets(Offset::Offset(at_ms))?;
        let found = self.consumer.offsets_for_times(list, timeout)?;
        Ok(partitions
            .iter()
            .map(
                |at| match found.find_partition(self.topic(at.topic), at.partition)?.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                },
            )
            .collect())
    }

    /// Next offset of a partition as of the last fetch.
    pub(crate) fn cached_end(&self, at: TopicPartition) -> Option<i64> {
        let (_, high) = self.cached_watermarks(at)?;
        (high >= 0).then_some(high)
    }

    /// First offset of a partition as of the last fetch.
    pub(crate) fn cached_beginning(&self, at: TopicPartition) -> Option<i64> {
        let (low, _) = self.cached_watermarks(at)?;
        (low >= 0).then_some(low)
    }

    /// First and next offset of a partition as of the last fetch, if there was one. The broker is
    /// not asked: under `read_committed` it would answer the last stable offset, which a reader
    /// that has caught up may never equal.
    fn cached_watermarks(&self, at: TopicPartition) -> Option<(i64, i64)> {
        let name = CString::new(&**self.topic(at.topic)).ok()?;
        let (mut low, mut high) = (-1_i64, -1_i64);
        // SAFETY: client and name are alive, both numbers outlive the call.
        let error = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.reader_of(at.topic).client().native_ptr(),
                name.as_ptr(),
                at.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (!error.is_error()).then_some((low, high))
    }

    fn list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(self.topic(at.topic), at.partition);
        }
        list
    }
}

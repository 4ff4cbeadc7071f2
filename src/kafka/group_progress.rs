//! Progress of a group in its topics, asked for by a client that is no member of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::brokers::Keeping;
use super::client::ClientEvents;
use super::settings;
use super::topic_partition::TopicPartition;
use crate::config::KafkaConfig;

/// Progress of a group in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionProgress {
    pub(crate) at: TopicPartition,
    /// Offset below which the group is done; `None` without a commit.
    pub(crate) committed: Option<i64>,
    /// Last stable offset, asked for after the commit.
    pub(crate) end: i64,
}

/// Client that asks how far a group has come.
pub(crate) struct GroupProgress {
    /// Ends before the client.
    _keeping: Keeping,
    consumer: Arc<BaseConsumer<ClientEvents>>,
    topics: Vec<String>,
}

impl fmt::Debug for GroupProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupProgress")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl GroupProgress {
    /// A client that connects when it first asks.
    pub(crate) fn new(
        config: &KafkaConfig,
        client_events: &ClientEvents,
        group: &str,
        topics: Vec<String>,
    ) -> KafkaResult<Self> {
        let mut client = settings::client(config);
        client.set("group.id", group);
        let consumer = Arc::new(client.create_with_context(client_events.apart().with_principal(config))?);
        let topic = topics.first().map_or("", String::as_str);
        Ok(Self {
            _keeping: client_events.kept().keep_consumer(&consumer, topic),
            consumer,
            topics,
        })
    }

    /// Name of a topic by its index.
    pub(crate) fn topic(&self, index: usize) -> &str {
        &self.topics[index]
    }

    /// Asks about all partitions, and waits for each answer at most so long. All that were there
    /// before the call are among them.
    pub(crate) fn ask(&self, timeout: Duration) -> KafkaResult<Vec<PartitionProgress>> {
        // The client's errors are handed over by a poll; it reads nothing.
        drop(self.consumer.poll(Duration::ZERO));
        let partitions = self.partitions(timeout)?;
        let committed = self
            .consumer
            .committed_offsets(self.list(&partitions, Offset::Invalid)?, timeout)?;
        let ends = self
            .consumer
            .offsets_for_times(self.list(&partitions, Offset::End)?, timeout)?;
        let offset = |list: &TopicPartitionList, at: TopicPartition| {
            let one = list.find_partition(&self.topics[at.topic], at.partition);
            match one.map(|one| (one.error(), one.offset())) {
                Some((Err(error), _)) => Err(error),
                Some((Ok(()), Offset::Offset(offset))) => Ok(Some(offset)),
                _ => Ok(None),
            }
        };
        let progress = |at: TopicPartition| {
            Ok(PartitionProgress {
                at,
                committed: offset(&committed, at)?,
                end: offset(&ends, at)?.unwrap_or(0),
            })
        };
        partitions.into_iter().map(progress).collect()
    }

    fn partitions(&self, timeout: Duration) -> KafkaResult<Vec<TopicPartition>> {
        let mut partitions = Vec::new();
        for (index, topic) in self.topics.iter().enumerate() {
            let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
            let Some(found) = metadata.topics().first() else {
                continue;
            };
            if let Some(error) = found.error() {
                return Err(KafkaError::MetadataFetch(error.into()));
            }
            partitions.extend(found.partitions().iter().map(|one| TopicPartition {
                topic: index,
                partition: one.id(),
            }));
        }
        Ok(partitions)
    }

    fn list(&self, partitions: &[TopicPartition], offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition_offset(&self.topics[at.topic], at.partition, offset)?;
        }
        Ok(list)
    }
}

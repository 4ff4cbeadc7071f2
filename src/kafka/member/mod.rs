//! A member of a consumer group, on a thread of its own.
//!
//! librdkafka tells of a rebalance in a callback and takes the answer at any later time. The callback here only writes
//! the event down; the thread that polls finds it next and answers with [`GroupMember::assign`] or
//! [`GroupMember::unassign`], holding all its state. So no state is shared with a callback.
//!
//! A fetch names every partition of its client, and client and broker pay for it by their number. Topics whose records
//! may wait for company are therefore [read apart](SecondReader): by a second client that belongs to no group and takes what the
//! group assigned to the member. The group has one member all the same, so partitions of one number stay together.

use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::batch_reader;
use super::client::ClientEvents;
use super::commits::{Commit, Commits};
use super::topic_partition::TopicPartition;
use crate::clock;

/// Topics that are read by a client of their own.
mod second_reader;
/// The client behind a member.
mod client;

pub(crate) use client::{MemberConsumer, MemberContext};
use client::{RawEvent, serve};
use second_reader::Apart;
pub(crate) use second_reader::SecondReader;

/// What happened to the membership.
#[derive(Debug)]
pub enum MemberEvent {
    /// Answer with [`GroupMember::assign`].
    Assigned(Vec<TopicPartition>),
    /// Answer with [`GroupMember::unassign`]. `lost`: others may already own them; nothing may be committed.
    Revoked { lost: bool },
}

/// A committed offset and what was written beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed {
    pub(crate) offset: Option<i64>,
    pub(crate) metadata: String,
}

/// A member of a consumer group.
pub struct GroupMember {
    consumer: Arc<MemberConsumer>,
    apart: Option<Apart>,
    topics: Vec<Arc<str>>,
    /// Partitions that could not be taken yet, and when to try again.
    deferred: RefCell<Option<(Vec<TopicPartition>, Instant)>>,
    commits: Commits,
}

/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before partitions that could not be taken are tried again.
const DEFER: Duration = Duration::from_millis(300);

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl GroupMember {
    /// Joins the group for `topics`, all of them one subscription. `role` names the group in metrics.
    pub fn join(
        config: &ClientConfig,
        role: &'static str,
        topics: &[String],
        apart: Option<SecondReader>,
        client_events: ClientEvents,
    ) -> KafkaResult<Self> {
        // Before the group hears of us: if this fails, nobody has to leave it.
        let apart = apart
            .map(|apart| Apart::new(apart, role, client_events.clone()))
            .transpose()?;
        let consumer: MemberConsumer = config.create_with_context(MemberContext::new(role, client_events))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names)?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            commits: Commits::new(Arc::clone(&consumer)),
            consumer,
            apart,
            topics: topics.iter().map(|name| name.as_str().into()).collect(),
            deferred: RefCell::default(),
        })
    }

    /// The client that reads a topic.
    fn reader_of(&self, topic: usize) -> &Arc<MemberConsumer> {
        match &self.apart {
            Some(apart) if apart.topics.contains(&topic) => &apart.consumer,
            _ => &self.consumer,
        }
    }

    fn readers(&self) -> impl Iterator<Item = &Arc<MemberConsumer>> {
        iter::once(&self.consumer).chain(self.apart.as_ref().map(|apart| &apart.consumer))
    }

    /// The topic's name.
    pub(crate) fn topic(&self, index: usize) -> &Arc<str> {
        &self.topics[index]
    }

    /// Serves the group's events; records come from the queues that [`assign`](Self::assign) returns or forwards.
    pub fn poll(&self, timeout: Duration) -> Option<MemberEvent> {
        self.commits.take_answers();
        if let Some(event) = self.next_event() {
            return Some(event);
        }
        serve(&self.consumer, timeout);
        if let Some(apart) = &self.apart {
            serve(&apart.consumer, Duration::ZERO);
        }
        self.next_event()
    }

    /// The partitions could not be taken: a broker does not answer, or leads no longer. They are told of again in a moment,
    /// while the group is served as it must be; giving them up would only have them assigned again.
    pub(crate) fn take_later(&self, partitions: Vec<TopicPartition>) {
        self.deferred
            .replace(Some((partitions, clock::monotonic() + DEFER)));
    }

    fn next_event(&self) -> Option<MemberEvent> {
        let Some(event) = self.consumer.context().next_event() else {
            let mut deferred = self.deferred.borrow_mut();
            return match deferred.take() {
                Some((partitions, at)) if at <= clock::monotonic() => Some(MemberEvent::Assigned(partitions)),
                other => {
                    *deferred = other;
                    None
                }
            };
        };
        // Whatever happened to the group since, the old assignment is no more.
        self.deferred.replace(None);
        Some(match event {
            RawEvent::Assigned(list) => MemberEvent::Assigned(
                list.into_iter()
                    .filter_map(|(name, partition)| {
                        let topic = self.topics.iter().position(|topic| **topic == *name)?;
                        Some(TopicPartition { topic, partition })
                    })
                    .collect(),
            ),
            RawEvent::Revoked { lost } => MemberEvent::Revoked { lost },
        })
    }

    /// What the group last committed for these partitions, in their order.
    pub(crate) fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Vec<Committed>> {
        let found = self.consumer.committed_offsets(self.list(partitions), timeout)?;
        partitions
            .iter()
            .map(
                |at| match found.find_partition(&self.topics[at.topic], at.partition) {
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

    /// Lowest and next offset of a partition, asked of its broker.
    #[expect(
        clippy::disallowed_methods,
        reason = "where reading begins, not whether it has caught up"
    )]
    pub(crate) fn watermarks(&self, at: TopicPartition, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer
            .fetch_watermarks(&self.topics[at.topic], at.partition, timeout)
    }

    /// The first offset at or after a time, asked of the broker; `None` when no record is that new.
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
            .map(|at| {
                match found
                    .find_partition(&self.topics[at.topic], at.partition)?
                    .offset()
                {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                }
            })
            .collect())
    }

    /// Next offset of a partition as the last fetch told it, without asking anybody.
    pub(crate) fn cached_end(&self, at: TopicPartition) -> Option<i64> {
        let (_, high) =
            batch_reader::cached_watermarks(self.reader_of(at.topic), &self.topics[at.topic], at.partition)?;
        (high >= 0).then_some(high)
    }

    /// Lowest offset of a partition as the last fetch told it, without asking anybody.
    pub(crate) fn cached_beginning(&self, at: TopicPartition) -> Option<i64> {
        let (low, _) =
            batch_reader::cached_watermarks(self.reader_of(at.topic), &self.topics[at.topic], at.partition)?;
        (low >= 0).then_some(low)
    }

    /// Takes partitions, each from its start offset, each with a queue of its own.
    pub(crate) fn assign(
        &self,
        starts: &[(TopicPartition, i64)],
    ) -> KafkaResult<Vec<PartitionQueue<MemberContext>>> {
        if let Some(apart) = &self.apart {
            apart.inform(&self.topics);
        }
        // Before the assignment takes effect, so that no record leaks to the main queue.
        let mut queues = Vec::with_capacity(starts.len());
        for (at, _) in starts {
            let queue = self
                .reader_of(at.topic)
                .split_partition_queue(&self.topics[at.topic], at.partition);
            queues.push(queue.ok_or_else(|| KafkaError::Subscription("a partition has no queue".into()))?);
        }
        self.take(starts)?;
        Ok(queues)
    }

    /// Takes partitions, each from its start offset, all read through one batch_reader.
    pub fn assign_to_batch_reader(
        &self,
        starts: &[(TopicPartition, i64)],
        batch_reader: &batch_reader::BatchReader,
    ) -> KafkaResult<()> {
        for (at, _) in starts {
            batch_reader.attach(&self.topics[at.topic], at.partition)?;
        }
        self.take(starts)
    }

    fn take(&self, starts: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        for reader in self.readers() {
            let mut list = TopicPartitionList::with_capacity(starts.len());
            for (at, offset) in starts {
                if Arc::ptr_eq(reader, self.reader_of(at.topic)) {
                    list.add_partition_offset(&self.topics[at.topic], at.partition, Offset::Offset(*offset))?;
                }
            }
            reader.assign(&list)?;
        }
        Ok(())
    }

    /// Gives all partitions back.
    pub(crate) fn unassign(&self) -> KafkaResult<()> {
        self.readers().try_for_each(|reader| reader.unassign())
    }

    /// Commits offsets with their metadata, and waits for no answer. A failure is logged and counted; see
    /// [`Self::take_failed_commit`].
    pub(crate) fn commit(&self, commits: &[Commit]) {
        self.commits.commit(&self.topics, commits);
    }

    /// Commits, and waits for the answer, at most `patience`. What is learnt of the group meanwhile is told by [`Self::poll`].
    pub(crate) fn commit_and_wait(&self, commits: &[Commit], patience: Duration) {
        // Whoever waits commits all there is: what failed before is made good.
        self.commits.take_failed();
        self.commits.commit(&self.topics, commits);
        self.commits.wait(patience);
    }

    /// Whether a commit has failed since this was last asked.
    pub(crate) fn take_failed_commit(&self) -> bool {
        self.commits.take_failed()
    }

    /// A batch_reader that reads from this member.
    pub fn batch_reader(&self) -> batch_reader::BatchReader {
        batch_reader::BatchReader::new(Arc::clone(&self.consumer), self.topics.clone())
    }

    /// Leaves the group, so that others own its partitions at once and not after the session's timeout.
    /// Every queue of it must be gone.
    pub fn leave(self) {
        self.consumer.context().close();
        if let Err(error) = self.unassign() {
            tracing::debug!(error = %error, "unassigning before leaving");
        }
        let group = self.consumer.context().group();
        drop(self.commits);
        let (consumer, apart) = (self.consumer, self.apart);
        let (done, left) = std::sync::mpsc::channel();
        // Dropping the last reference closes the consumer, which sends the leave request and waits for an answer, from a silent
        // broker too. A thread that still waits ends with the process.
        let leaving = std::thread::Builder::new()
            .name(format!("leave {group}"))
            .spawn(move || {
                drop(consumer);
                // Waited for too: it would complain of brokers that go next.
                drop(apart);
                // Nobody waits any more, perhaps.
                _ = done.send(());
            });
        match leaving.map(|_| left.recv_timeout(LEAVE_TIMEOUT)) {
            Ok(Ok(())) => tracing::info!(group, "left the group"),
            Ok(Err(_)) => tracing::warn!(
                group,
                "no answer to leaving the group; unless it comes, others own its partitions when the session has timed out"
            ),
            Err(error) => tracing::error!(group, error = %error, "no thread to leave the group"),
        }
    }

    fn list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&self.topics[at.topic], at.partition);
        }
        list
    }
}

#[cfg(test)]
mod tests;

//! A member of a consumer group, on a thread of its own.
//!
//! librdkafka reports a rebalance in a callback and accepts the answer at any later time. The
//! callback here only queues the event; the thread that polls receives it next and answers with
//! [`GroupMember::assign`] or [`GroupMember::unassign`], holding all its state. So no state is
//! shared with a callback.
//!
//! A fetch names every partition of its client, and its cost grows with their number. Topics whose
//! records may wait until several can be fetched together are therefore read by a second client: a
//! [`SecondReader`], which belongs to no group and reads what the group assigned to the member. The
//! group still sees one member, so partitions of the same number stay together.

use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::batch_reader::BatchReader;
use super::brokers::Keeping;
use super::client::ClientEvents;
use super::commits::{Commit, Commits};
use super::log_ends::LogEnds;
use super::topic_partition::TopicPartition;
use crate::clock;

/// Offsets of a member's partitions: committed, first, next, and by time.
pub(crate) mod offsets;
/// A second client that reads some of a member's topics.
mod second_reader;
/// The client behind a member.
mod client;

pub(crate) use client::{MemberConsumer, MemberContext};
use client::{RawEvent, serve};
use second_reader::SecondReader;
pub(crate) use second_reader::SecondReaderSettings;

/// Longest wait for the answer when a member leaves its group.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before partitions that could not be taken are offered again.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Change of a member's assignment.
#[derive(Debug)]
pub enum MemberEvent {
    /// Partitions to take. Answer with [`GroupMember::assign`].
    Assigned(Vec<TopicPartition>),
    /// All partitions are to be given back. Answer with [`GroupMember::unassign`]. When they are
    /// `lost`, other members may own them already, and nothing may be committed.
    Revoked { lost: bool },
}

/// A member of a consumer group.
pub struct GroupMember {
    /// Ends before the client.
    keeping: Keeping,
    consumer: Arc<MemberConsumer>,
    second_reader: Option<SecondReader>,
    topics: Vec<Arc<str>>,
    /// Partitions that could not be taken yet, and when to offer them again.
    deferred: RefCell<Option<(Vec<TopicPartition>, Instant)>>,
    commits: Commits,
}

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl GroupMember {
    /// Joins the group with one subscription for all `topics`. `group` is its name in logs and
    /// metrics.
    pub fn join(
        config: &ClientConfig,
        group: &'static str,
        topics: &[String],
        second_reader: Option<SecondReaderSettings>,
        client_events: ClientEvents,
    ) -> KafkaResult<Self> {
        // Created before the group hears of this member: if it fails, nobody has to leave.
        let kept = client_events.kept().clone();
        let second_reader = second_reader
            .map(|settings| SecondReader::new(settings, group, topics, client_events.clone()))
            .transpose()?;
        let consumer: MemberConsumer =
            config.create_with_context(MemberContext::new(group, config, client_events))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names)?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            keeping: kept.keep_consumer(&consumer, topics.first().map_or("", String::as_str)),
            commits: Commits::new(Arc::clone(&consumer)),
            consumer,
            second_reader,
            topics: topics.iter().map(|name| name.as_str().into()).collect(),
            deferred: RefCell::default(),
        })
    }

    /// Name of the group in logs and metrics.
    pub(crate) fn group(&self) -> &'static str {
        self.consumer.context().group()
    }

    pub(crate) fn client_events(&self) -> &ClientEvents {
        self.consumer.context().client_events()
    }

    /// Name of a topic.
    pub(crate) fn topic(&self, index: usize) -> &Arc<str> {
        &self.topics[index]
    }

    /// Client that reads a topic.
    fn reader_of(&self, topic: usize) -> &Arc<MemberConsumer> {
        match &self.second_reader {
            Some(second) if second.topics.contains(&topic) => &second.consumer,
            _ => &self.consumer,
        }
    }

    fn readers(&self) -> impl Iterator<Item = &Arc<MemberConsumer>> {
        iter::once(&self.consumer).chain(self.second_reader.as_ref().map(|second| &second.consumer))
    }

    /// Serves the group and returns its next event. Records come from the queues that
    /// [`assign`](Self::assign) returns or forwards.
    pub fn poll(&self, timeout: Duration) -> Option<MemberEvent> {
        self.commits.receive_answers();
        if let Some(event) = self.next_event() {
            return Some(event);
        }
        serve(&self.consumer, timeout);
        if let Some(second) = &self.second_reader {
            serve(&second.consumer, Duration::ZERO);
        }
        self.next_event()
    }

    /// Serves the group, and leaves its next event for [`Self::poll`]. Returns true if there is
    /// one.
    pub(crate) fn serve(&self) -> bool {
        self.commits.receive_answers();
        serve(&self.consumer, Duration::ZERO);
        self.consumer.context().has_event()
    }

    /// The right on the group that the member lacks, if that was noticed since the last call.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.consumer.context().take_refusal()
    }

    /// Reports partitions as assigned again in a moment. For partitions that could not be taken
    /// because a broker does not answer, say: meanwhile the group must be served, and giving them
    /// back would only have them assigned again.
    pub(crate) fn retry_assignment(&self, partitions: Vec<TopicPartition>) {
        let retry_at = clock::monotonic() + RETRY_PAUSE;
        self.deferred.replace(Some((partitions, retry_at)));
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
        // The event replaces the old assignment, whatever it is.
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

    /// Begins to read partitions, each from its start offset and through a queue of its own.
    pub(crate) fn assign(
        &self,
        starts: &[(TopicPartition, i64)],
    ) -> KafkaResult<Vec<PartitionQueue<MemberContext>>> {
        if let Some(second) = &self.second_reader {
            second.look_up_topics(&self.topics);
        }
        // Split off before the assignment takes effect, so that no record leaks to the main queue.
        let mut queues = Vec::with_capacity(starts.len());
        for (at, _) in starts {
            let queue = self
                .reader_of(at.topic)
                .split_partition_queue(&self.topics[at.topic], at.partition);
            queues.push(queue.ok_or_else(|| KafkaError::Subscription("a partition has no queue".into()))?);
        }
        let starts: Vec<_> = starts
            .iter()
            .map(|(at, offset)| (*at, Offset::Offset(*offset)))
            .collect();
        self.start_reading(&starts)?;
        Ok(queues)
    }

    /// Begins to read partitions, each from its start offset and all through one batch reader.
    pub fn assign_to_batch_reader(
        &self,
        starts: &[(TopicPartition, i64)],
        batch_reader: &BatchReader,
    ) -> KafkaResult<()> {
        self.assign_some(starts, &[], batch_reader)
    }

    /// Does the same, and also assigns partitions that wait: of them only what comes from now on is
    /// read, until [`seek`](Self::seek) moves them. An assignment cannot be added to later without
    /// an interruption of all its partitions.
    pub(crate) fn assign_some(
        &self,
        starts: &[(TopicPartition, i64)],
        waiting: &[TopicPartition],
        batch_reader: &BatchReader,
    ) -> KafkaResult<()> {
        let starts = starts.iter().map(|(at, offset)| (*at, Offset::Offset(*offset)));
        let waiting = waiting.iter().map(|at| (*at, Offset::End));
        let starts: Vec<_> = starts.chain(waiting).collect();
        for (at, _) in &starts {
            batch_reader.attach(&self.topics[at.topic], at.partition)?;
        }
        self.start_reading(&starts)
    }

    /// Goes on reading partitions elsewhere. What was fetched before is not returned any more.
    pub(crate) fn seek(&self, starts: &[(TopicPartition, i64)], timeout: Duration) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (at, offset) in starts {
            list.add_partition_offset(&self.topics[at.topic], at.partition, Offset::Offset(*offset))?;
        }
        let result = self.consumer.seek_partitions(list, timeout)?;
        result.elements().iter().try_for_each(|one| one.error())
    }

    fn start_reading(&self, starts: &[(TopicPartition, Offset)]) -> KafkaResult<()> {
        for reader in self.readers() {
            let mut list = TopicPartitionList::with_capacity(starts.len());
            for (at, offset) in starts {
                if Arc::ptr_eq(reader, self.reader_of(at.topic)) {
                    list.add_partition_offset(&self.topics[at.topic], at.partition, *offset)?;
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

    /// Commits offsets with their metadata, without waiting for the answer. A failure is logged and
    /// counted, and reported by [`Self::take_failed_commit`].
    pub(crate) fn commit(&self, commits: &[Commit]) {
        self.commits.commit(&self.topics, commits);
    }

    /// Commits and waits for the answer, for `timeout` at most. Events of the group that come
    /// meanwhile are returned by [`Self::poll`] later.
    pub(crate) fn commit_and_wait(&self, commits: &[Commit], timeout: Duration) {
        // A caller that waits commits all positions, so earlier failures no longer matter.
        self.commits.take_failed();
        self.commits.commit(&self.topics, commits);
        self.commits.wait(timeout);
    }

    /// Commits and waits likewise. Returns true if the group takes a commit of any topic, as it
    /// does only of a member.
    pub(crate) fn is_any_commit_taken(&self, commits: &[Commit], timeout: Duration) -> bool {
        self.commits.take_failed();
        self.commits.is_any_taken(&self.topics, commits, timeout)
    }

    /// True if all commits were answered, and none has failed since [`Self::take_failed_commit`].
    pub(crate) fn are_commits_answered(&self) -> bool {
        self.commits.are_answered()
    }

    /// True if a commit has failed since the last call.
    pub(crate) fn take_failed_commit(&self) -> bool {
        self.commits.take_failed()
    }

    /// Creates a batch reader for this member's partitions.
    pub fn batch_reader(&self) -> BatchReader {
        BatchReader::new(Arc::clone(&self.consumer), self.topics.clone())
    }

    /// Creates an asker for offsets of partitions of this member's topics, and of `more` topics,
    /// whose indexes follow.
    pub(crate) fn log_ends(&self, more: &[String]) -> LogEnds {
        let more = more.iter().map(|name| name.as_str().into());
        let topics = self.topics.iter().cloned().chain(more);
        LogEnds::new(Arc::clone(&self.consumer), topics.collect())
    }

    /// Leaves the group, so that others own its partitions at once and not after the session's
    /// timeout. The queues that read from this member must be gone.
    pub fn leave(self) {
        self.consumer.context().close();
        if let Err(error) = self.unassign() {
            tracing::debug!(error = %error, "unassigning before leaving");
        }
        let group = self.group();
        drop((self.keeping, self.commits));
        let (consumer, second_reader) = (self.consumer, self.second_reader);
        let (done, left) = std::sync::mpsc::channel();
        // Dropping the last reference closes the consumer: it sends the leave request and waits for
        // an answer, even from a silent broker. A thread that still waits ends with the process.
        let leaving = std::thread::Builder::new()
            .name(format!("leave {group}"))
            .spawn(move || {
                drop(consumer);
                // Included in the wait, because it would log errors about brokers that stop next.
                drop(second_reader);
                // Fails when the wait is already over.
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
}

#[cfg(test)]
mod tests;

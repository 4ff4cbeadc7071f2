//! Offset commits of a group member, and the brokers' answers to them.
//!
//! `rdkafka` asks librdkafka for asynchronous commits in a way that is never answered (the answer
//! would go to a callback that it leaves unset), so a refused commit would go unnoticed and a wait
//! for one would last for ever. Here commits are answered on a queue of their own.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::member::MemberConsumer;
use super::queue::OwnQueue;
use super::topic_partition::TopicPartition;
use crate::clock;

/// An offset to commit, and the metadata to write beside it (at most 4,096 bytes).
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) at: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// Commits of one member.
pub(super) struct Commits {
    answers: OwnQueue,
    /// Number of commits that were asked for and not answered yet.
    unanswered: Cell<u64>,
    /// True if a commit has failed since [`Self::take_failed`] was last called.
    failed: Cell<bool>,
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commits")
            .field("unanswered", &self.unanswered)
            .finish_non_exhaustive()
    }
}

impl Commits {
    pub(super) fn new(consumer: Arc<MemberConsumer>) -> Self {
        Self {
            answers: OwnQueue::new(consumer),
            unanswered: Cell::default(),
            failed: Cell::default(),
        }
    }

    /// Asks for a commit without waiting for the answer.
    pub(super) fn commit(&self, topics: &[Arc<str>], commits: &[Commit]) {
        if commits.is_empty() {
            return;
        }
        if let Err(error) = self.ask(topics, commits) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            self.note_failure(&FailedCommit { code, topic: None });
        }
    }

    fn ask(&self, topics: &[Arc<str>], commits: &[Commit]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for commit in commits {
            let offset = Offset::Offset(commit.offset);
            list.add_partition_offset(&topics[commit.at.topic], commit.at.partition, offset)?;
        }
        for commit in commits {
            if let Some(mut one) = list.find_partition(&topics[commit.at.topic], commit.at.partition) {
                one.set_metadata(&commit.metadata);
            }
        }
        // SAFETY: client, list and queue are alive; librdkafka copies the list and keeps the queue
        // for its answer.
        let error = unsafe {
            sys::rd_kafka_commit_queue(
                self.answers.client(),
                list.ptr(),
                self.answers.as_ptr(),
                None,
                ptr::null_mut(),
            )
        };
        if error.is_error() {
            return Err(KafkaError::ConsumerCommit(error.into()));
        }
        self.unanswered.set(self.unanswered.get() + 1);
        Ok(())
    }

    /// Commits each topic by itself and waits for the answers, for `timeout` at most. Returns true
    /// if one is taken, as the group does only of a member. The answer to a commit of several
    /// topics does not tell: librdkafka gives all its partitions the error of one that is deleted.
    pub(super) fn is_any_taken(&self, topics: &[Arc<str>], commits: &[Commit], timeout: Duration) -> bool {
        // Answers come in the order of the commits.
        let mut earlier = self.unanswered.get();
        for topic in 0..topics.len() {
            let of_topic = commits.iter().filter(|commit| commit.at.topic == topic);
            self.commit(topics, &of_topic.cloned().collect::<Vec<_>>());
        }
        let mut is_taken = false;
        self.wait_for_each(timeout, |is_success| {
            is_taken |= is_success && earlier == 0;
            earlier = earlier.saturating_sub(1);
        });
        is_taken
    }

    /// Waits until all commits are answered, for `timeout` at most: a silent broker must not hold
    /// up the group, or the end of the process.
    pub(super) fn wait(&self, timeout: Duration) {
        self.wait_for_each(timeout, |_| {});
    }

    /// Does the same, and hands each answer out: true if the commit is taken.
    fn wait_for_each(&self, timeout: Duration, mut each: impl FnMut(bool)) {
        let deadline = clock::monotonic() + timeout;
        while self.unanswered.get() > 0 {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return self.note_failure(&FailedCommit {
                    code: RDKafkaErrorCode::OperationTimedOut,
                    topic: None,
                });
            }
            if let Some(is_taken) = self.receive_answer(left) {
                each(is_taken);
            }
        }
    }

    /// Receives the answers that are there.
    pub(super) fn receive_answers(&self) {
        while self.unanswered.get() > 0 && self.receive_answer(Duration::ZERO).is_some() {}
    }

    /// Receives one answer: true if the commit is taken, `None` if none came within `timeout`.
    fn receive_answer(&self, timeout: Duration) -> Option<bool> {
        // Rounded up: a wait of less than a millisecond must not become a busy loop.
        let timeout_ms = i32::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; the event is ours, and is destroyed once, below.
        let result = unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers.as_ptr(), timeout_ms);
            if event.is_null() {
                return None;
            }
            let result = first_error(event);
            sys::rd_kafka_event_destroy(event);
            result
        };
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        if let Err(failure) = &result {
            self.note_failure(failure);
        }
        Some(result.is_ok())
    }

    fn note_failure(&self, failure: &FailedCommit) {
        let context = self.answers.consumer().context();
        self.failed.set(true);
        context.count_failed_commit();
        if let Some(suppressed) = context.client_events().admit(Some(failure.code)) {
            tracing::warn!(
                group = context.group(),
                error = match &failure.topic {
                    Some(topic) => context.client_events().why_not_read(topic, failure.code),
                    None => context.in_words(&KafkaError::ConsumerCommit(failure.code)),
                },
                suppressed,
                "an offset commit failed; the next one covers it"
            );
        }
    }

    /// True if all commits were answered, and none has failed since [`Self::take_failed`].
    pub(super) fn are_answered(&self) -> bool {
        self.unanswered.get() == 0 && !self.failed.get()
    }

    /// True if a commit has failed since the last call.
    pub(super) fn take_failed(&self) -> bool {
        self.failed.take()
    }
}

/// Error of a commit, and the topic if it is one partition's.
#[derive(Debug)]
struct FailedCommit {
    code: RDKafkaErrorCode,
    topic: Option<String>,
}

/// Error of a commit's answer, or of the first partition in it that has one.
///
/// # Safety
/// `event` is alive, and answers a commit.
unsafe fn first_error(event: *mut sys::rd_kafka_event_t) -> Result<(), FailedCommit> {
    // SAFETY: as the caller promises. The list belongs to the event, and holds as many elements as
    // it says.
    let (whole, parts) = unsafe {
        let list = sys::rd_kafka_event_topic_partition_list(event);
        let parts = match list.as_ref() {
            Some(list) if !list.elems.is_null() => {
                std::slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
            }
            _ => &[],
        };
        (sys::rd_kafka_event_error(event), parts)
    };
    // The whole has the error of its parts, if all of them have the same.
    if let Some(part) = parts.iter().find(|one| one.err.is_error()) {
        let is_named = !part.topic.is_null();
        // SAFETY: the name belongs to the list, which the event holds.
        let name = is_named.then(|| unsafe { CStr::from_ptr(part.topic) });
        return Err(FailedCommit {
            code: part.err.into(),
            topic: name.map(|name| name.to_string_lossy().into_owned()),
        });
    }
    if whole.is_error() {
        return Err(FailedCommit {
            code: whole.into(),
            topic: None,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

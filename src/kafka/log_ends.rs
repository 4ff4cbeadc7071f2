//! Ends of source partitions, asked of their brokers without waiting.
//!
//! Guaranteed: an answer is an end that the log had at or after the instant of asking, and so
//! proves that whoever has read up to it has seen every record stored before. It is the last stable
//! offset: an open transaction holds no reader back, so it must not hold the proof back either. The
//! watermark that a client caches proves nothing: after a suspension or with a silent broker it is
//! as old as the last fetch.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_void};
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{IsError as _, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::member::MemberConsumer;
use super::queue::OwnQueue;
use super::topic_partition::TopicPartition;
use crate::clock;

/// Longest time that a request for ends may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Most requests that may be unanswered; above them nothing more is asked.
const MAX_UNANSWERED: usize = 512;

/// Offset of a partition to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetSpec {
    /// First offset.
    Beginning,
    /// Last stable offset.
    End,
    /// First offset of a record at or after a time in milliseconds since the Unix epoch.
    At(i64),
}

impl OffsetSpec {
    fn offset(self) -> Offset {
        match self {
            Self::Beginning => Offset::Beginning,
            Self::End => Offset::End,
            Self::At(ms) => Offset::Offset(ms.max(0)),
        }
    }
}

/// Answer for one partition; an absent offset is one that no record has.
pub(crate) type OffsetAnswer = Result<Option<i64>, RDKafkaErrorCode>;

/// Answer to a request for ends.
#[derive(Debug, Clone)]
pub(crate) struct EndAnswer {
    pub(crate) at: TopicPartition,
    /// Wall instant before the request was sent.
    pub(crate) asked_ms: i64,
    pub(crate) end: Result<i64, RDKafkaErrorCode>,
}

/// A request that is not answered.
#[derive(Debug)]
struct Request {
    partitions: Vec<TopicPartition>,
    spec: OffsetSpec,
    asked_ms: i64,
    timeout: Duration,
    /// True for one whose answer is waited for.
    is_waited_for: bool,
}

/// Asker for ends of partitions. It belongs to one thread.
pub(crate) struct LogEnds {
    answers: OwnQueue,
    topics: Vec<Arc<str>>,
    unanswered: BTreeMap<usize, Request>,
    last_id: usize,
    /// Partitions that made a request for many fail, as one without a leader does: each is asked
    /// for by itself.
    apart: BTreeSet<TopicPartition>,
    received: Vec<EndAnswer>,
    found: BTreeMap<TopicPartition, OffsetAnswer>,
}

impl fmt::Debug for LogEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEnds")
            .field("unanswered", &self.unanswered)
            .field("apart", &self.apart)
            .finish_non_exhaustive()
    }
}

impl LogEnds {
    /// Makes an asker through a member's client for these topics.
    pub(super) fn new(consumer: Arc<MemberConsumer>, topics: Vec<Arc<str>>) -> Self {
        Self {
            answers: OwnQueue::new(consumer),
            topics,
            unanswered: BTreeMap::new(),
            last_id: 0,
            apart: BTreeSet::new(),
            received: Vec::new(),
            found: BTreeMap::new(),
        }
    }

    /// Asks for the ends of partitions at the wall instant `now_ms`, all in one request. A
    /// partition that is still asked for is left out.
    pub(crate) fn ask(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, now_ms: i64) {
        let asked: BTreeSet<TopicPartition> = self.asked_for_ends().collect();
        let wanted = partitions.into_iter().filter(|at| !asked.contains(at));
        let (apart, together): (Vec<_>, Vec<_>) = wanted.partition(|at| self.apart.contains(at));
        let mut requests: Vec<Vec<TopicPartition>> = apart.into_iter().map(|at| vec![at]).collect();
        requests.push(together);
        for partitions in requests {
            self.send(Request {
                partitions,
                spec: OffsetSpec::End,
                asked_ms: now_ms,
                timeout: REQUEST_TIMEOUT,
                is_waited_for: false,
            });
        }
    }

    fn asked_for_ends(&self) -> impl Iterator<Item = TopicPartition> {
        let requests = self.unanswered.values().filter(|request| !request.is_waited_for);
        requests.flat_map(|request| request.partitions.iter().copied())
    }

    /// Ends that were answered since the last call.
    pub(crate) fn receive(&mut self) -> Vec<EndAnswer> {
        while self.receive_answer(Duration::ZERO) {}
        std::mem::take(&mut self.received)
    }

    /// Asks for offsets of partitions and waits for the answers, for `timeout` at most. A partition
    /// that cannot answer spoils no other one's answer.
    pub(crate) fn find(
        &mut self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        timeout: Duration,
    ) -> BTreeMap<TopicPartition, OffsetAnswer> {
        self.found.clear();
        let now_ms = clock::now_ms();
        let deadline = clock::monotonic() + timeout;
        let (apart, together): (Vec<_>, Vec<_>) =
            partitions.iter().copied().partition(|at| self.apart.contains(at));
        let mut requests: Vec<Vec<TopicPartition>> = apart.into_iter().map(|at| vec![at]).collect();
        requests.push(together);
        for partitions in requests {
            self.send(Request {
                partitions,
                spec,
                asked_ms: now_ms,
                // If it fails for one partition, there is time to ask for each by itself.
                timeout: timeout / 2,
                is_waited_for: true,
            });
        }
        while self.unanswered.values().any(|request| request.is_waited_for) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            self.receive_answer(left);
        }
        self.unanswered.retain(|_, request| !request.is_waited_for);
        let mut found = std::mem::take(&mut self.found);
        for at in partitions {
            found.entry(*at).or_insert(Err(RDKafkaErrorCode::RequestTimedOut));
        }
        found
    }

    fn send(&mut self, request: Request) {
        if request.partitions.is_empty() || self.unanswered.len() >= MAX_UNANSWERED {
            return;
        }
        self.last_id = self.last_id.wrapping_add(1);
        // Fails only on an invalid list, which is ours.
        if let Err(error) = self.request(&request) {
            tracing::error!(error = %error, "offsets of partitions cannot be asked for");
            return;
        }
        self.unanswered.insert(self.last_id, request);
    }

    fn request(&self, request: &Request) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(request.partitions.len());
        for at in &request.partitions {
            list.add_partition_offset(&self.topics[at.topic], at.partition, request.spec.offset())?;
        }
        // SAFETY: client, list and queue are alive; librdkafka copies list and options. The number
        // given as opaque is never used as a pointer.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(
                self.answers.client(),
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            );
            let timeout_ms = i32::try_from(request.timeout.as_millis()).unwrap_or(i32::MAX);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
            let refused = sys::rd_kafka_AdminOptions_set_isolation_level(
                options,
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            );
            if !refused.is_null() {
                sys::rd_kafka_error_destroy(refused);
            }
            sys::rd_kafka_AdminOptions_set_opaque(
                options,
                ptr::without_provenance_mut::<c_void>(self.last_id),
            );
            sys::rd_kafka_ListOffsets(self.answers.client(), list.ptr(), options, self.answers.as_ptr());
            sys::rd_kafka_AdminOptions_destroy(options);
        }
        Ok(())
    }

    /// Receives one answer; `false` if none came within `timeout`.
    fn receive_answer(&mut self, timeout: Duration) -> bool {
        let timeout_ms = i32::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; the event is ours, and is destroyed once, below.
        let (id, answer) = unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers.as_ptr(), timeout_ms);
            if event.is_null() {
                return false;
            }
            let id = sys::rd_kafka_event_opaque(event).addr();
            let answer = self.read(event);
            sys::rd_kafka_event_destroy(event);
            (id, answer)
        };
        if let Some(request) = self.unanswered.remove(&id) {
            self.take_up(request, answer);
        }
        true
    }

    fn take_up(
        &mut self,
        request: Request,
        answer: Result<Vec<(TopicPartition, OffsetAnswer)>, RDKafkaErrorCode>,
    ) {
        let answers = match answer {
            Ok(answers) => answers,
            Err(code) if request.partitions.len() == 1 => vec![(request.partitions[0], Err(code))],
            Err(_) => {
                // It is not said which of them cannot be answered.
                for at in request.partitions {
                    self.apart.insert(at);
                    self.send(Request {
                        partitions: vec![at],
                        ..request
                    });
                }
                return;
            }
        };
        for (at, answer) in answers {
            match answer {
                Ok(_) => self.apart.remove(&at),
                Err(_) => self.apart.insert(at),
            };
            if request.is_waited_for {
                self.found.insert(at, answer);
            } else {
                self.received.push(EndAnswer {
                    at,
                    asked_ms: request.asked_ms,
                    end: answer.and_then(|end| end.ok_or(RDKafkaErrorCode::OffsetNotAvailable)),
                });
            }
        }
    }

    /// Reads an answer: the offset of each partition, or the error of the whole request.
    ///
    /// # Safety
    /// `event` is alive.
    unsafe fn read(
        &self,
        event: *mut sys::rd_kafka_event_t,
    ) -> Result<Vec<(TopicPartition, OffsetAnswer)>, RDKafkaErrorCode> {
        // SAFETY: as the caller promises. The results belong to the event, as many as it says, and
        // each has a partition with a name.
        unsafe {
            let error = sys::rd_kafka_event_error(event);
            if error.is_error() {
                return Err(error.into());
            }
            let result = sys::rd_kafka_event_ListOffsets_result(event);
            if result.is_null() {
                return Err(RDKafkaErrorCode::InvalidArgument);
            }
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let mut answers = Vec::with_capacity(count);
            for index in 0..count {
                let info = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let Some(one) = info.as_ref() else { continue };
                let name = CStr::from_ptr(one.topic).to_bytes();
                let Some(topic) = self.topics.iter().position(|topic| topic.as_bytes() == name) else {
                    continue;
                };
                let answer = match one.err.is_error() {
                    true => Err(one.err.into()),
                    false => Ok((one.offset >= 0).then_some(one.offset)),
                };
                let partition = one.partition;
                answers.push((TopicPartition { topic, partition }, answer));
            }
            Ok(answers)
        }
    }
}

#[cfg(test)]
mod tests;

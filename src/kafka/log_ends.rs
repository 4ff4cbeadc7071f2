//! Ends of source partitions, asked of their brokers without waiting.
//!
//! Guaranteed: an answer is an end that the log had at or after the instant of asking, and so
//! proves that whoever has read up to it has seen every record stored before. It is the last stable
//! offset: an open transaction holds no reader back, so it must not hold the proof back either. The
//! watermark that a client caches proves nothing: after a suspension or with a silent broker it is
//! as old as the last fetch.
//!
//! librdkafka's asynchronous request is not used: in version 2.12 it frees its state twice if
//! metadata arrive while it looks for a leader that is not known. The waiting one is called in
//! threads of its own instead: one for partitions whose leaders are known, and others for the rest,
//! so that these delay nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::member::MemberConsumer;
use super::topic_partition::TopicPartition;
use crate::clock;

/// Longest time that a request for ends may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one that is asked by itself, since the others of its kind wait for it.
const ALONE_TIMEOUT: Duration = Duration::from_secs(1);
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
#[derive(Debug, Clone)]
struct Request {
    partitions: Vec<TopicPartition>,
    spec: OffsetSpec,
    asked_ms: i64,
    timeout: Duration,
    answer_use: AnswerUse,
}

/// Use of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerUse {
    /// It is received some time.
    End,
    /// It is waited for until then; afterwards it only tells if the partition answers.
    Wait { until: Instant },
}

impl AnswerUse {
    /// True if the answer was waited for until now.
    fn is_over(self, now: Instant) -> bool {
        matches!(self, Self::Wait { until } if until <= now)
    }

    fn is_waited_for(self, now: Instant) -> bool {
        matches!(self, Self::Wait { .. }) && !self.is_over(now)
    }
}

/// Answer to a request: the offset of each partition, or the error of the whole request.
type RequestAnswer = Result<Vec<(TopicPartition, OffsetAnswer)>, RDKafkaErrorCode>;

/// Asker for ends of partitions. It belongs to one thread.
pub(crate) struct LogEnds {
    /// Dropped before the threads, so that each ends after the request that is under way.
    answers: Receiver<(usize, RequestAnswer)>,
    /// Asks for all partitions but those in `apart`.
    together: Asker,
    /// Asks for the end of each of those in `apart`.
    alone: Asker,
    /// Asks for what is waited for, of each of those in `apart`.
    alone_awaited: Asker,
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
        let (sender, answers) = mpsc::channel();
        let topics: Arc<[Arc<str>]> = topics.into();
        let asker = |name| Asker::start(name, Arc::clone(&consumer), Arc::clone(&topics), sender.clone());
        Self {
            answers,
            together: asker("log-ends"),
            alone: asker("log-ends-alone"),
            alone_awaited: asker("log-ends-wait"),
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
        self.send_all(
            wanted.collect(),
            OffsetSpec::End,
            now_ms,
            REQUEST_TIMEOUT,
            AnswerUse::End,
        );
    }

    /// Asks for those in `apart` each by itself, and for the others together.
    fn send_all(
        &mut self,
        partitions: Vec<TopicPartition>,
        spec: OffsetSpec,
        asked_ms: i64,
        timeout: Duration,
        answer_use: AnswerUse,
    ) {
        let (apart, together): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|at| self.apart.contains(at));
        for partitions in apart.into_iter().map(|at| vec![at]).chain([together]) {
            self.send(Request {
                partitions,
                spec,
                asked_ms,
                timeout,
                answer_use,
            });
        }
    }

    fn asked_for_ends(&self) -> impl Iterator<Item = TopicPartition> {
        let requests = self.unanswered.values();
        let requests = requests.filter(|request| request.answer_use == AnswerUse::End);
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
        let until = clock::monotonic() + timeout;
        let answer_use = AnswerUse::Wait { until };
        // If it fails for one partition, there is time to ask for each by itself.
        self.send_all(
            partitions.to_vec(),
            spec,
            clock::now_ms(),
            timeout / 2,
            answer_use,
        );
        loop {
            let now = clock::monotonic();
            let mut requests = self.unanswered.values();
            if !requests.any(|request| request.answer_use.is_waited_for(now)) {
                break;
            }
            self.receive_answer(until.saturating_duration_since(now));
        }
        let mut found = std::mem::take(&mut self.found);
        for at in partitions {
            found.entry(*at).or_insert(Err(RDKafkaErrorCode::RequestTimedOut));
        }
        found
    }

    fn send(&mut self, mut request: Request) {
        if request.partitions.is_empty() || self.unanswered.len() >= MAX_UNANSWERED {
            return;
        }
        self.last_id = self.last_id.wrapping_add(1);
        let is_alone = request.partitions.iter().any(|at| self.apart.contains(at));
        let asker = match (is_alone, request.answer_use) {
            (false, _) => &self.together,
            (true, AnswerUse::End) => &self.alone,
            (true, AnswerUse::Wait { .. }) => &self.alone_awaited,
        };
        if is_alone {
            request.timeout = request.timeout.min(ALONE_TIMEOUT);
        }
        // One that finds no room is asked again in a second, or counts as not answered.
        if asker.ask(self.last_id, request.clone()) {
            self.unanswered.insert(self.last_id, request);
        }
    }

    /// Receives one answer; `false` if none came within `timeout`.
    fn receive_answer(&mut self, timeout: Duration) -> bool {
        let Ok((id, answer)) = self.answers.recv_timeout(timeout) else {
            return false;
        };
        if let Some(request) = self.unanswered.remove(&id) {
            self.sort_in(request, answer);
        }
        true
    }

    fn sort_in(&mut self, request: Request, answer: RequestAnswer) {
        let is_over = request.answer_use.is_over(clock::monotonic());
        let answers = match answer {
            Ok(answers) => answers,
            Err(code) if request.partitions.len() == 1 => vec![(request.partitions[0], Err(code))],
            // Too late to ask each for itself.
            Err(_) if is_over => return,
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
            match request.answer_use {
                AnswerUse::Wait { .. } if is_over => {}
                AnswerUse::Wait { .. } => {
                    self.found.insert(at, answer);
                }
                AnswerUse::End => self.received.push(EndAnswer {
                    at,
                    asked_ms: request.asked_ms,
                    end: answer.and_then(|end| end.ok_or(RDKafkaErrorCode::OffsetNotAvailable)),
                }),
            }
        }
    }
}

/// A thread that asks, one request after the other.
struct Asker {
    /// Absent once the thread is to end.
    requests: Option<SyncSender<(usize, Request)>>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    fn start(
        name: &str,
        consumer: Arc<MemberConsumer>,
        topics: Arc<[Arc<str>]>,
        answers: Sender<(usize, RequestAnswer)>,
    ) -> Self {
        let (requests, incoming) = mpsc::sync_channel::<(usize, Request)>(MAX_UNANSWERED);
        let work = move || {
            for (id, request) in incoming {
                let answer = match request.answer_use.is_over(clock::monotonic()) {
                    true => Err(RDKafkaErrorCode::RequestTimedOut),
                    false => offsets(&consumer, &topics, &request),
                };
                if answers.send((id, answer)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        Self {
            requests: Some(requests),
            thread: thread
                .inspect_err(|error| tracing::error!(thread = name, %error, "no thread asks for ends"))
                .ok(),
        }
    }

    /// Hands a request over; false if there is no room.
    fn ask(&self, id: usize, request: Request) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|requests| requests.try_send((id, request)).is_ok())
    }
}

impl Drop for Asker {
    /// Waits for the request that is under way, since the thread uses the member's client.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Asks the brokers and waits.
fn offsets(consumer: &MemberConsumer, topics: &[Arc<str>], request: &Request) -> RequestAnswer {
    let mut list = TopicPartitionList::with_capacity(request.partitions.len());
    let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    for at in &request.partitions {
        let offset = request.spec.offset();
        list.add_partition_offset(&topics[at.topic], at.partition, offset)
            .map_err(|error| code(&error))?;
    }
    let found = consumer
        .offsets_for_times(list, request.timeout)
        .map_err(|error| code(&error))?;
    let answer_for = |at: &TopicPartition| {
        let one = found.find_partition(&topics[at.topic], at.partition)?;
        let answer = match (one.error(), one.offset()) {
            (Err(error), _) => Err(code(&error)),
            (Ok(()), Offset::Offset(offset)) => Ok(Some(offset)),
            (Ok(()), _) => Ok(None),
        };
        Some((*at, answer))
    };
    Ok(request.partitions.iter().filter_map(answer_for).collect())
}

#[cfg(test)]
mod tests;

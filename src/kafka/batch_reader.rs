//! Reading of many partition queues in batches.
//!
//! `rdkafka` does not wrap librdkafka's batch call, which costs a third of a poll for each record.
//! The call must never run on the main queue of a group member, since it would swallow the
//! rebalance event and force an unassign; it is safe on partition queues that are forwarded to a
//! queue of our own.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as sys;

use super::batch_record::BatchRecord;
use super::member::MemberConsumer;
use super::queue::OwnQueue;
use super::topic_partition::TopicPartition;

/// Most messages of a batch.
const BATCH_SIZE: usize = 1_000;
/// Most records handed out at once: enough to look ahead, and few enough that the first is still in
/// the cache when the last has been prefetched.
const RUN_SIZE: usize = 32;

/// A queue of our own that partition queues are forwarded to.
pub struct BatchReader {
    queue: OwnQueue,
    topics: Vec<Arc<str>>,
    /// Messages of the batch that was read last. They belong to its [`Batch`]; without one all are
    /// null.
    buffer: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue may go to any thread, and a `Batch` borrows the reader for as long as the
// buffer is in use.
unsafe impl Send for BatchReader {}

impl fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchReader")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// Messages that were read at once.
#[must_use]
pub struct Batch<'r> {
    reader: &'r mut BatchReader,
    /// Buffer places whose messages are not handed out yet.
    rest: Range<usize>,
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rest", &self.rest).finish()
    }
}

/// Part of a batch.
#[derive(Debug)]
pub enum BatchItem<'a> {
    /// Consecutive records of one partition number, each with the index of its topic.
    Records(i32, &'a [(usize, BatchRecord<'a>)]),
    /// Current end of a partition, which was reached.
    End(TopicPartition, i64),
    /// Error of a partition, if it is known of which.
    Error(RDKafkaErrorCode, Option<TopicPartition>),
}

/// A message of librdkafka's by its kind.
enum Message<'a> {
    Record(TopicPartition, BatchRecord<'a>),
    End(TopicPartition, i64),
    Error(RDKafkaErrorCode, Option<TopicPartition>),
}

impl BatchReader {
    pub(super) fn new(consumer: Arc<MemberConsumer>, topics: Vec<Arc<str>>) -> Self {
        Self {
            queue: OwnQueue::new(consumer),
            topics,
            buffer: vec![ptr::null_mut(); BATCH_SIZE],
        }
    }

    /// Forwards a partition's queue here. Must happen before the partition's assignment takes
    /// effect.
    pub(super) fn attach(&self, topic: &str, partition: i32) -> KafkaResult<()> {
        let name =
            CString::new(topic).map_err(|_| KafkaError::Subscription("a topic's name holds NUL".into()))?;
        // SAFETY: client and name are alive; the reference taken to the partition's queue is given
        // back below.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(self.queue.client(), name.as_ptr(), partition);
            if source.is_null() {
                return Err(KafkaError::Subscription(format!(
                    "{topic}/{partition} has no queue"
                )));
            }
            sys::rd_kafka_queue_forward(source, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        Ok(())
    }

    /// Reads at most 1,000 messages, waiting for the first at most `timeout`.
    pub fn read(&mut self, timeout: Duration) -> Batch<'_> {
        // The call waits until it has as many messages as it was asked for, so it is asked for one,
        // and then for those that are there already.
        let mut count = self.consume(0, 1, timeout);
        if count == 1 {
            count += self.consume(1, BATCH_SIZE - 1, Duration::ZERO);
        }
        Batch {
            reader: self,
            rest: 0..count,
        }
    }

    fn consume(&mut self, from: usize, most: usize, timeout: Duration) -> usize {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let room = &mut self.buffer[from..from + most];
        // SAFETY: there is room for `most` pointers.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), timeout_ms, room.as_mut_ptr(), most)
        };
        usize::try_from(count).unwrap_or(0).min(most)
    }

    /// Hands out the first of these messages with those that belong to it. Returns how many, at
    /// least one.
    ///
    /// # Safety
    /// The messages are alive.
    unsafe fn hand_out(
        &self,
        messages: &[*mut sys::rd_kafka_message_t],
        each: &mut impl FnMut(BatchItem<'_>),
    ) -> usize {
        // SAFETY: as the caller promises.
        let mut read = messages
            .iter()
            .map(|message| unsafe { self.interpret(NonNull::new(*message)?) });
        match read.next().flatten() {
            None => {}
            Some(Message::End(at, offset)) => each(BatchItem::End(at, offset)),
            Some(Message::Error(code, at)) => each(BatchItem::Error(code, at)),
            Some(Message::Record(at, record)) => {
                let mut records = Vec::with_capacity(RUN_SIZE);
                records.push((at.topic, record));
                for next in read.take(RUN_SIZE - 1) {
                    match next {
                        Some(Message::Record(next, record)) if next.partition == at.partition => {
                            records.push((next.topic, record));
                        }
                        _ => break,
                    }
                }
                each(BatchItem::Records(at.partition, &records));
                return records.len();
            }
        }
        1
    }

    /// The partition of a message.
    ///
    /// # Safety
    /// `raw` has a topic.
    unsafe fn place(&self, raw: &sys::rd_kafka_message_t) -> Option<TopicPartition> {
        let topic = if self.topics.len() == 1 {
            0
        } else {
            // SAFETY: as the caller promises; the name lives as long as the topic.
            let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(raw.rkt)) };
            let name = name.to_bytes();
            self.topics.iter().position(|topic| topic.as_bytes() == name)?
        };
        Some(TopicPartition {
            topic,
            partition: raw.partition,
        })
    }

    /// # Safety
    /// `message` is alive for as long as the result is used.
    unsafe fn interpret<'a>(&self, message: NonNull<sys::rd_kafka_message_t>) -> Option<Message<'a>> {
        // SAFETY: as the caller promises; a consumed message has a topic unless it is a client-wide
        // error.
        unsafe {
            let raw = message.as_ref();
            if raw.err.is_error() && raw.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
                let at = (!raw.rkt.is_null()).then(|| self.place(raw)).flatten();
                return Some(Message::Error(raw.err.into(), at));
            }
            let at = self.place(raw)?;
            if raw.err.is_error() {
                return Some(Message::End(at, raw.offset));
            }
            let record = BatchRecord::new(message);
            record.prefetch();
            Some(Message::Record(at, record))
        }
    }
}

impl Batch<'_> {
    /// Number of messages that are not handed out yet.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Hands out the messages in order, and frees them.
    pub fn for_each(mut self, mut each: impl FnMut(BatchItem<'_>)) {
        while !self.rest.is_empty() {
            // SAFETY: librdkafka filled the places of `rest` with messages that are ours, and each
            // is freed only when it leaves `rest`.
            let count = unsafe {
                self.reader
                    .hand_out(&self.reader.buffer[self.rest.clone()], &mut each)
            };
            self.free(count);
        }
    }

    /// Frees the first messages of `rest`.
    fn free(&mut self, count: usize) {
        for place in self.rest.by_ref().take(count) {
            let message = std::mem::replace(&mut self.reader.buffer[place], ptr::null_mut());
            if !message.is_null() {
                // SAFETY: the message is ours, and its place is null from now on.
                unsafe { sys::rd_kafka_message_destroy(message) }
            }
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.free(self.rest.len());
    }
}

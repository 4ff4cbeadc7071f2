//! What `rdkafka` does not wrap, or not well enough: reading many partition queues in batches, headers of any name, the
//! cached high watermark.
//!
//! A batch call costs a third of a poll for each record. It must never run on a group's main queue (it would swallow the
//! rebalance event and force an unassign); on partition queues forwarded to a queue of our own it is safe.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;

use super::member::MemberConsumer;
use super::queue::OwnQueue;
use super::topic_partition::TopicPartition;
use crate::prefetch::prefetch;

/// Most records of one batch.
const BATCH: usize = 1_000;
/// Most records told at once: enough to look ahead, few enough for the first to be in the cache when the last was looked at.
const PIECE: usize = 32;

/// Bytes that memory hands over at once.
const CACHE_LINE: usize = 64;
/// Most of them asked for ahead of a record: an event has some 300 bytes.
const LINES: usize = 8;

/// A queue of our own that partition queues are forwarded to.
pub struct BatchReader {
    queue: OwnQueue,
    topics: Vec<Arc<str>>,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue may go to any thread, and the buffer is empty between calls.
unsafe impl Send for BatchReader {}

impl fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchReader")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// What comes out of a batch_reader.
#[derive(Debug)]
pub enum Read<'a> {
    /// Records that follow each other, of partitions of one number; each with its topic's place.
    Records(i32, &'a [(usize, RawRecord<'a>)]),
    /// The partition's end, for now.
    End(TopicPartition, i64),
    Error(RDKafkaErrorCode),
}

/// What a message of librdkafka's is.
enum Message<'a> {
    Record(TopicPartition, RawRecord<'a>),
    End(TopicPartition, i64),
    Error(RDKafkaErrorCode),
}

/// A record in librdkafka's memory.
#[derive(Clone, Copy)]
pub struct RawRecord<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
    lifetime: PhantomData<&'a ()>,
}

impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl<'a> RawRecord<'a> {
    /// Its place in the partition.
    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message lives for 'a.
        unsafe { self.message.as_ref().offset }
    }

    /// Its value; empty when it has none.
    pub(crate) fn value(&self) -> &'a [u8] {
        // SAFETY: librdkafka gives pointer and length of the value, or null; the message lives for 'a.
        unsafe { bytes(self.message.as_ref().payload, self.message.as_ref().len) }.unwrap_or_default()
    }

    /// Its key.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the value.
        unsafe { bytes(self.message.as_ref().key, self.message.as_ref().key_len) }
    }

    /// Asks memory for what is read of it: what the client keeps is rarely in a cache by the time it is told.
    fn approach(&self) {
        if let Some(first) = self.key().and_then(<[u8]>::first) {
            prefetch(first);
        }
        for line in self.value().chunks(CACHE_LINE).take(LINES) {
            prefetch(&line[0]);
        }
    }

    /// Its time in milliseconds since the Unix epoch, if it has one.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives for 'a, and `kind` outlives the call.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && at >= 0).then_some(at)
    }
}

/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}

impl BatchReader {
    pub(super) fn new(consumer: Arc<MemberConsumer>, topics: Vec<Arc<str>>) -> Self {
        Self {
            queue: OwnQueue::new(consumer),
            topics,
            buffer: vec![ptr::null_mut(); BATCH],
        }
    }

    /// Forwards a partition's queue here. Must happen before the partition's assignment takes effect.
    pub(super) fn attach(&self, topic: &str, partition: i32) -> KafkaResult<()> {
        let name =
            CString::new(topic).map_err(|_| KafkaError::Subscription("a topic's name holds NUL".into()))?;
        // SAFETY: client and name are alive; the reference taken to the partition's queue is given back below.
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

    /// Reads one batch, at most 1,000 records, waiting for the first at most `timeout`. Returns how many there were.
    pub fn read(&mut self, timeout: Duration, mut each: impl FnMut(Read<'_>)) -> usize {
        // The call waits until it has as many as it was asked for; so one is waited for, and the rest is what is there.
        let mut count = self.consume(0, 1, timeout);
        if count == 1 {
            count += self.consume(1, BATCH - 1, Duration::ZERO);
        }
        let mut from = 0;
        while from < count {
            // SAFETY: librdkafka filled `count` places with messages that are ours. Each is given back once, below, and its
            // place is empty from then on.
            let to = unsafe { self.tell(&self.buffer[from..count], &mut each) } + from;
            for place in &mut self.buffer[from..to] {
                let message = std::mem::replace(place, ptr::null_mut());
                if !message.is_null() {
                    // SAFETY: as above.
                    unsafe { sys::rd_kafka_message_destroy(message) }
                }
            }
            from = to;
        }
        count
    }

    /// Tells of the first of these messages and those that go with it. Returns how many, at least one.
    ///
    /// # Safety
    /// The messages are alive.
    unsafe fn tell(
        &self,
        messages: &[*mut sys::rd_kafka_message_t],
        each: &mut impl FnMut(Read<'_>),
    ) -> usize {
        // SAFETY: as the caller promises.
        let mut read = messages
            .iter()
            .map(|message| unsafe { self.interpret(NonNull::new(*message)?) });
        match read.next().flatten() {
            None => {}
            Some(Message::End(at, offset)) => each(Read::End(at, offset)),
            Some(Message::Error(code)) => each(Read::Error(code)),
            Some(Message::Record(at, record)) => {
                let mut records = Vec::with_capacity(PIECE);
                records.push((at.topic, record));
                for next in read.take(PIECE - 1) {
                    match next {
                        Some(Message::Record(next, record)) if next.partition == at.partition => {
                            records.push((next.topic, record));
                        }
                        _ => break,
                    }
                }
                each(Read::Records(at.partition, &records));
                return records.len();
            }
        }
        1
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

    /// # Safety
    /// `message` is alive for as long as the result is used.
    unsafe fn interpret<'a>(&self, message: NonNull<sys::rd_kafka_message_t>) -> Option<Message<'a>> {
        // SAFETY: as the caller promises; a consumed message has a topic unless it is a client-wide error.
        unsafe {
            let raw = message.as_ref();
            if raw.err.is_error() && raw.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
                return Some(Message::Error(raw.err.into()));
            }
            let topic = if self.topics.len() == 1 {
                0
            } else {
                let name = CStr::from_ptr(sys::rd_kafka_topic_name(raw.rkt)).to_bytes();
                self.topics.iter().position(|topic| topic.as_bytes() == name)?
            };
            let at = TopicPartition {
                topic,
                partition: raw.partition,
            };
            if raw.err.is_error() {
                return Some(Message::End(at, raw.offset));
            }
            let record = RawRecord {
                message,
                lifetime: PhantomData,
            };
            record.approach();
            Some(Message::Record(at, record))
        }
    }
}

/// A record's headers, as bytes: `rdkafka` panics over a name that is not UTF-8, and anybody may write one.
pub(crate) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    let mut found = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive, and the headers are its own. Of each, librdkafka gives a name that ends with NUL, and
    // pointer and length of a value, or null; all of it lives as long as the message.
    unsafe {
        if sys::rd_kafka_message_headers(message.ptr(), &raw mut headers).is_error() {
            return found;
        }
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let error = sys::rd_kafka_header_get_all(
                headers,
                found.len(),
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if error.is_error() {
                return found;
            }
            found.push((CStr::from_ptr(name).to_bytes(), bytes(value, size)));
        }
    }
}

/// The partition's lowest and next offset as the last fetch told them, if one has. Not asked of the broker: under
/// `read_committed` that would answer the last stable offset, which a caught-up reader may never equal.
pub(super) fn cached_watermarks(
    consumer: &MemberConsumer,
    topic: &str,
    partition: i32,
) -> Option<(i64, i64)> {
    let name = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1_i64, -1_i64);
    // SAFETY: client and name are alive, both numbers outlive the call.
    let error = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            name.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (!error.is_error()).then_some((low, high))
}

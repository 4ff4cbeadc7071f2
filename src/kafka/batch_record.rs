//! A record in librdkafka's memory.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use rdkafka_sys as sys;

use super::headers::{self, bytes};
use crate::prefetch::prefetch;

/// Bytes that memory transfers at once.
const CACHE_LINE: usize = 64;
/// Most cache lines prefetched for a record: an event has some 300 bytes.
const PREFETCHED_LINES: usize = 8;

/// A record of a batch.
#[derive(Clone, Copy)]
pub struct BatchRecord<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
    lifetime: PhantomData<&'a ()>,
}

impl fmt::Debug for BatchRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRecord")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl<'a> BatchRecord<'a> {
    /// # Safety
    /// The message is alive for `'a` and holds a record.
    pub(super) unsafe fn new(message: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self {
            message,
            lifetime: PhantomData,
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message lives for 'a.
        unsafe { self.message.as_ref().offset }
    }

    /// Value of the record, empty when it has none.
    pub(crate) fn value(&self) -> &'a [u8] {
        // SAFETY: librdkafka gives pointer and length of the value, or null; the message lives for
        // 'a.
        unsafe { bytes(self.message.as_ref().payload, self.message.as_ref().len) }.unwrap_or_default()
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the value.
        unsafe { bytes(self.message.as_ref().key, self.message.as_ref().key_len) }
    }

    /// Names and values of its headers; of hardly any record there are some.
    pub(crate) fn headers(&self) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
        // SAFETY: the message lives for 'a.
        unsafe { headers::read_raw(self.message.as_ptr()) }
    }

    /// Prefetches key and value: what the client buffered is rarely in a cache by the time it is
    /// handed out.
    pub(super) fn prefetch(&self) {
        if let Some(first) = self.key().and_then(<[u8]>::first) {
            prefetch(first);
        }
        for line in self.value().chunks(CACHE_LINE).take(PREFETCHED_LINES) {
            prefetch(&line[0]);
        }
    }

    /// Time of the record in milliseconds since the Unix epoch, if it has one.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives for 'a, and `kind` outlives the call.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && at >= 0).then_some(at)
    }
}

//! Records on their way to the producer's queue.

use std::sync::Arc;

/// Most bytes kept of the key of a record that is cut.
const CUT_KEY_BYTES: usize = 1_024;

/// A record to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    /// `None` lets the hash of the key choose.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    /// `None` makes a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'static str, String)],
    /// Headers of a record that is passed on unchanged. They come before `headers`, which override
    /// them.
    pub(crate) passed_on: &'a [RawHeader],
}

impl Outgoing<'_> {
    /// The record without what may be too large: its value cut to `bytes`, and no headers that are
    /// only passed on. `mark` is the header that says so.
    pub(crate) fn cut<'a>(
        &'a self,
        bytes: usize,
        mark: &'static str,
        headers: &'a mut Vec<(&'static str, String)>,
    ) -> Outgoing<'a> {
        headers.extend_from_slice(self.headers);
        headers.push((mark, self.value.map_or(0, <[u8]>::len).to_string()));
        Outgoing {
            key: self.key.map(|key| &key[..key.len().min(CUT_KEY_BYTES)]),
            value: self.value.map(|value| &value[..value.len().min(bytes)]),
            headers,
            passed_on: &[],
            ..*self
        }
    }

    /// Approximate bytes in the producer's queue.
    pub(crate) fn bytes(&self) -> usize {
        let own = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let passed_on = self
            .passed_on
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let headers: usize = own.chain(passed_on).sum();
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }
}

/// Name and value of a header of any record.
pub(crate) type RawHeader = (String, Option<Vec<u8>>);

/// A record that owns its bytes.
#[derive(Debug, Clone)]
pub(crate) struct OwnedRecord {
    pub(crate) topic: Arc<str>,
    /// `None` lets the hash of the key choose.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Vec<u8>>,
    /// `None` makes a tombstone.
    pub(crate) value: Option<bytes::Bytes>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl OwnedRecord {
    pub(crate) fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            passed_on: &[],
        }
    }
}

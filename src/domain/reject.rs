//! Rejects: records that could not be read, with the reason.

use super::event::SourceClock;
use super::words::words;

words! {
    /// Reason why a record could not be read.
    pub(crate) enum RejectReason {
        /// Not one JSON object.
        NotJson = "not_json",
        /// Not UTF-8.
        NotUtf8 = "not_utf8",
        /// A required field is absent, `null` or the empty string.
        MissingField = "missing_field",
        /// A field of the wrong type, or with a value that is not allowed.
        BadField = "bad_field",
        /// A text, or a list of properties, that is longer than allowed.
        OverLimit = "over_limit",
        /// A record of more bytes than are read at all.
        TooLarge = "too_large",
    }
}

/// A record that could not be read. Nothing in it repeats a value of the record but the site id, so
/// it can be logged and sent as a header whatever the record held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Reject {
    pub(crate) reason: RejectReason,
    /// The field at fault, by its name in the format's documentation.
    pub(crate) field: Option<&'static str>,
    /// One line for people.
    pub(crate) detail: String,
    /// The site the record belongs to, when that much could be read.
    pub(crate) site_id: Option<String>,
}

impl Reject {
    /// The reject of an event that cannot be written anew.
    pub(crate) fn unwritable(site_id: &str, error: &dyn std::error::Error) -> Self {
        Self {
            reason: RejectReason::BadField,
            field: None,
            detail: format!("the event cannot be written as JSON: {error}"),
            site_id: Some(site_id.to_owned()),
        }
    }

    /// A record whose time is in another unit than milliseconds.
    pub(crate) fn overlong_time(number: i64) -> Self {
        Self {
            reason: RejectReason::BadField,
            field: Some("record time"),
            detail: format!(
                "the record's time {number} lies after the year 9999: the producer must set it in milliseconds"
            ),
            site_id: None,
        }
    }

    /// An event that is to be passed on, to a topic whose messages must be smaller.
    pub(crate) fn too_large_for(topic: &str, bytes: usize, site_id: &str) -> Self {
        Self {
            reason: RejectReason::TooLarge,
            field: None,
            detail: format!(
                "the event has {bytes} bytes, more than the topic {topic} takes; raise its max.message.bytes"
            ),
            site_id: Some(site_id.to_owned()),
        }
    }
}

/// The record that was rejected before, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedOriginal {
    /// Clock of its source.
    pub clock: Option<SourceClock>,
    /// Its time in milliseconds since the Unix epoch, if it had one.
    pub record_ms: Option<i64>,
    /// Topic, partition and offset.
    pub coordinates: Option<String>,
}

/// A record of which no event comes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// It could not be read.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// `route` could not read it, and has kept it already.
    #[error("{0}")]
    RejectedBefore(Reject, RejectedOriginal),
    /// A newer version of Bellwether wrote it. It is held back until that version reads it.
    #[error("`{field}` is {version}, this program reads up to {known}")]
    Newer {
        field: &'static str,
        version: u32,
        known: u32,
    },
    /// It is of a type that says nothing about visitors, as its format's producer sends them.
    #[error("a record of a type that is ignored")]
    Ignored,
}

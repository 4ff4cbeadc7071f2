//! The delivery record: lies on `deliveries`, on a tier or on the dead-letter topic, for one
//! attempt of a delivery.
//!
//! The value is the body that will be sent, byte for byte; the key is the webhook's id; all else is
//! in headers, so that nothing re-encodes the body on its way. Headers unknown to this version are
//! not read, and no retry or dead letter carries them on.

use bytes::Bytes;

use crate::domain::delivery::Origin;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::domain::site::SiteId;
use crate::domain::time::LAST_MS;

/// The version that this code writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Names of the headers.
pub(crate) mod header {
    pub(crate) const VERSION: &str = "bw-version";
    pub(crate) const DELIVERY_ID: &str = "bw-delivery-id";
    pub(crate) const NOTIFICATION_ID: &str = "bw-notification-id";
    pub(crate) const SITE_ID: &str = "bw-site-id";
    pub(crate) const EVENT_TYPE: &str = "bw-event-type";
    pub(crate) const CREATED_AT_MS: &str = "bw-created-at-ms";
    pub(crate) const ORIGIN: &str = "bw-origin";
    pub(crate) const RESEND_OF: &str = "bw-resend-of";
    pub(crate) const ATTEMPT: &str = "bw-attempt";
    pub(crate) const STEP: &str = "bw-step";
    pub(crate) const DUE_AT_MS: &str = "bw-due-at-ms";
    pub(crate) const FIRST_ATTEMPT_AT_MS: &str = "bw-first-attempt-at-ms";
    pub(crate) const REASON: &str = "bw-reason";
    pub(crate) const LAST_STATUS: &str = "bw-last-status";
    /// Of a value that was cut: its length before.
    pub(crate) const TRUNCATED: &str = "bw-truncated";
    pub(crate) const ORIGINAL_TOPIC: &str = "bw-original-topic";
    pub(crate) const ORIGINAL_PARTITION: &str = "bw-original-partition";
    pub(crate) const ORIGINAL_OFFSET: &str = "bw-original-offset";
}

/// Longest reason kept, in bytes.
const MAX_REASON_BYTES: usize = 64;

/// One attempt to be made, or on the dead-letter topic one delivery that failed. Times are
/// milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    pub delivery_id: DeliveryId,
    pub notification_id: NotificationId,
    pub webhook_id: WebhookId,
    pub site_id: SiteId,
    pub event_type: EventType,
    /// Time of the notification's decision; its age counts from here.
    pub created_at_ms: i64,
    pub origin: Origin,
    /// The delivery that this one sends again.
    pub resend_of: Option<DeliveryId>,
    /// The attempt that this record asks for, from 1. On a dead letter the last one made: 0 when it
    /// failed unsent.
    pub attempt: u32,
    /// Delays of the retry schedule that lie behind: which delay comes next.
    pub step: u32,
    /// Due time of the attempt; absent means at once.
    pub due_at_ms: Option<i64>,
    pub first_attempt_at_ms: Option<i64>,
    /// A `FailureReason`'s word, or `unrecordable`; only on a dead letter.
    pub reason: Option<String>,
    /// The endpoint's last HTTP status.
    pub last_status: Option<u16>,
    /// The notification's canonical JSON.
    pub body: Bytes,
}

/// The attempt that follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextAttempt {
    pub(crate) attempt: u32,
    pub(crate) step: u32,
    /// Milliseconds since the Unix epoch.
    pub(crate) due_at_ms: i64,
}

/// Place that a record was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coordinates {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The error of a record that is not a delivery record. What is newer is held back; the others go
/// to the dead-letter topic as they came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("its version is {0}, this program reads up to {VERSION}: finish the upgrade")]
    Newer(u32),
    #[error("its event type `{0}` is not known to this program: finish the upgrade")]
    NewerEvent(String),
    #[error("it has no header `{0}`")]
    MissingHeader(&'static str),
    #[error("its header `{0}` cannot be read")]
    BadHeader(&'static str),
    #[error("its key is not a webhook id")]
    BadKey,
    #[error("it has no body")]
    NoBody,
}

impl Unreadable {
    /// True if a newer version of this program wrote the record: it is held back.
    pub(crate) const fn is_newer(&self) -> bool {
        matches!(self, Self::Newer(_) | Self::NewerEvent(_))
    }

    /// Returns the word for the `bw-reason` header and the log.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Newer(_) => "newer_version",
            Self::NewerEvent(_) => "newer_event",
            Self::MissingHeader(_) => "missing_header",
            Self::BadHeader(_) => "bad_header",
            Self::BadKey => "bad_key",
            Self::NoBody => "no_body",
        }
    }
}

impl DeliveryRecord {
    /// Returns the key under which the record is published: all records of a webhook lie on
    /// partitions of one number.
    pub fn key(&self) -> String {
        self.webhook_id.to_string()
    }

    /// Returns the headers under which the record is published.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::VERSION, VERSION.to_string()),
            (header::DELIVERY_ID, self.delivery_id.to_string()),
            (header::NOTIFICATION_ID, self.notification_id.to_string()),
            (header::SITE_ID, self.site_id.to_string()),
            (header::EVENT_TYPE, self.event_type.to_string()),
            (header::CREATED_AT_MS, self.created_at_ms.to_string()),
            (header::ORIGIN, self.origin.as_str().to_owned()),
            (header::ATTEMPT, self.attempt.to_string()),
            (header::STEP, self.step.to_string()),
        ];
        let mut add = |name, value: Option<String>| headers.extend(value.map(|value| (name, value)));
        add(header::RESEND_OF, self.resend_of.map(|id| id.to_string()));
        add(header::DUE_AT_MS, self.due_at_ms.map(|ms| ms.to_string()));
        add(
            header::FIRST_ATTEMPT_AT_MS,
            self.first_attempt_at_ms.map(|ms| ms.to_string()),
        );
        add(header::REASON, self.reason.clone());
        add(
            header::LAST_STATUS,
            self.last_status.map(|status| status.to_string()),
        );
        headers
    }

    /// Reads a record from its key, headers and value. Of a header that is there twice the last one
    /// holds, as with Kafka's own clients.
    pub(crate) fn decode<'a>(
        key: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
        body: Option<Bytes>,
    ) -> Result<Self, Unreadable> {
        let headers = Headers::collect(headers);
        // First of all: a newer version may mean anything by the rest.
        match headers.required(header::VERSION, |text| text.parse::<u32>().ok())? {
            0 => return Err(Unreadable::BadHeader(header::VERSION)),
            version if version > VERSION => return Err(Unreadable::Newer(version)),
            _ => {}
        }
        let delivery_id = headers.required(header::DELIVERY_ID, |text| text.parse().ok())?;
        let reason = headers.optional(header::REASON, |text| {
            (text.len() <= MAX_REASON_BYTES).then(|| text.to_owned())
        })?;
        let lowest = u32::from(reason.is_none());
        let attempt: u32 = headers.required(header::ATTEMPT, |text| {
            text.parse().ok().filter(|attempt| *attempt >= lowest)
        })?;
        // Before there was a header for it, every attempt was a step.
        let step = headers.optional(header::STEP, |text| text.parse().ok())?;
        let event = headers.required(header::EVENT_TYPE, |text| {
            is_word(text).then_some(text.to_owned())
        })?;
        let event_type = event.parse().map_err(|_| Unreadable::NewerEvent(event))?;
        let ms = |text: &str| text.parse::<i64>().ok().filter(|ms| (0..=LAST_MS).contains(ms));
        Ok(Self {
            delivery_id,
            notification_id: headers.required(header::NOTIFICATION_ID, |text| text.parse().ok())?,
            webhook_id: key
                .and_then(|key| std::str::from_utf8(key).ok()?.parse().ok())
                .ok_or(Unreadable::BadKey)?,
            site_id: headers.required(header::SITE_ID, |text| text.parse().ok())?,
            event_type,
            created_at_ms: headers.required(header::CREATED_AT_MS, ms)?,
            origin: headers.required(header::ORIGIN, |text| text.parse().ok())?,
            resend_of: headers.optional(header::RESEND_OF, |text| text.parse().ok())?,
            attempt,
            step: step.unwrap_or(attempt.saturating_sub(1)),
            due_at_ms: headers.optional(header::DUE_AT_MS, ms)?,
            first_attempt_at_ms: headers.optional(header::FIRST_ATTEMPT_AT_MS, ms)?,
            reason,
            last_status: headers.optional(header::LAST_STATUS, |text| text.parse().ok())?,
            body: body.ok_or(Unreadable::NoBody)?,
        })
    }

    /// Makes the record that asks for the next attempt.
    pub(crate) fn retry(
        &self,
        following: NextAttempt,
        first_attempt_at_ms: Option<i64>,
        last_status: Option<u16>,
    ) -> Self {
        Self {
            attempt: following.attempt,
            step: following.step,
            due_at_ms: Some(following.due_at_ms),
            first_attempt_at_ms: self.first_attempt_at_ms.or(first_attempt_at_ms),
            reason: None,
            last_status,
            ..self.clone()
        }
    }

    /// Makes the dead letter of a delivery that failed for good after `attempts`.
    pub(crate) fn dead_letter(
        &self,
        reason: &str,
        attempts: u32,
        first_attempt_at_ms: Option<i64>,
        last_status: Option<u16>,
    ) -> Self {
        Self {
            attempt: attempts,
            due_at_ms: None,
            first_attempt_at_ms: self.first_attempt_at_ms.or(first_attempt_at_ms),
            reason: Some(reason.to_owned()),
            last_status,
            ..self.clone()
        }
    }
}

impl Coordinates {
    /// Returns the headers that say on a dead letter or a reject where it was read.
    pub(crate) fn headers(&self) -> [(&'static str, String); 3] {
        [
            (header::ORIGINAL_TOPIC, self.topic.clone()),
            (header::ORIGINAL_PARTITION, self.partition.to_string()),
            (header::ORIGINAL_OFFSET, self.offset.to_string()),
        ]
    }
}

/// True if the text may be the name of an event type, of this version or a newer one.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Headers by name, as they came.
struct Headers<'a>(Vec<(&'a str, Option<&'a [u8]>)>);

impl<'a> Headers<'a> {
    fn collect(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        Self(headers.into_iter().collect())
    }

    fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        let Some((_, value)) = self.0.iter().rev().find(|(one, _)| *one == name) else {
            return Ok(None);
        };
        value
            .and_then(|bytes| read(std::str::from_utf8(bytes).ok()?))
            .map(Some)
            .ok_or(Unreadable::BadHeader(name))
    }

    fn required<T>(&self, name: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Unreadable> {
        self.optional(name, read)?.ok_or(Unreadable::MissingHeader(name))
    }
}

#[cfg(test)]
mod tests;

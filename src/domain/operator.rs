//! Notifications for the operator, whose webhook is in the configuration.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::id::{NotificationId, NotificationKind};
use super::notification::rfc3339_seconds;
use super::words::words;

words! {
    /// Type of a notification for the operator.
    pub(crate) enum OperatorEvent {
        WebhookFailing = "webhook_failing",
        WebhookRecovered = "webhook_recovered",
        WebhookDisabled = "webhook_disabled",
        /// A source gives no records, though it should.
        SourceSilent = "source_silent",
        /// Many records of a source cannot be read.
        SourceRejecting = "source_rejecting",
    }
}

/// A notification about a source of events. Its JSON is the canonical body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SourceNotification<'a> {
    pub(crate) id: NotificationId,
    pub(crate) event: OperatorEvent,
    #[serde(serialize_with = "rfc3339_seconds")]
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) data: SourceData<'a>,
}

/// The part of it that depends on its type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum SourceData<'a> {
    Silent {
        /// Topic of the source.
        source: &'a str,
    },
    Rejecting {
        source: &'a str,
        /// Records of the window, and those of them that could not be read.
        records: u64,
        rejected: u64,
        window_seconds: u64,
    },
}

impl SourceNotification<'_> {
    /// The canonical body.
    pub(crate) fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with string keys always becomes JSON")
    }
}

/// The id of a notification about a source: the same for all replicas that see the state begin in
/// the same span of `span_ms` milliseconds.
pub(crate) fn source_notification_id(
    event: OperatorEvent,
    source: &str,
    now_ms: i64,
    span_ms: i64,
) -> NotificationId {
    let begin_ms = now_ms - now_ms.rem_euclid(span_ms.max(1));
    NotificationId::derive(
        begin_ms,
        "",
        event.as_str(),
        NotificationKind::Start,
        &[source.as_bytes()],
    )
}

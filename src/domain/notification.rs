//! A notification: one thing that happened, the same for every webhook it goes to.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde::ser::Serializer;

use super::event::{EventType, Revenue};
use super::id::{NotificationId, WebhookId};
use super::sample::EventSample;
use super::site::SiteId;
use super::site_now::Baseline;
use super::words::words;

/// One thing that happened. Its JSON is the canonical body: what is signed and sent, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Notification<'a> {
    pub(crate) id: NotificationId,
    pub(crate) event: EventType,
    pub(crate) site_id: SiteId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) site_name: Option<&'a str>,
    /// The operator's page of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<&'a str>,
    /// When it happened, in event time.
    #[serde(serialize_with = "rfc3339_seconds")]
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) data: NotificationData<'a>,
}

impl Notification<'_> {
    /// The canonical body.
    pub(crate) fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with string keys always becomes JSON")
    }
}

/// The part of a notification that depends on its type. Aggregates only.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum NotificationData<'a> {
    GoalCompletion {
        goal_name: &'a str,
        /// Distinct visitors behind this notification: 1 for a single completion.
        visitor_count: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        /// Completions of a summary.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        revenue: Option<&'a Revenue<'a>>,
        /// Only those the goal filters on.
        #[serde(skip_serializing_if = "Option::is_none")]
        props: Option<serde_json::Map<String, serde_json::Value>>,
    },
    Visitors(VisitorsData),
    CustomEvent {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        visitor_count: u32,
        /// Events of a summary.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    ErrorCondition {
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        goal: Option<&'a str>,
        count: u32,
        /// The count that is too many; none for a silence.
        #[serde(skip_serializing_if = "Option::is_none")]
        threshold: Option<u32>,
        /// Of a silence, the seconds without an event.
        window_seconds: u32,
        /// Events expected meanwhile, to a tenth.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<f64>,
        detail: String,
        /// The beginning of the alert.
        #[serde(serialize_with = "rfc3339_seconds")]
        started_at: DateTime<Utc>,
        /// Of a silence, the time of the last event, or completion of the goal, before it.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
        last_event_at: Option<DateTime<Utc>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reminder: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        suspected_cause: Option<SuspectedCause>,
    },
    /// Of `webhook_failing`, `webhook_recovered` and `webhook_disabled`.
    WebhookHealth {
        webhook_id: WebhookId,
        name: &'a str,
        reason: Option<&'a str>,
        #[serde(serialize_with = "rfc3339_seconds")]
        since: DateTime<Utc>,
        /// Deliveries that wait for the webhook.
        waiting: i64,
    },
    Test {
        message: &'a str,
        sample: EventSample,
    },
}

/// The data of a spike, of a drop, and of the end of either.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VisitorsData {
    pub(crate) current_visitors: u32,
    pub(crate) threshold: u32,
    pub(crate) window_seconds: u32,
    /// `None` while nothing is known to be usual.
    pub(crate) baseline: Option<Baseline>,
    pub(crate) top_sources: Vec<TopSource>,
    pub(crate) top_pages: Vec<TopPage>,
    #[serde(serialize_with = "rfc3339_seconds")]
    pub(crate) started_at: DateTime<Utc>,
    /// Number of the reminder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reminder: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// The most extreme count of an episode that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspected_cause: Option<SuspectedCause>,
}

words! {
    /// Likely reason for an alert that is not the site's own.
    pub(crate) enum SuspectedCause {
        /// The source has delivered no record of any site for a while.
        SourceSilent = "source_silent",
    }
}

/// A source of visits and its distinct visitors (at least 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TopSource {
    pub(crate) source: String,
    pub(crate) visitors: u32,
}

/// A page and its distinct visitors (at least 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TopPage {
    pub(crate) path: String,
    pub(crate) visitors: u32,
}

/// RFC 3339 in UTC with whole seconds, as in every payload.
pub(crate) fn rfc3339_seconds<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn optional_rfc3339<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339_seconds(at, serializer),
        None => serializer.serialize_none(),
    }
}

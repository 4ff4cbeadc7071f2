//! An event: one analytics record from Kafka, and the event types a webhook can subscribe to.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::texts::Texts;
use super::words::words;

words! {
    /// Kind of an event, as the producer gives it.
    pub enum EventKind {
        Pageview = "pageview",
        Goal = "goal",
        Custom = "custom",
        Engagement = "engagement",
        Error = "error",
    }
}

words! {
    /// Result of reading a source record.
    pub enum EventResult {
        Counted = "counted",
        /// Of a site that is not registered.
        Unregistered = "unregistered",
        Rejected = "rejected",
        /// Counted, but too old to lead to a notification.
        Stale = "stale",
        /// Read again to rebuild windows.
        Replayed = "replayed",
    }
}

/// One analytics event, borrowed from the record it was read from. Every limit of the native format
/// holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    pub site_id: Cow<'a, str>,
    pub kind: EventKind,
    /// Present for `goal` and `custom`.
    pub name: Option<Cow<'a, str>>,
    /// Opaque; hashed by the detector and never kept, logged or sent.
    pub visitor_id: Option<Cow<'a, str>>,
    /// Without query and fragment.
    pub path: Option<Cow<'a, str>>,
    /// Milliseconds since the Unix epoch; absent means the record's time.
    pub timestamp_ms: Option<i64>,
    /// Absent means topic/partition/offset.
    pub event_id: Option<Cow<'a, str>>,
    pub props: Texts<'a>,
    pub source: Option<Cow<'a, str>>,
    pub revenue: Option<Revenue<'a>>,
    /// 0 to 100, on engagement events.
    pub scroll_depth: Option<u8>,
}

/// Money passed through on goal notifications, as the producer wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revenue<'a> {
    #[serde(borrow)]
    pub(crate) amount: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) currency: Cow<'a, str>,
}

words! {
    /// Type of a notification, to which a webhook subscribes.
    pub enum EventType {
        GoalCompletion = "goal_completion",
        VisitorSpike = "visitor_spike",
        VisitorDrop = "visitor_drop",
        VisitorSpikeResolved = "visitor_spike_resolved",
        VisitorDropResolved = "visitor_drop_resolved",
        CustomEvent = "custom_event",
        ErrorCondition = "error_condition",
        Test = "test",
    }
}

impl EventType {
    /// Types of the notifications with which an episode may begin.
    pub(crate) const WITH_EPISODES: [Self; 5] = Self::SUBSCRIBABLE;

    /// Types that a webhook may list under `events`.
    pub(crate) const SUBSCRIBABLE: [Self; 5] = [
        Self::GoalCompletion,
        Self::VisitorSpike,
        Self::VisitorDrop,
        Self::CustomEvent,
        Self::ErrorCondition,
    ];
}

//! An event: one analytics record from Kafka, and the event types a webhook can subscribe to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::texts::Texts;

/// What happened, as the producer says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Pageview,
    Goal,
    Custom,
    Engagement,
    Error,
}

/// One analytics event, borrowed from the record it was read from. Every limit of the native format holds.
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

/// What a webhook subscribes to and a notification is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    GoalCompletion,
    VisitorSpike,
    CustomEvent,
    Test,
}

impl EventType {
    /// Every type, in the order documents list them.
    pub(crate) const ALL: [Self; 4] = [
        Self::GoalCompletion,
        Self::VisitorSpike,
        Self::CustomEvent,
        Self::Test,
    ];
    /// What a webhook may list under `events`.
    pub(crate) const SUBSCRIBABLE: [Self; 3] = [Self::GoalCompletion, Self::VisitorSpike, Self::CustomEvent];

    /// The name in JSON, headers, SQL and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GoalCompletion => "goal_completion",
            Self::VisitorSpike => "visitor_spike",
            Self::CustomEvent => "custom_event",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event type")]
pub struct UnknownEventType(String);

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .into_iter()
            .find(|event| event.as_str() == text)
            .ok_or_else(|| UnknownEventType(text.chars().take(64).collect()))
    }
}

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
        /// Of a type that a format's producer sends and that says nothing about visitors.
        Ignored = "ignored",
    }
}

words! {
    /// Unit other than milliseconds in which a producer wrote a time.
    pub enum WrongTimeUnit {
        Seconds = "seconds",
        Microseconds = "microseconds",
        Nanoseconds = "nanoseconds",
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
    /// Unit of a time that was written in another one than milliseconds; `timestamp_ms` is absent
    /// then.
    pub wrong_unit: Option<WrongTimeUnit>,
    /// Absent means topic/partition/offset.
    pub event_id: Option<Cow<'a, str>>,
    pub props: Texts<'a>,
    pub source: Option<Cow<'a, str>>,
    pub revenue: Option<Revenue<'a>>,
    /// 0 to 100, on engagement events.
    pub scroll_depth: Option<u8>,
    /// True for a back-dated import, which is counted and never leads to a notification.
    pub historical: bool,
    /// Facts about the record that `route` read the event from.
    pub routed: Option<RoutedFacts>,
}

words! {
    /// The clock that a source's events go by.
    #[derive(Default)]
    pub enum SourceClock {
        /// Events of the present: never later than the record or the wall clock, and stale after a
        /// while. The wall clock moves silent sites on.
        #[default]
        Live = "live",
        /// Events of any time, as in replays, tests and demonstrations: their own time counts, and
        /// the wall clock is never read.
        Log = "log",
    }
}

/// Facts about the record that `route` read an event from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutedFacts {
    /// Clock of the source that `route` read it from.
    pub clock: SourceClock,
    /// The record's time in milliseconds since the Unix epoch, if it had one.
    pub record_ms: Option<i64>,
    /// Keyed hash of the visitor's id, which is not known any more.
    pub visitor_hash: Option<u64>,
}

impl<'a> Event<'a> {
    /// An event of which nothing more is known.
    pub fn new(site_id: impl Into<Cow<'a, str>>, kind: EventKind) -> Self {
        Self {
            site_id: site_id.into(),
            kind,
            name: None,
            visitor_id: None,
            path: None,
            timestamp_ms: None,
            wrong_unit: None,
            event_id: None,
            props: Texts::default(),
            source: None,
            revenue: None,
            scroll_depth: None,
            historical: false,
            routed: None,
        }
    }

    /// The same event with texts of its own.
    pub(crate) fn into_owned(self) -> Event<'static> {
        let owned = |text: Option<Cow<'a, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Event {
            site_id: Cow::Owned(self.site_id.into_owned()),
            name: owned(self.name),
            visitor_id: owned(self.visitor_id),
            path: owned(self.path),
            event_id: owned(self.event_id),
            props: self.props.into_owned(),
            source: owned(self.source),
            revenue: self.revenue.map(|revenue| Revenue {
                amount: Cow::Owned(revenue.amount.into_owned()),
                currency: Cow::Owned(revenue.currency.into_owned()),
            }),
            kind: self.kind,
            timestamp_ms: self.timestamp_ms,
            wrong_unit: self.wrong_unit,
            scroll_depth: self.scroll_depth,
            historical: self.historical,
            routed: self.routed,
        }
    }
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
        WebhookFailing = "webhook_failing",
        WebhookRecovered = "webhook_recovered",
        WebhookDisabled = "webhook_disabled",
    }
}

impl EventType {
    /// Types of the notifications with which an episode may begin.
    pub(crate) const WITH_EPISODES: [Self; 5] = [
        Self::GoalCompletion,
        Self::VisitorSpike,
        Self::VisitorDrop,
        Self::CustomEvent,
        Self::ErrorCondition,
    ];

    /// Types that a webhook may list under `events`.
    pub(crate) const SUBSCRIBABLE: [Self; 8] = [
        Self::GoalCompletion,
        Self::VisitorSpike,
        Self::VisitorDrop,
        Self::CustomEvent,
        Self::ErrorCondition,
        Self::WebhookFailing,
        Self::WebhookRecovered,
        Self::WebhookDisabled,
    ];

    /// True if it tells of the health of another webhook of the site.
    pub(crate) const fn is_health(self) -> bool {
        matches!(
            self,
            Self::WebhookFailing | Self::WebhookRecovered | Self::WebhookDisabled
        )
    }
}

//! Notifications that are due, ready to become deliveries.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::redact::redact;
use crate::domain::event::{Event, EventType};
use crate::domain::goal::Goal;
use crate::domain::id::{NotificationId, NotificationKind, WebhookId};
use crate::domain::notification::{Notification, NotificationData};
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::time::from_ms;

/// A notification that is due, with everything that its delivery records need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub(crate) id: NotificationId,
    pub(crate) event: EventType,
    pub(crate) site_id: SiteId,
    /// The canonical body.
    pub(crate) body: Bytes,
    /// The webhooks it goes to; never empty.
    pub(crate) webhooks: Vec<WebhookId>,
    /// Time of the deciding record, in milliseconds since the Unix epoch.
    pub(crate) created_at_ms: i64,
    /// Source number and offset of the deciding record; `None` when it is published again after a
    /// restart.
    pub(crate) record: Option<(usize, i64)>,
    /// Set if it depends on the site's state, and must be confirmed once its deliveries are
    /// published: the episode, or the notification's own id for each k-th event.
    pub(crate) episode: Option<Uuid>,
}

/// The place and the time of an event's record in Kafka.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordOrigin<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// Number of the topic among the sources.
    pub(crate) source: usize,
    pub(crate) offset: i64,
    /// The record's time, in milliseconds since the Unix epoch.
    pub(crate) record_ms: i64,
    /// The time that becomes part of ids, in milliseconds since the Unix epoch: the event's own if
    /// it has an id and its time is less than a day from the record's, else the record's.
    pub(crate) id_ms: i64,
    /// The event's time, in milliseconds since the Unix epoch.
    pub(crate) event_ms: i64,
}

impl RecordOrigin<'_> {
    /// The event's own id; without one, the record's coordinates.
    fn event_id(&self, event: &Event<'_>) -> String {
        match &event.event_id {
            Some(id) => id.clone().into_owned(),
            None => format!("{}/{}/{}", self.topic, self.partition, self.offset),
        }
    }
}

/// A goal that an event completes; it decides the id of the notification.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CompletedGoal<'a> {
    /// A goal that the site has configured.
    Configured(&'a Goal),
    /// A goal that only the event names. A third fact in its ids keeps them apart from those of
    /// configured goals.
    Published(&'a str),
}

/// The kind of a single event's notification, and the facts of its id that belong to the kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counting<'a> {
    /// Each event has one.
    Each,
    /// The event that reached a number of events, of so many visitors.
    Reached { visitors: u32, facts: &'a [u8] },
}

/// Notification of a single event, before it is known whom it reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SingleEvent<'a> {
    pub(crate) site: &'a Site,
    pub(crate) event: &'a Event<'a>,
    pub(crate) origin: RecordOrigin<'a>,
    pub(crate) counting: Counting<'a>,
}

impl SingleEvent<'_> {
    /// Builds the notification of a completed goal.
    pub(crate) fn goal_completion(&self, goal: CompletedGoal<'_>, webhooks: Vec<WebhookId>) -> Decision {
        let event_id = self.origin.event_id(self.event);
        let row_id;
        let (name, props, mut keys): (&str, _, Vec<&[u8]>) = match goal {
            CompletedGoal::Configured(goal) => {
                row_id = goal.id.uuid().into_bytes();
                let props = (!goal.props.is_empty()).then(|| expected_props(goal));
                (&goal.name, props, vec![event_id.as_bytes(), &row_id])
            }
            CompletedGoal::Published(name) => (
                name,
                None,
                vec![event_id.as_bytes(), b"published", name.as_bytes()],
            ),
        };
        let path = self.path();
        let data = NotificationData::GoalCompletion {
            goal_name: name,
            visitor_count: self.visitors(),
            path: path.as_deref(),
            count: None,
            revenue: self.event.revenue.as_ref(),
            props,
        };
        self.add_keys(&mut keys);
        self.decision(EventType::GoalCompletion, data, &keys, webhooks)
    }

    /// Builds the notification of a custom event.
    pub(crate) fn custom_event(&self, name: &str, webhooks: Vec<WebhookId>) -> Decision {
        let path = self.path();
        let data = NotificationData::CustomEvent {
            name,
            path: path.as_deref(),
            visitor_count: self.visitors(),
            count: None,
        };
        let event_id = self.origin.event_id(self.event);
        let mut keys = vec![event_id.as_bytes()];
        self.add_keys(&mut keys);
        self.decision(EventType::CustomEvent, data, &keys, webhooks)
    }

    /// The event's path, unless the site keeps paths to itself.
    fn path(&self) -> Option<Cow<'_, str>> {
        let path = self.event.path.as_deref().filter(|_| self.site.include_paths);
        path.map(redact)
    }

    fn visitors(&self) -> u32 {
        match self.counting {
            Counting::Each => 1,
            Counting::Reached { visitors, .. } => visitors,
        }
    }

    fn add_keys<'k>(&'k self, keys: &mut Vec<&'k [u8]>) {
        if let Counting::Reached { facts, .. } = self.counting {
            keys.push(facts);
        }
    }

    fn decision(
        &self,
        event: EventType,
        data: NotificationData<'_>,
        keys: &[&[u8]],
        webhooks: Vec<WebhookId>,
    ) -> Decision {
        let Self { site, origin, .. } = *self;
        let kind = match self.counting {
            Counting::Each => NotificationKind::Each,
            Counting::Reached { .. } => NotificationKind::Count,
        };
        let id = NotificationId::derive(origin.id_ms, site.id.as_str(), event.as_str(), kind, keys);
        Decision {
            id,
            event,
            site_id: site.id.clone(),
            body: body(site, id, event, origin.event_ms, data),
            webhooks,
            created_at_ms: origin.record_ms,
            record: Some((origin.source, origin.offset)),
            episode: None,
        }
    }
}

/// The properties that a goal asks for. Equality is the only filter, so the event has the same
/// values.
fn expected_props(goal: &Goal) -> Map<String, Value> {
    goal.props
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect()
}

/// Builds the canonical body of a notification.
pub(crate) fn body(
    site: &Site,
    id: NotificationId,
    event: EventType,
    at_ms: i64,
    data: NotificationData<'_>,
) -> Bytes {
    Notification {
        id,
        event,
        site_id: site.id.clone(),
        site_name: site.name.as_deref(),
        link: site.link.as_deref(),
        timestamp: from_ms(at_ms),
        data,
    }
    .to_body()
    .into()
}

//! What detection decides: notifications that are due, ready to become deliveries.

use bytes::Bytes;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::redact::redact;
use super::site::matches::subscribes;
use crate::domain::event::{Event, EventType};
use crate::domain::goal::Goal;
use crate::domain::id::{NotificationId, NotificationKind, WebhookId};
use crate::domain::notification::{Notification, NotificationData};
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::time::from_ms;

/// A notification, the webhooks it goes to, and what its delivery records need beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub(crate) id: NotificationId,
    pub(crate) event: EventType,
    pub(crate) site_id: SiteId,
    /// The canonical body.
    pub(crate) body: Bytes,
    /// Never empty.
    pub(crate) webhooks: Vec<WebhookId>,
    /// When it was decided, milliseconds since the Unix epoch: the deciding record's time.
    pub(crate) created_at_ms: i64,
    /// The deciding record: number of its source, and offset. `None` for one published again after a restart.
    pub(crate) record: Option<(usize, i64)>,
    /// Set on the notification of an episode, which must not be published before the state that came with it is
    /// acknowledged, and is to be confirmed when its deliveries are.
    pub(crate) episode: Option<Uuid>,
}

/// Where an event stood in Kafka, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// Number of the topic among the sources.
    pub(crate) source: usize,
    pub(crate) offset: i64,
    /// The record's time.
    pub(crate) record_ms: i64,
    /// The event's time.
    pub(crate) event_ms: i64,
}

impl Origin<'_> {
    /// The event's own id, or the record's coordinates.
    fn event_id(&self, event: &Event<'_>) -> String {
        match &event.event_id {
            Some(id) => id.clone().into_owned(),
            None => format!("{}/{}/{}", self.topic, self.partition, self.offset),
        }
    }
}

/// What names a goal in the id of its completions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CompletedGoal<'a> {
    /// One that the site has configured.
    Configured(&'a Goal),
    /// One that only the event knows, by name. The third fact keeps its ids apart from those of configured goals.
    Published(&'a str),
}

/// The webhooks that take an event of this type and name: switched on, subscribed, and active since before the record.
/// One that Bellwether disabled takes it too: the deliverer records what it misses.
pub(crate) fn takers(site: &Site, event: EventType, name: &str, record_ms: i64) -> Vec<WebhookId> {
    site.webhooks
        .iter()
        .filter(|webhook| webhook.enabled && webhook.active_since_ms <= record_ms)
        .filter(|webhook| subscribes(&webhook.triggers, event, name))
        .map(|webhook| webhook.id)
        .collect()
}

/// A goal was completed.
pub(crate) fn goal_completion(
    site: &Site,
    event: &Event<'_>,
    goal: CompletedGoal<'_>,
    origin: Origin<'_>,
    webhooks: Vec<WebhookId>,
) -> Decision {
    let event_id = origin.event_id(event);
    let row_id;
    let (name, props, keys): (&str, _, &[&[u8]]) = match goal {
        CompletedGoal::Configured(goal) => {
            row_id = goal.id.uuid().into_bytes();
            let props = (!goal.props.is_empty()).then(|| asked_for(goal));
            (&goal.name, props, &[event_id.as_bytes(), &row_id])
        }
        CompletedGoal::Published(name) => (name, None, &[event_id.as_bytes(), b"published", name.as_bytes()]),
    };
    let path = event.path.as_deref().map(redact);
    let data = NotificationData::GoalCompletion {
        goal_name: name,
        visitor_count: 1,
        path: path.as_deref(),
        revenue: event.revenue.as_ref(),
        props,
    };
    each(site, EventType::GoalCompletion, data, keys, origin, webhooks)
}

/// A custom event came.
pub(crate) fn custom_event(
    site: &Site,
    event: &Event<'_>,
    name: &str,
    origin: Origin<'_>,
    webhooks: Vec<WebhookId>,
) -> Decision {
    let path = event.path.as_deref().map(redact);
    let data = NotificationData::CustomEvent {
        name,
        path: path.as_deref(),
        visitor_count: 1,
    };
    let event_id = origin.event_id(event);
    let keys = [event_id.as_bytes()];
    each(site, EventType::CustomEvent, data, &keys, origin, webhooks)
}

/// Equality is the only filter there is, so the goal's values are the event's.
fn asked_for(goal: &Goal) -> Map<String, Value> {
    goal.props
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect()
}

fn each(
    site: &Site,
    event: EventType,
    data: NotificationData<'_>,
    keys: &[&[u8]],
    origin: Origin<'_>,
    webhooks: Vec<WebhookId>,
) -> Decision {
    let id = NotificationId::derive(
        origin.record_ms,
        site.id.as_str(),
        event.as_str(),
        NotificationKind::Each,
        keys,
    );
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

/// The canonical body of a notification of this site.
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
        timestamp: from_ms(at_ms),
        data,
    }
    .to_body()
    .into()
}

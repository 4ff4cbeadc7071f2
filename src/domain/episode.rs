//! An episode of a trigger, as the history of alerts shows it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::event::EventType;
use super::id::{NotificationId, WebhookId};
use super::site::SiteId;

/// One continuous breach of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeEntry {
    pub id: Uuid,
    pub site_id: SiteId,
    pub event: EventType,
    /// The settings of the trigger, as the API shows them.
    pub trigger: Value,
    /// Webhooks that had the trigger when the episode began.
    pub webhooks: Vec<WebhookId>,
    pub started_at: DateTime<Utc>,
    /// When the trigger was armed again; `None` while the episode lasts.
    pub ended_at: Option<DateTime<Utc>>,
    /// The highest count so far, the lowest of a drop.
    pub peak: u32,
    /// The figure that was reached.
    pub threshold: Option<f64>,
    /// Count that was usual when the episode began.
    pub expected: Option<f64>,
    /// 1 and more is a deviation that fires by itself.
    pub score: Option<f64>,
    /// The notification of its beginning; `None` as long as the episode is suppressed.
    pub notification: Option<NotificationId>,
}

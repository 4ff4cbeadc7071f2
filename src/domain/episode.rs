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

impl EpisodeEntry {
    /// Adds the end, the notification and the peak of a later entry of the same episode.
    pub(crate) fn take_later(&mut self, later: &Self) {
        self.peak = later.peak;
        self.ended_at = self.ended_at.or(later.ended_at);
        self.notification = self.notification.or(later.notification);
    }
}

/// The parts of an episode's row, as it was saved, that may change while it lasts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedEpisode {
    pub(crate) id: Uuid,
    pub(crate) site_id: SiteId,
    ended_at: Option<DateTime<Utc>>,
    notification: Option<NotificationId>,
}

impl SavedEpisode {
    /// The parts of a row.
    pub(crate) fn of(row: &EpisodeEntry) -> Self {
        Self {
            id: row.id,
            site_id: row.site_id.clone(),
            ended_at: row.ended_at,
            notification: row.notification,
        }
    }

    /// True if nothing of a row is unsaved.
    pub(crate) fn has_all_of(&self, row: &EpisodeEntry) -> bool {
        self.id == row.id && self.ended_at == row.ended_at && self.notification == row.notification
    }
}

/// A site of which all episodes are known: of its rows that are open, the others are of nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledSite {
    pub site_id: SiteId,
    /// By then the others had ended, as far as is known.
    pub ended_by: DateTime<Utc>,
    /// Episodes that began at or after this second may be unknown.
    pub known_from: DateTime<Utc>,
    /// Episodes that go on, and those whose end may not be saved yet.
    pub known: Vec<Uuid>,
}

//! The stored form of a row of the history of alerts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::raw;
use crate::domain::episode::EpisodeEntry;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, WebhookId};
use crate::domain::site::SiteId;
use crate::domain::time::from_second;

/// A row that is not known to be in Postgres. Times are whole seconds since the Unix epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredRow {
    id: Uuid,
    event: EventType,
    trigger: Value,
    webhooks: Vec<WebhookId>,
    started_at: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<u32>,
    peak: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notification: Option<NotificationId>,
}

impl StoredRow {
    /// Writes a row.
    pub(crate) fn to_raw(row: &EpisodeEntry) -> Box<RawValue> {
        raw(&Self {
            id: row.id,
            event: row.event,
            trigger: row.trigger.clone(),
            webhooks: row.webhooks.clone(),
            started_at: second(row.started_at),
            ended_at: row.ended_at.map(second),
            peak: row.peak,
            threshold: row.threshold,
            expected: row.expected,
            score: row.score,
            notification: row.notification,
        })
    }

    /// Reads a row of a site; `None` if only a newer version knows it.
    pub(crate) fn read(raw: &RawValue, site_id: &SiteId) -> Option<EpisodeEntry> {
        let row: Self = serde_json::from_str(raw.get()).ok()?;
        Some(EpisodeEntry {
            id: row.id,
            site_id: site_id.clone(),
            event: row.event,
            trigger: row.trigger,
            webhooks: row.webhooks,
            started_at: from_second(row.started_at),
            ended_at: row.ended_at.map(from_second),
            peak: row.peak,
            threshold: row.threshold,
            expected: row.expected,
            score: row.score,
            notification: row.notification,
        })
    }
}

/// Episodes begin and end at the seconds of their site's clock.
fn second(time: DateTime<Utc>) -> u32 {
    u32::try_from(time.timestamp()).unwrap_or(0)
}

//! The stored form of a notification that is not confirmed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::detect::notification::Decision;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, WebhookId};
use crate::domain::site::SiteId;

/// A notification of an episode whose deliveries are not known to be published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredDecision {
    episode: Uuid,
    notification: NotificationId,
    event: EventType,
    webhooks: Vec<WebhookId>,
    created_at_ms: i64,
    /// Kept byte for byte.
    body: Box<RawValue>,
}

impl StoredDecision {
    pub(crate) fn new(episode: Uuid, decision: &Decision) -> Self {
        let text = String::from_utf8_lossy(&decision.body).into_owned();
        Self {
            episode,
            notification: decision.id,
            event: decision.event,
            webhooks: decision.webhooks.clone(),
            created_at_ms: decision.created_at_ms,
            body: RawValue::from_string(text).expect("a body is JSON"),
        }
    }

    /// Reads a notification; `None` if only a newer version knows it.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// Writes it.
    pub(crate) fn to_raw(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).expect("plain data with string keys always becomes JSON")
    }

    pub(crate) fn into_decision(self, site_id: SiteId) -> (Uuid, Decision) {
        let decision = Decision {
            id: self.notification,
            event: self.event,
            site_id,
            body: Bytes::copy_from_slice(self.body.get().as_bytes()),
            webhooks: self.webhooks,
            created_at_ms: self.created_at_ms,
            record: None,
            episode: Some(self.episode),
        };
        (self.episode, decision)
    }
}

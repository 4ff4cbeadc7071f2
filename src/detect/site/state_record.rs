//! The record of a site's episodes on the state topic: one JSON object a site, replaced whole.
//!
//! ```json
//! {"v":1,"site":"example.com","clock":1772020800,"covered":{"analytics.events":4711},
//!  "firing":[{"event":"visitor_spike","threshold":500,"window_seconds":300,
//!             "webhooks":["wh_…"],"calm_since":null,
//!             "episode":{"id":"…","started_at":1772020791,"decided_at_ms":1772020791240}}],
//!  "unconfirmed":[{"episode":"…","notification":"evt_…","event":"visitor_spike",
//!                  "webhooks":["wh_…"],"created_at_ms":1772020791240,"body":{…}}]}
//! ```
//!
//! An armed trigger is not listed: a trigger of which nothing is stored is armed. A record in which
//! nothing fires still matters for its `covered`: up to there nothing is decided again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::detect::notification::Decision;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, WebhookId};
use crate::domain::site::SiteId;

/// Version that is written, and the newest that is read.
const VERSION: u32 = 1;

/// Reason why a state record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Written by a newer version: it must be kept and not be overwritten.
    #[error("the state of a site has version {found}, this program reads up to {VERSION}")]
    Newer { found: u32 },
    /// Not a state record.
    #[error("not a state record: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// A site's state, to be written and acknowledged before the decisions in it are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateRecord {
    /// The record's key.
    pub(crate) site_id: SiteId,
    /// `None` is a tombstone: the site is deleted.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Notifications of episodes that are in `bytes` for the first time.
    pub(crate) decisions: Vec<Decision>,
}

/// The content of a state record.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredState {
    v: u32,
    pub(crate) site: SiteId,
    /// ⌊τ⌋ at the time of writing, in seconds since the Unix epoch.
    pub(crate) clock: u32,
    /// For each source topic, the offset of the last record that this state accounts for.
    pub(crate) covered: BTreeMap<String, i64>,
    pub(crate) firing: Vec<StoredTrigger>,
    pub(crate) unconfirmed: Vec<StoredDecision>,
}

/// A trigger that is firing.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTrigger {
    pub(crate) event: EventType,
    pub(crate) threshold: u32,
    pub(crate) window_seconds: u32,
    pub(crate) webhooks: Vec<WebhookId>,
    pub(crate) calm_since: Option<u32>,
    pub(crate) episode: StoredEpisode,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEpisode {
    pub(crate) id: Uuid,
    pub(crate) started_at: u32,
    pub(crate) decided_at_ms: Option<i64>,
}

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

impl StoredState {
    pub(crate) fn new(site: SiteId, clock: u32, covered: BTreeMap<String, i64>) -> Self {
        Self {
            v: VERSION,
            site,
            clock,
            covered,
            firing: Vec::new(),
            unconfirmed: Vec::new(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with string keys always becomes JSON")
    }

    /// Reads a record; total over every byte string.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // The version is read first: the rest of a newer record may have any form.
        let Version { v } = serde_json::from_slice(bytes)?;
        if v > VERSION {
            return Err(StateError::Newer { found: v });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
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

#[cfg(test)]
mod tests;

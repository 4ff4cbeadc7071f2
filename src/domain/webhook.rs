//! A webhook: a site's configured endpoint.

use chrono::{DateTime, Utc};

use super::event::EventType;
use super::id::WebhookId;
use super::secret::{Hidden, Secret};
use super::site::SiteId;
use super::target::TargetUrl;
use super::trigger::Triggers;

/// Webhooks a site may have, unless configured otherwise.
pub const DEFAULT_MAX_PER_SITE: u32 = 10;

/// A webhook as the stages need it: decrypted, within every limit.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub id: WebhookId,
    pub site_id: SiteId,
    pub url: TargetUrl,
    /// Signs; during a rotation's overlap the old one.
    pub secret: Secret,
    /// During a rotation's overlap the new one.
    pub next_secret: Option<Secret>,
    /// The owner's own headers, each of which passed `deliver::own_headers`; values are hidden.
    pub headers: Vec<(String, Hidden)>,
    pub triggers: Triggers,
    pub enabled: bool,
    /// Events whose record is older than this (milliseconds since the Unix epoch) do not reach it: its creation or last enabling.
    pub active_since_ms: i64,
    /// Name of a schedule in the configuration.
    pub retry_schedule: String,
    /// Overrides the event type's own limit on a delivery's age.
    pub max_age_seconds: Option<u32>,
    pub updated_at: DateTime<Utc>,
}

impl Webhook {
    /// Whether the webhook subscribes to `event`.
    pub fn subscribes_to(&self, event: EventType) -> bool {
        match event {
            EventType::GoalCompletion => self.triggers.goal_completion.is_some(),
            EventType::VisitorSpike => self.triggers.visitor_spike.is_some(),
            EventType::CustomEvent => self.triggers.custom_event.is_some(),
            EventType::Test => true,
        }
    }

    /// Oldest age, in seconds, at which a notification of this type is still sent: 6 h for spikes, else no limit.
    pub fn max_age_seconds(&self, event: EventType) -> Option<u32> {
        self.max_age_seconds.or(match event {
            EventType::VisitorSpike => Some(6 * 3_600),
            EventType::GoalCompletion | EventType::CustomEvent | EventType::Test => None,
        })
    }
}

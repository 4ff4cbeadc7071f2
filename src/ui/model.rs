//! Answers of the API, as pages read them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Listed<T> {
    pub(super) data: Vec<T>,
    pub(super) next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct SiteView {
    pub(super) site_id: String,
    pub(super) name: Option<String>,
    pub(super) time_zone: String,
    #[serde(default)]
    pub(super) first_event_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) include_paths: bool,
    pub(super) last_event_at: Option<DateTime<Utc>>,
    /// Number of webhooks by their state of health.
    #[serde(default)]
    pub(super) webhooks: Map<String, Value>,
    #[serde(default)]
    pub(super) open_episodes: u64,
}

impl SiteView {
    /// Its name, or its id.
    pub(super) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.site_id)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WebhookView {
    pub(super) id: String,
    pub(super) name: String,
    /// Masked.
    pub(super) url: String,
    pub(super) format: String,
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    pub(super) events: Vec<String>,
    #[serde(default)]
    pub(super) triggers: Map<String, Value>,
    pub(super) failure_threshold: u32,
    pub(super) rate_limit_per_second: Option<u32>,
    pub(super) max_concurrency: u32,
    pub(super) retry_schedule: String,
    pub(super) max_age_seconds: Option<u32>,
    pub(super) paused_until: Option<DateTime<Utc>>,
    pub(super) secret_overlap_until: Option<DateTime<Utc>>,
    pub(super) health: HealthView,
    #[serde(default)]
    pub(super) warnings: Vec<Warned>,
    pub(super) inserted_at: Option<DateTime<Utc>>,
    /// The newest deliveries, if they were asked for.
    #[serde(default)]
    pub(super) recent: Vec<DeliveryView>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct HealthView {
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) next_probe_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) waiting: u64,
    pub(super) last_success_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) consecutive_failures: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Warned {
    pub(super) code: String,
    pub(super) detail: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DeliveryView {
    pub(super) id: String,
    pub(super) notification_id: String,
    pub(super) event_type: String,
    pub(super) status: String,
    pub(super) response_code: Option<u16>,
    pub(super) attempts: u64,
    pub(super) result: Option<String>,
    pub(super) latency_ms: Option<i64>,
    pub(super) failure_reason: Option<String>,
    pub(super) next_retry_at: Option<DateTime<Utc>>,
    pub(super) parked_until: Option<DateTime<Utc>>,
    pub(super) parked_reason: Option<String>,
    pub(super) resend_of: Option<String>,
    /// As it was signed.
    pub(super) payload: Option<Box<RawValue>>,
    pub(super) created_at: DateTime<Utc>,
    /// Deliveries by which it was sent again.
    #[serde(default)]
    pub(super) resends: Vec<String>,
    #[serde(default)]
    pub(super) attempt_log: Vec<AttemptView>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AttemptView {
    pub(super) attempt: u64,
    pub(super) response_code: Option<u16>,
    pub(super) result: String,
    pub(super) fault: String,
    pub(super) error: Option<String>,
    pub(super) url: Option<String>,
    pub(super) remote_address: Option<String>,
    pub(super) due_at: DateTime<Utc>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: DateTime<Utc>,
    pub(super) retry_at: Option<DateTime<Utc>>,
    pub(super) possible_repeat: bool,
    pub(super) dns_ms: Option<i64>,
    pub(super) connect_ms: Option<i64>,
    pub(super) tls_ms: Option<i64>,
    pub(super) response_ms: Option<i64>,
    pub(super) response: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct GoalView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) event: Option<String>,
    pub(super) path: Option<String>,
    pub(super) scroll_threshold: Option<u64>,
    #[serde(default)]
    pub(super) props: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AlertView {
    pub(super) event: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    pub(super) peak: u64,
    pub(super) threshold: Option<f64>,
    #[serde(default)]
    pub(super) webhook_ids: Vec<String>,
    #[serde(default)]
    pub(super) suppressed: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Status {
    /// `None` while it is not known.
    pub(super) current_visitors: Option<u64>,
    pub(super) as_of: Option<DateTime<Utc>>,
    pub(super) baseline: Option<UsualView>,
    pub(super) last_event_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) triggers: Vec<TriggerView>,
    #[serde(default)]
    pub(super) source_silent_since: Option<DateTime<Utc>>,
}

/// Age up to which a count is the present: sites are written every ten seconds, and pages ask every
/// five.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// True for a count of this age that may be called live.
pub(super) fn is_fresh(age: TimeDelta) -> bool {
    age <= FRESH
}

impl Status {
    /// Visitors at `as_of`; `None` if nobody has counted them.
    pub(super) fn visitors(&self) -> Option<u64> {
        self.as_of.and(self.current_visitors)
    }

    /// The lowest number of visitors at which a spike fires.
    pub(super) fn fires_at(&self) -> Option<u64> {
        let spikes = self
            .triggers
            .iter()
            .filter(|trigger| trigger.event == "visitor_spike");
        spikes.filter_map(|trigger| trigger.threshold).min()
    }
}

/// The usual number of visitors at this hour.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UsualView {
    pub(super) status: String,
    pub(super) expected: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct TriggerView {
    pub(super) webhook_id: String,
    pub(super) event: String,
    pub(super) state: String,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) threshold: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Activity {
    pub(super) data: Vec<ActivityPoint>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ActivityPoint {
    pub(super) at: DateTime<Utc>,
    pub(super) visitors: Option<u64>,
}

/// Secrets as the API shows them.
#[derive(Debug, Deserialize)]
pub(super) struct ShownSecret {
    pub(super) secret: String,
    pub(super) standard_webhooks_secret: Option<String>,
    pub(super) next: Option<Box<ShownSecret>>,
}

/// The outcome of a test.
#[derive(Debug, Deserialize)]
pub(super) struct TestOutcome {
    pub(super) delivery_id: String,
    pub(super) status: String,
    pub(super) response_code: Option<u16>,
    pub(super) result: String,
    pub(super) error: Option<String>,
    pub(super) latency_ms: Option<i64>,
    pub(super) response: Option<String>,
}

/// A recovery and its progress.
#[derive(Debug, Deserialize)]
pub(super) struct RecoveryView {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) total: i64,
    pub(super) sent: i64,
    pub(super) skipped: i64,
}

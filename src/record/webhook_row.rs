//! Conversion between the row of a webhook, which is partly ciphertext, and its types.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::health::{HealthReason, HealthState};
use crate::domain::id::WebhookId;
use crate::domain::secret::{Hidden, Secret};
use crate::domain::site::SiteId;
use crate::domain::target::TargetUrl;
use crate::domain::trigger::Triggers;
use crate::domain::webhook::{NextSecret, SendLimits, Subscription, Webhook, WebhookSettings};
use crate::domain::words::words;

use super::keyring::{Keyring, OpenError, Place};

/// A webhook that is not deleted, with the other columns of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRecord {
    pub(crate) id: WebhookId,
    pub(crate) site_id: String,
    /// Settings by the owner. Nothing is sent while the webhook is `disabled`.
    pub(crate) settings: WebhookSettings,
    /// When its owner switched it off, if it is not enabled.
    pub(crate) switched_off_at: DateTime<Utc>,
    /// Time and reason of being disabled by Bellwether itself.
    pub disabled: Option<(DateTime<Utc>, String)>,
    pub(crate) health: HealthColumns,
    pub(crate) active_since: DateTime<Utc>,
    /// End of a rotation's overlap, if one goes on.
    pub(crate) secret_overlap_until: Option<DateTime<Utc>>,
    /// Beginning of the last pause, if it is known.
    pub(crate) paused_at: Option<DateTime<Utc>>,
    /// End of the last pause, if it was lifted; the last edit, if that is not known.
    pub(crate) pause_lifted_at: DateTime<Utc>,
    /// When its owner last changed the URL, if ever.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl WebhookRecord {
    /// Makes the webhook as the stages need it.
    pub(crate) fn into_webhook(
        self,
        site_id: SiteId,
        include_paths: bool,
        secret: Secret,
        next_secret: Option<NextSecret>,
    ) -> Webhook {
        let settings = self.settings;
        Webhook {
            id: self.id,
            site_id,
            url: settings.url,
            secret,
            next_secret,
            headers: settings.headers,
            enabled: settings.enabled,
            disabled: self.disabled.is_some(),
            active_since_ms: self.active_since.timestamp_millis(),
            format: settings.format,
            include_paths,
            retry_schedule: settings.retry_schedule,
            max_age_seconds: settings.max_age_seconds,
            limits: SendLimits {
                max_concurrency: settings.max_concurrency,
                rate_per_second: settings.rate_limit_per_second,
                failure_threshold: settings.failure_threshold,
                paused_until_ms: settings.paused_until.map(|at| at.timestamp_millis()),
            },
            paused_at: self.paused_at,
            pause_lifted_at: self.pause_lifted_at,
            url_changed_at: self.url_changed_at,
        }
    }
}

words! {
    /// Part that a secret plays for its webhook.
    pub(crate) enum SecretRole {
        Current = "current",
        /// The new one, during a rotation's overlap.
        Next = "next",
    }
}

/// Health of an endpoint, as the deliverer last wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthColumns {
    pub(crate) state: HealthState,
    pub(crate) reason: Option<HealthReason>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) next_probe_at: Option<DateTime<Utc>>,
    /// Deliveries that wait in Postgres.
    pub(crate) waiting: i64,
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    pub(crate) consecutive_failures: i32,
}

/// A stored webhook that cannot be read. It names the part at fault, never the content.
#[derive(Debug, thiserror::Error)]
#[error("the {part} of webhook {id} cannot be read{}", .cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct UnreadableWebhook {
    pub(crate) id: WebhookId,
    pub(crate) part: &'static str,
    pub(crate) cause: Option<OpenError>,
}

impl UnreadableWebhook {
    /// True if a key is missing here that another process may have.
    pub(crate) fn lacks_key(&self) -> bool {
        matches!(self.cause, Some(OpenError::UnknownKey(_)))
    }
}

/// Columns of a webhook that is not deleted.
pub(super) struct WebhookRow {
    pub(super) id: Uuid,
    pub(super) site_id: String,
    pub(super) name: String,
    pub(super) url: Option<Vec<u8>>,
    pub(super) headers: Option<Vec<u8>>,
    pub(super) format: String,
    pub(super) events: Vec<String>,
    pub(super) triggers: Value,
    pub(super) enabled: bool,
    pub(super) switched_off_at: DateTime<Utc>,
    pub(super) disabled_at: Option<DateTime<Utc>>,
    pub(super) disabled_reason: Option<String>,
    pub(super) failure_threshold: i32,
    pub(super) rate_limit_per_second: Option<i32>,
    pub(super) rate_limit_is_set: bool,
    pub(super) max_concurrency: i32,
    pub(super) retry_schedule: String,
    pub(super) max_age_seconds: Option<i32>,
    pub(super) active_since: DateTime<Utc>,
    pub(super) health_state: Option<String>,
    pub(super) health_reason: Option<String>,
    pub(super) health_since: Option<DateTime<Utc>>,
    pub(super) next_probe_at: Option<DateTime<Utc>>,
    pub(super) waiting: Option<i64>,
    pub(super) last_success_at: Option<DateTime<Utc>>,
    pub(super) consecutive_failures: Option<i32>,
    pub(super) inserted_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) external_id: Option<String>,
    pub(super) paused_until: Option<DateTime<Utc>>,
    pub(super) paused_at: Option<DateTime<Utc>>,
    pub(super) pause_lifted_at: DateTime<Utc>,
    pub(super) url_changed_at: Option<DateTime<Utc>>,
    pub(super) overlap_until: Option<DateTime<Utc>>,
}

impl WebhookRow {
    /// Reads what detection needs, of which nothing is encrypted.
    pub(super) fn subscription(&self) -> Result<Subscription, UnreadableWebhook> {
        Ok(Subscription {
            id: WebhookId::from_uuid(self.id),
            triggers: self.open_triggers()?.1,
            enabled: self.enabled,
            disabled: self.disabled_at.is_some(),
            active_since_ms: self.active_since.timestamp_millis(),
        })
    }

    fn open_triggers(&self) -> Result<(Vec<EventType>, Triggers), UnreadableWebhook> {
        let events: Option<Vec<EventType>> = self.events.iter().map(|event| event.parse().ok()).collect();
        let events = events.ok_or_else(|| self.broken("events"))?;
        let triggers = Triggers::from_json(&events, &self.triggers);
        Ok((events, triggers.ok_or_else(|| self.broken("triggers"))?))
    }

    /// Decrypts and reads the row.
    pub(super) fn into_record(self, keyring: &Keyring) -> Result<WebhookRecord, UnreadableWebhook> {
        let url = self.open_url(keyring)?;
        let headers = self.open_headers(keyring)?;
        let broken = |part| self.broken(part);
        let format = self.format.parse().map_err(|_| broken("format"))?;
        let state = self
            .health_state
            .as_deref()
            .map_or(Ok(HealthState::New), str::parse);
        let state = state.map_err(|_| broken("health"))?;
        let reason = self.health_reason.as_deref().map(str::parse).transpose();
        let reason = reason.map_err(|_| broken("health"))?;
        let (events, triggers) = self.open_triggers()?;
        Ok(WebhookRecord {
            id: WebhookId::from_uuid(self.id),
            site_id: self.site_id,
            settings: WebhookSettings {
                name: self.name,
                url,
                format,
                headers,
                events,
                triggers,
                enabled: self.enabled,
                failure_threshold: self.failure_threshold.unsigned_abs(),
                rate_limit_per_second: self.rate_limit_per_second.map(i32::unsigned_abs),
                rate_limit_is_set: self.rate_limit_is_set,
                max_concurrency: self.max_concurrency.unsigned_abs(),
                retry_schedule: self.retry_schedule,
                max_age_seconds: self.max_age_seconds.map(i32::unsigned_abs),
                external_id: self.external_id,
                paused_until: self.paused_until,
            },
            secret_overlap_until: self.overlap_until,
            switched_off_at: self.switched_off_at,
            disabled: self.disabled_at.zip(self.disabled_reason),
            health: HealthColumns {
                state,
                reason,
                since: self.health_since,
                next_probe_at: self.next_probe_at,
                waiting: self.waiting.unwrap_or(0),
                last_success_at: self.last_success_at,
                consecutive_failures: self.consecutive_failures.unwrap_or(0),
            },
            active_since: self.active_since,
            paused_at: self.paused_at,
            pause_lifted_at: self.pause_lifted_at,
            url_changed_at: self.url_changed_at,
            inserted_at: self.inserted_at,
            updated_at: self.updated_at,
        })
    }

    fn open_url(&self, keyring: &Keyring) -> Result<TargetUrl, UnreadableWebhook> {
        let broken = || self.broken("url");
        let sealed = self.url.as_deref().ok_or_else(broken)?;
        let text = keyring
            .open_text(url_place(&self.id.to_string()), sealed)
            .map_err(|cause| self.unreadable("url", cause))?;
        TargetUrl::from_trusted(&text).map_err(|_| broken())
    }

    fn open_headers(&self, keyring: &Keyring) -> Result<Vec<(String, Hidden)>, UnreadableWebhook> {
        let Some(sealed) = self.headers.as_deref() else {
            return Ok(Vec::new());
        };
        let text = keyring
            .open_text(headers_place(&self.id.to_string()), sealed)
            .map_err(|cause| self.unreadable("headers", cause))?;
        headers_from_json(&text).ok_or_else(|| self.broken("headers"))
    }

    /// The error for a part that does not decrypt.
    fn unreadable(&self, part: &'static str, cause: OpenError) -> UnreadableWebhook {
        UnreadableWebhook {
            id: WebhookId::from_uuid(self.id),
            part,
            cause: Some(cause),
        }
    }

    /// The error for a part that this version cannot read.
    fn broken(&self, part: &'static str) -> UnreadableWebhook {
        UnreadableWebhook {
            id: WebhookId::from_uuid(self.id),
            part,
            cause: None,
        }
    }
}

/// Ciphertexts in a webhook's own row.
pub(super) struct SealedColumns {
    pub(super) url: Vec<u8>,
    pub(super) headers: Option<Vec<u8>>,
}

/// Encrypts the URL and the headers.
pub(super) fn seal_columns(keyring: &Keyring, id: WebhookId, settings: &WebhookSettings) -> SealedColumns {
    let row = id.uuid().to_string();
    SealedColumns {
        url: keyring.seal(url_place(&row), settings.url.reveal().as_str().as_bytes()),
        headers: (!settings.headers.is_empty())
            .then(|| keyring.seal(headers_place(&row), headers_to_json(&settings.headers).as_bytes())),
    }
}

/// The place of a webhook's secret; `row` comes from [`secret_row`].
pub(super) fn secret_place(row: &str) -> Place<'_> {
    Place {
        table: "webhook_secrets",
        column: "secret",
        row,
    }
}

/// The primary key of a secret as text.
pub(super) fn secret_row(webhook_id: Uuid, role: SecretRole) -> String {
    format!("{webhook_id}/{role}")
}

pub(super) fn url_place(row: &str) -> Place<'_> {
    Place {
        table: "webhooks",
        column: "url",
        row,
    }
}

pub(super) fn headers_place(row: &str) -> Place<'_> {
    Place {
        table: "webhooks",
        column: "headers",
        row,
    }
}

fn headers_to_json(headers: &[(String, Hidden)]) -> String {
    let pairs: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.reveal()))
        .collect();
    serde_json::to_string(&pairs).expect("pairs of text always become JSON")
}

fn headers_from_json(text: &str) -> Option<Vec<(String, Hidden)>> {
    let pairs: Vec<(String, String)> = serde_json::from_str(text).ok()?;
    Some(
        pairs
            .into_iter()
            .map(|(name, value)| (name, Hidden::new(value)))
            .collect(),
    )
}

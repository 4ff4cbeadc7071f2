//! A webhook between its row, which is partly ciphertext, and the types that the rest of the
//! program uses.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::secret::Hidden;
use crate::domain::target::TargetUrl;
use crate::domain::trigger::Triggers;
use crate::domain::webhook::{Format, WebhookSettings};
use crate::domain::words::words;

use super::keyring::{Keyring, OpenError, Place};

/// A webhook with what its row knows besides its settings. Deleted ones have none of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRecord {
    pub(crate) id: WebhookId,
    pub(crate) site_id: String,
    /// As the owner set it; whether anything is sent also depends on `disabled`.
    pub(crate) settings: WebhookSettings,
    /// Set when Bellwether itself switched the webhook off: when, and why.
    pub disabled: Option<(DateTime<Utc>, String)>,
    pub(crate) health: HealthColumns,
    pub(crate) active_since: DateTime<Utc>,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl WebhookRecord {
    /// True if notifications are sent to it.
    pub(crate) fn is_enabled(&self) -> bool {
        self.settings.enabled && self.disabled.is_none()
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

words! {
    /// State of a webhook's circuit.
    pub(crate) enum Circuit {
        Closed = "closed",
        Probing = "probing",
        Open = "open",
    }
}

/// State of an endpoint, as the deliverer last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthColumns {
    pub(crate) circuit: Circuit,
    pub(crate) circuit_reason: Option<String>,
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    pub(crate) consecutive_failures: i32,
}

/// A stored webhook that cannot be used. Names its part, never the content.
#[derive(Debug, thiserror::Error)]
#[error("the {part} of webhook {id} cannot be read{}", .cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct UnreadableWebhook {
    pub(crate) id: WebhookId,
    pub(crate) part: &'static str,
    pub(crate) cause: Option<OpenError>,
}

/// The columns of `webhooks` that make up a live webhook.
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
    pub(super) disabled_at: Option<DateTime<Utc>>,
    pub(super) disabled_reason: Option<String>,
    pub(super) failure_threshold: i32,
    pub(super) rate_limit_per_second: Option<i32>,
    pub(super) max_concurrency: i32,
    pub(super) retry_schedule: String,
    pub(super) max_age_seconds: Option<i32>,
    pub(super) active_since: DateTime<Utc>,
    pub(super) circuit: String,
    pub(super) circuit_reason: Option<String>,
    pub(super) last_success_at: Option<DateTime<Utc>>,
    pub(super) consecutive_failures: i32,
    pub(super) inserted_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl WebhookRow {
    /// Decrypts and reads the row.
    pub(super) fn into_record(self, keyring: &Keyring) -> Result<WebhookRecord, UnreadableWebhook> {
        let id = WebhookId::from_uuid(self.id);
        let row = self.id.to_string();
        let unreadable = |part| {
            move |cause| UnreadableWebhook {
                id,
                part,
                cause: Some(cause),
            }
        };
        let broken = |part| {
            move || UnreadableWebhook {
                id,
                part,
                cause: None,
            }
        };

        let url = self.url.as_deref().ok_or_else(broken("url"))?;
        let url = keyring
            .open_text(url_place(&row), url)
            .map_err(unreadable("url"))?;
        let url = TargetUrl::from_trusted(&url).map_err(|_| broken("url")())?;
        let headers = match self.headers.as_deref() {
            None => Vec::new(),
            Some(sealed) => {
                let text = keyring
                    .open_text(headers_place(&row), sealed)
                    .map_err(unreadable("headers"))?;
                headers_from_json(&text).ok_or_else(broken("headers"))?
            }
        };
        let format: Option<Format> = self.format.parse().ok();
        let events: Option<Vec<EventType>> = self.events.iter().map(|event| event.parse().ok()).collect();
        let events = events.ok_or_else(broken("events"))?;
        let triggers = Triggers::from_json(&events, &self.triggers).ok_or_else(broken("triggers"))?;
        Ok(WebhookRecord {
            id,
            site_id: self.site_id,
            settings: WebhookSettings {
                name: self.name,
                url,
                format: format.ok_or_else(broken("format"))?,
                headers,
                events,
                triggers,
                enabled: self.enabled,
                failure_threshold: self.failure_threshold.unsigned_abs(),
                rate_limit_per_second: self.rate_limit_per_second.map(i32::unsigned_abs),
                max_concurrency: self.max_concurrency.unsigned_abs(),
                retry_schedule: self.retry_schedule,
                max_age_seconds: self.max_age_seconds.map(i32::unsigned_abs),
            },
            disabled: self.disabled_at.zip(self.disabled_reason),
            health: HealthColumns {
                circuit: self.circuit.parse().map_err(|_| broken("circuit")())?,
                circuit_reason: self.circuit_reason,
                last_success_at: self.last_success_at,
                consecutive_failures: self.consecutive_failures,
            },
            active_since: self.active_since,
            inserted_at: self.inserted_at,
            updated_at: self.updated_at,
        })
    }
}

/// The ciphertexts of a webhook's own row.
pub(super) struct SealedColumns {
    pub(super) url: Vec<u8>,
    pub(super) headers: Option<Vec<u8>>,
}

/// Encrypts what must not be readable in the row.
pub(super) fn seal_columns(keyring: &Keyring, id: WebhookId, settings: &WebhookSettings) -> SealedColumns {
    let row = id.uuid().to_string();
    SealedColumns {
        url: keyring.seal(url_place(&row), settings.url.reveal().as_str().as_bytes()),
        headers: (!settings.headers.is_empty())
            .then(|| keyring.seal(headers_place(&row), headers_to_json(&settings.headers).as_bytes())),
    }
}

/// The place of a webhook's secret; `row` is [`secret_row`].
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

fn url_place(row: &str) -> Place<'_> {
    Place {
        table: "webhooks",
        column: "url",
        row,
    }
}

fn headers_place(row: &str) -> Place<'_> {
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

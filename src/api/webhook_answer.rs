//! A webhook as answers show it: without anything secret.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::secret::Secret;
use crate::domain::trigger::NameFilter;
use crate::domain::webhook::WebhookSettings;
use crate::record::sites::SiteRecord;
use crate::record::webhooks::{Circuit, WebhookRecord};

use super::answer::{Warning, optional_time, time};
use super::webhook_input::MASK;

/// A webhook without events for this long is worth a warning.
const RECENT: TimeDelta = TimeDelta::hours(24);

/// The webhook with its URL, secret and header values masked.
pub(super) fn masked(webhook: &WebhookRecord) -> Map<String, Value> {
    let settings = &webhook.settings;
    let headers: Map<String, Value> = settings
        .headers
        .iter()
        .map(|(name, _)| (name.clone(), MASK.into()))
        .collect();
    let events: Vec<&str> = settings.events.iter().map(|event| event.as_str()).collect();
    let (state, reason) = health(webhook);
    let answer = json!({
        "id": webhook.id,
        "site_id": webhook.site_id,
        "name": settings.name,
        "url": settings.url.masked(),
        "secret": MASK,
        "format": settings.format.as_str(),
        "headers": headers,
        "events": events,
        "triggers": settings.triggers.to_json(),
        "enabled": webhook.is_enabled(),
        "failure_threshold": settings.failure_threshold,
        "rate_limit_per_second": settings.rate_limit_per_second,
        "max_concurrency": settings.max_concurrency,
        "retry_schedule": settings.retry_schedule,
        "max_age_seconds": settings.max_age_seconds,
        "health": {
            "state": state,
            "reason": reason,
            "last_success_at": optional_time(webhook.health.last_success_at),
            "consecutive_failures": webhook.health.consecutive_failures,
        },
        "inserted_at": time(webhook.inserted_at),
        "updated_at": time(webhook.updated_at),
    });
    match answer {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The answer to creating it: the secret is shown, and in the form that Standard Webhooks libraries take.
pub(super) fn with_secret(
    webhook: &WebhookRecord,
    secret: &Secret,
    warnings: &[Warning],
) -> Map<String, Value> {
    let mut answer = masked(webhook);
    answer.insert("secret".to_owned(), secret.reveal().into());
    if let Some(standard) = secret.standard_form() {
        answer.insert("standard_webhooks_secret".to_owned(), standard.into());
    }
    answer.insert("warnings".to_owned(), json!(warnings));
    answer
}

/// One word for how the webhook does, and why when there is more to say.
fn health(webhook: &WebhookRecord) -> (&'static str, Option<&str>) {
    let health = &webhook.health;
    match &webhook.disabled {
        Some((_, reason)) => ("disabled", Some(reason)),
        None if !webhook.settings.enabled => ("disabled", Some("owner")),
        None if health.circuit != Circuit::Closed => ("open", health.circuit_reason.as_deref()),
        None if health.consecutive_failures > 0 => ("failing", None),
        None if health.last_success_at.is_none() => ("new", None),
        None => ("healthy", None),
    }
}

/// What the owner should know about these settings, although they are valid.
pub(super) fn warnings(
    settings: &WebhookSettings,
    new_secret: Option<&Secret>,
    unknown_goals: &[String],
    silent: bool,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if new_secret.is_some_and(Secret::is_short) {
        let detail =
            "This secret has under 24 characters. It works; a longer one is harder to guess.".to_owned();
        warnings.push(Warning {
            code: "short_secret",
            pointer: Some("/secret".to_owned()),
            detail,
        });
    }
    if let Some(NameFilter::Only(names)) = &settings.triggers.goal_completion {
        for (index, name) in names
            .iter()
            .enumerate()
            .filter(|(_, name)| unknown_goals.contains(name))
        {
            let detail =
                format!("The site has no goal `{name}` yet. A published goal of that name still counts.");
            let pointer = Some(format!("/triggers/goal_completion/goals/{index}"));
            warnings.push(Warning {
                code: "unknown_goal",
                pointer,
                detail,
            });
        }
    }
    if silent {
        let detail = "No event of this site was seen in the last 24 hours, so there is nothing to notify of. Does your \
                      producer publish this site_id?";
        warnings.push(Warning {
            code: "no_recent_events",
            pointer: None,
            detail: detail.to_owned(),
        });
    }
    warnings
}

/// No event in 24 hours. Events are noted of registered sites only, so one that is just being registered has none.
pub(super) fn is_silent(site: &SiteRecord, now: DateTime<Utc>) -> bool {
    site.last_event_at.is_none_or(|at| now - at > RECENT)
}

//! A webhook in answers.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::domain::health::{HealthReason, HealthState};
use crate::domain::secret::Secret;
use crate::domain::trigger::{NameFilter, NameTrigger};
use crate::domain::webhook::{DEFAULT_RETRY_SCHEDULE, Format, WebhookSettings};
use crate::domain::words::words;
use crate::record::sites::SiteRecord;
use crate::record::webhooks::WebhookRecord;

use super::answer::{optional_time, time};
use super::webhook_input::{MASK, STANDARD_SECRET, WebhookRules};

/// Time without events after which a site is silent.
const SILENT_AFTER: TimeDelta = TimeDelta::hours(24);

words! {
    /// The kind of a warning, for programs.
    pub(super) enum WarningCode {
        ShortSecret = "short_secret",
        ChatFormat = "chat_format",
        UnknownGoal = "unknown_goal",
        NoRecentEvents = "no_recent_events",
        UnknownRetrySchedule = "unknown_retry_schedule",
    }
}

/// A warning in the answer to a call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    code: WarningCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    detail: String,
}

/// The webhook with its URL, secret and header values masked.
pub(super) fn masked(webhook: &WebhookRecord) -> Map<String, Value> {
    let settings = &webhook.settings;
    let headers: Map<String, Value> = settings
        .headers
        .iter()
        .map(|(name, _)| (name.clone(), MASK.into()))
        .collect();
    let events: Vec<&str> = settings.events.iter().map(|event| event.as_str()).collect();
    let (state, reason, since) = health(webhook);
    // Of a webhook that is off nothing is tried.
    let next_probe_at = webhook
        .health
        .next_probe_at
        .filter(|_| state == HealthState::Open);
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
        "enabled": settings.enabled,
        "failure_threshold": settings.failure_threshold,
        "rate_limit_per_second": settings.rate_limit_per_second,
        "max_concurrency": settings.max_concurrency,
        "retry_schedule": settings.retry_schedule,
        "max_age_seconds": settings.max_age_seconds,
        "external_id": settings.external_id,
        "paused_until": optional_time(still_to_come(settings.paused_until)),
        "secret_overlap_until": optional_time(still_to_come(webhook.secret_overlap_until)),
        "health": {
            "state": state,
            "reason": reason,
            "since": optional_time(since),
            "next_probe_at": optional_time(next_probe_at),
            "waiting": webhook.health.waiting,
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

/// The end of what goes on; `None` once it has passed, whether or not it was tidied away yet.
fn still_to_come(until: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    until.filter(|until| *until > clock::now())
}

/// The webhook as answers show it, with the warning that holds as long as its schedule is missing.
pub(super) fn shown(webhook: &WebhookRecord, rules: &WebhookRules) -> Map<String, Value> {
    with_warnings(masked(webhook), &schedule_warning(&webhook.settings, rules))
}

/// The warning about a retry schedule that is not configured any more, if it is.
pub(super) fn schedule_warning(settings: &WebhookSettings, rules: &WebhookRules) -> Vec<Warning> {
    let name = &settings.retry_schedule;
    let warning = || Warning {
        code: WarningCode::UnknownRetrySchedule,
        pointer: Some("/retry_schedule".to_owned()),
        detail: format!(
            "The schedule `{name}` is not configured any more. Deliveries follow `{DEFAULT_RETRY_SCHEDULE}`."
        ),
    };
    let is_known = rules.retry_schedules.contains(name);
    (!is_known).then(warning).into_iter().collect()
}

/// The webhook with its secret, for the answer to the create.
pub(super) fn with_secret(webhook: &WebhookRecord, secret: &Secret) -> Map<String, Value> {
    let mut answer = masked(webhook);
    insert_secret(&mut answer, secret);
    answer
}

/// Shows a secret as it is, and in the form that Standard Webhooks libraries take if that is
/// another one.
pub(super) fn insert_secret(answer: &mut Map<String, Value>, secret: &Secret) {
    answer.insert("secret".to_owned(), secret.reveal().into());
    if let Some(standard) = secret.standard_form() {
        answer.insert(STANDARD_SECRET.to_owned(), standard.into());
    }
}

/// The warning about a secret that is easy to guess, if it is.
pub(super) fn short_secret_warning(secret: &Secret) -> Vec<Warning> {
    let warning = Warning {
        code: WarningCode::ShortSecret,
        pointer: Some("/secret".to_owned()),
        detail: "This secret has fewer than 24 characters. It works, but a longer one is harder to guess."
            .to_owned(),
    };
    secret.is_short().then_some(warning).into_iter().collect()
}

pub(super) fn with_warnings(mut answer: Map<String, Value>, warnings: &[Warning]) -> Map<String, Value> {
    answer.insert("warnings".to_owned(), json!(warnings));
    answer
}

/// The state of the webhook, its reason where there is one, and when it began.
fn health(webhook: &WebhookRecord) -> (HealthState, Option<&str>, Option<DateTime<Utc>>) {
    let health = &webhook.health;
    match &webhook.disabled {
        Some((at, reason)) => (HealthState::Disabled, Some(reason), Some(*at)),
        None if !webhook.settings.enabled => {
            let owner = Some(HealthReason::Owner.as_str());
            (HealthState::Disabled, owner, Some(webhook.switched_off_at))
        }
        // Switched on again, and the deliverer does not know it yet.
        None if health.state == HealthState::Disabled => (HealthState::New, None, Some(webhook.active_since)),
        None => {
            let reason = health.reason.map(HealthReason::as_str);
            (health.state, reason, health.since.or(Some(webhook.inserted_at)))
        }
    }
}

/// Warnings about settings that are valid but may not do what their owner expects.
pub(super) fn warnings(
    settings: &WebhookSettings,
    rules: &WebhookRules,
    new_secret: Option<&Secret>,
    unknown_goals: &[String],
    is_silent: bool,
) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = new_secret.map(short_secret_warning).unwrap_or_default();
    warnings.extend(schedule_warning(settings, rules));
    let chat_format = settings.url.reveal().host_str().and_then(Format::of_host);
    if let Some(chat_format) = chat_format.filter(|_| settings.format == Format::Json) {
        let detail =
            format!("This host takes messages, not events as JSON. Set `format` to `{chat_format}`.");
        warnings.push(Warning {
            code: WarningCode::ChatFormat,
            pointer: Some("/format".to_owned()),
            detail,
        });
    }
    warnings.extend(goal_warnings(settings, unknown_goals));
    if is_silent {
        let detail = "No event of this site arrived in the last 24 hours, so there is nothing to notify of. Check that \
                      your producer publishes events with this site_id.";
        warnings.push(Warning {
            code: WarningCode::NoRecentEvents,
            pointer: None,
            detail: detail.to_owned(),
        });
    }
    warnings
}

/// Warnings about goals that the webhook names and the site does not have.
pub(super) fn goal_warnings(settings: &WebhookSettings, unknown_goals: &[String]) -> Vec<Warning> {
    let is_unknown = |name: &str| unknown_goals.iter().any(|unknown| unknown == name);
    let warning = |pointer: String, detail: String| Warning {
        code: WarningCode::UnknownGoal,
        pointer: Some(pointer),
        detail,
    };
    let mut warnings = Vec::new();
    if let Some(name) = settings.triggers.silent_goal().filter(|name| is_unknown(name)) {
        let pointer = "/triggers/error_condition/silence/goal".to_owned();
        let detail = format!(
            "The site has no goal `{name}` yet, and so its silence is never noticed. A goal of that name that your \
             producer publishes counts all the same."
        );
        warnings.push(warning(pointer, detail));
    }
    if let Some(NameTrigger {
        names: NameFilter::Only(names),
        ..
    }) = &settings.triggers.goal_completion
    {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| is_unknown(name)) {
            let pointer = format!("/triggers/goal_completion/goals/{index}");
            let detail = format!(
                "The site has no goal `{name}` yet. A goal of that name that your producer publishes counts all the same."
            );
            warnings.push(warning(pointer, detail));
        }
    }
    warnings
}

/// True if no event of the site arrived in 24 hours. Events are recorded for registered sites only:
/// a site that is just being registered has none.
pub(super) fn is_silent(site: &SiteRecord, now: DateTime<Utc>) -> bool {
    site.last_event_at.is_none_or(|at| now - at > SILENT_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_list_every_state_of_health_and_every_warning() {
        let reference = include_str!("../../docs/api.md");
        for word in HealthState::WORDS.iter().chain(WarningCode::WORDS) {
            assert!(reference.contains(&format!("| `{word}` |")), "{word}");
        }
    }
}

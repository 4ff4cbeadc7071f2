//! Reading a webhook from a request's body: every field judged, every bad one named.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use crate::domain::own_headers::{InvalidHeader, MAX_OWN_HEADERS, check_own_header};
use crate::domain::secret::{Hidden, InvalidSecret, Secret};
use crate::domain::target::{TargetRules, TargetUrl};
use crate::domain::webhook::{
    DEFAULT_FAILURE_THRESHOLD, DEFAULT_MAX_CONCURRENCY, DEFAULT_RATE_LIMIT_PER_SECOND,
    DEFAULT_RETRY_SCHEDULE, Format, MAX_NAME_CHARS, WebhookSettings,
};

use super::trigger_input::{read_events, read_triggers, refuse_unknown_null_triggers};
use super::validate::{Errors, Object, echo, wrong_type};

/// What stands in an answer where a secret or the value of a header is not shown. Sent back, it means: as it is.
pub const MASK: &str = "********";

const FIELDS: [&str; 13] = [
    "name",
    "url",
    "secret",
    "format",
    "headers",
    "events",
    "triggers",
    "enabled",
    "failure_threshold",
    "rate_limit_per_second",
    "max_concurrency",
    "retry_schedule",
    "max_age_seconds",
];
const READ_ONLY: [&str; 7] = [
    "id",
    "site_id",
    "health",
    "inserted_at",
    "updated_at",
    "warnings",
    "standard_webhooks_secret",
];
const LATER_FORMATS: [&str; 3] = ["slack", "discord", "teams"];

const FAILURE_THRESHOLD: std::ops::RangeInclusive<u32> = 1..=100;
const RATE_LIMIT_PER_SECOND: std::ops::RangeInclusive<u32> = 1..=10_000;
const MAX_CONCURRENCY: std::ops::RangeInclusive<u32> = 1..=100;
/// Up to 30 days: what is older is no longer in any topic.
const MAX_AGE_SECONDS: std::ops::RangeInclusive<u32> = 1..=30 * 86_400;

/// What the configuration says about webhooks.
#[derive(Debug, Clone, Default)]
pub struct WebhookRules {
    pub target: TargetRules,
    /// Names of the schedules a webhook may choose.
    pub retry_schedules: BTreeSet<String>,
}

/// The settings in a body. `current` are those that hold now: what is the same in both was accepted once and is not
/// judged again. `None` only if something is wrong.
pub(super) fn read_settings(
    body: &Object<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    errors: &mut Errors,
) -> Option<WebhookSettings> {
    let before = errors.count();
    let url = read_url(body, rules, current, errors);
    let name = body.text("name", MAX_NAME_CHARS, errors).map(str::to_owned);
    let format = read_format(body, errors);
    let headers = read_headers(body, errors);
    let events = read_events(body, errors);
    let triggers = read_triggers(body, events.as_deref(), errors);
    let enabled = body.boolean("enabled", errors);
    let failure_threshold = body.integer("failure_threshold", FAILURE_THRESHOLD, errors);
    let rate_limit = body.integer("rate_limit_per_second", RATE_LIMIT_PER_SECOND, errors);
    let max_concurrency = body.integer("max_concurrency", MAX_CONCURRENCY, errors);
    let retry_schedule = read_schedule(body, rules, current, errors);
    let max_age_seconds = body.integer("max_age_seconds", MAX_AGE_SECONDS, errors);
    if errors.count() > before {
        return None;
    }
    let url = url?;
    Some(WebhookSettings {
        name: name.unwrap_or_else(|| default_name(&url)),
        url,
        format,
        headers,
        events: events?,
        triggers,
        enabled: enabled.unwrap_or(true),
        failure_threshold: failure_threshold.unwrap_or(DEFAULT_FAILURE_THRESHOLD),
        // The one field where `null` is a value: no limit.
        rate_limit_per_second: rate_limit
            .or_else(|| (!body.is_null("rate_limit_per_second")).then_some(DEFAULT_RATE_LIMIT_PER_SECOND)),
        max_concurrency: max_concurrency.unwrap_or(DEFAULT_MAX_CONCURRENCY),
        retry_schedule,
        max_age_seconds,
    })
}

/// Notes the fields that a webhook does not have, and those that only answers have.
pub(super) fn refuse_other_fields(body: &Object<'_>, errors: &mut Errors) {
    for name in body.names().filter(|name| !FIELDS.contains(name)) {
        if READ_ONLY.contains(&name) {
            errors.add(
                body.at(name),
                "read_only",
                format!("`{name}` is told in answers and cannot be set"),
            );
        } else {
            let detail = format!(
                "`{}` is no field of a webhook; there are {}",
                echo(name),
                FIELDS.join(", ")
            );
            errors.add(body.at(name), "unknown_field", detail);
        }
    }
}

/// The secret that the owner chose, if any.
pub(super) fn read_secret(body: &Object<'_>, errors: &mut Errors) -> Option<Secret> {
    let text = match body.get("secret")? {
        Value::String(text) => text,
        other => return wrong_type("/secret", other, "text", errors),
    };
    Secret::parse(text)
        .map_err(|error| {
            let code = match error {
                InvalidSecret::Length(0) => "empty",
                InvalidSecret::Length(_) | InvalidSecret::KeyLength(_) => "wrong_length",
                InvalidSecret::NotBase64 => "invalid",
                InvalidSecret::ControlCharacter => "control_character",
            };
            errors.add("/secret", code, error.to_string());
        })
        .ok()
}

/// Settings as a body that [`read_settings`] reads back as they were: what a merge patch is applied to. Holds the URL
/// and the values of the headers, so it is never shown.
pub(super) fn to_body(settings: &WebhookSettings, enabled: bool) -> Map<String, Value> {
    let headers: Map<String, Value> = settings
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.reveal().into()))
        .collect();
    let events: Vec<&str> = settings.events.iter().map(|event| event.as_str()).collect();
    let body = json!({
        "name": settings.name,
        "url": settings.url.reveal().as_str(),
        "format": settings.format.as_str(),
        "headers": headers,
        "events": events,
        "triggers": settings.triggers.to_json(),
        "enabled": enabled,
        "failure_threshold": settings.failure_threshold,
        "rate_limit_per_second": settings.rate_limit_per_second,
        "max_concurrency": settings.max_concurrency,
        "retry_schedule": settings.retry_schedule,
        "max_age_seconds": settings.max_age_seconds,
    });
    match body {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The host: something to call the webhook by.
fn default_name(url: &TargetUrl) -> String {
    url.reveal()
        .host_str()
        .unwrap_or("webhook")
        .chars()
        .take(MAX_NAME_CHARS)
        .collect()
}

fn read_url(
    body: &Object<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    errors: &mut Errors,
) -> Option<TargetUrl> {
    if !body.require("url", "where notifications are sent", errors) {
        return None;
    }
    let text = match body.get("url")? {
        Value::String(text) => text,
        other => return wrong_type("/url", other, "text", errors),
    };
    if let Some(current) = current.filter(|current| current.url.reveal().as_str() == text) {
        return Some(current.url.clone());
    }
    // As answers show a URL; as a URL it would be another one.
    if text.contains('…') {
        errors.add(
            "/url",
            "masked",
            "this is the masked form of a URL; send the whole URL or leave the field out",
        );
        return None;
    }
    TargetUrl::parse(text, &rules.target)
        .map_err(|error| errors.add("/url", "invalid", error.to_string()))
        .ok()
}

fn read_format(body: &Object<'_>, errors: &mut Errors) -> Format {
    let Some(text) = body.text("format", 100, errors) else {
        return Format::default();
    };
    let format = Format::ALL.into_iter().find(|format| format.as_str() == text);
    if format.is_none() {
        if LATER_FORMATS.contains(&text) {
            errors.add(
                "/format",
                "not_available",
                format!("`{text}` is not available yet; there is json"),
            );
        } else {
            errors.add(
                "/format",
                "unknown",
                format!("`{}` is no format; there is json", echo(text)),
            );
        }
    }
    format.unwrap_or_default()
}

fn read_headers(body: &Object<'_>, errors: &mut Errors) -> Vec<(String, Hidden)> {
    let Some(given) = body.object("headers", errors) else {
        return Vec::new();
    };
    refuse_nameless_nulls(&given, |_| false, errors);
    let given: Vec<(&str, String, &Value)> = given
        .names()
        .filter_map(|name| Some((name, given.at(name), given.get(name)?)))
        .collect();
    if given.len() > MAX_OWN_HEADERS {
        errors.add(
            "/headers",
            "too_many",
            InvalidHeader::TooMany(given.len()).to_string(),
        );
    }
    let mut seen = HashSet::new();
    let mut headers: Vec<(String, Hidden)> = Vec::new();
    for (name, pointer, value) in given {
        let Value::String(value) = value else {
            let _: Option<()> = wrong_type(&pointer, value, "text", errors);
            continue;
        };
        match check_own_header(name, value) {
            Err(error) => errors.add(pointer, header_code(&error), error.to_string()),
            Ok(()) if !seen.insert(name.to_ascii_lowercase()) => {
                errors.add(
                    pointer,
                    "duplicate",
                    "is there twice; upper and lower case are the same",
                );
            }
            Ok(()) if value == MASK => {
                errors.add(
                    pointer,
                    "masked",
                    "this is how answers hide a value; send the value itself",
                );
            }
            Ok(()) => headers.push((name.to_owned(), Hidden::new(value))),
        }
    }
    headers
}

/// Notes what a merge patch would lose: fields that a webhook does not have, with `null` as their value. The patch takes
/// away what is not there, and nothing is left to judge.
pub(super) fn refuse_unknown_nulls(patch: &Object<'_>, current: &WebhookSettings, errors: &mut Errors) {
    // What is no object is refused as such once it is merged.
    let mut elsewhere = Errors::default();
    if let Some(headers) = patch.object("headers", &mut elsewhere) {
        let has = |name: &str| {
            let known = &current.headers;
            known.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        refuse_nameless_nulls(&headers, has, errors);
    }
    if let Some(triggers) = patch.object("triggers", &mut elsewhere) {
        refuse_unknown_null_triggers(&triggers, errors);
    }
}

/// A header that may be none cannot be taken away either, unless the webhook `has` it from a time when it might.
fn refuse_nameless_nulls(headers: &Object<'_>, has: impl Fn(&str) -> bool, errors: &mut Errors) {
    for name in headers.names().filter(|name| headers.is_null(name) && !has(name)) {
        if let Err(error) = check_own_header(name, "any value") {
            errors.add(headers.at(name), header_code(&error), error.to_string());
        }
    }
}

fn header_code(error: &InvalidHeader) -> &'static str {
    match error {
        InvalidHeader::Name | InvalidHeader::Value => "invalid",
        InvalidHeader::Reserved(_) => "reserved",
        InvalidHeader::EmptyValue => "empty",
        InvalidHeader::ValueTooLong(_) => "too_long",
        InvalidHeader::TooMany(_) => "too_many",
    }
}

fn read_schedule(
    body: &Object<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    errors: &mut Errors,
) -> String {
    let default = || DEFAULT_RETRY_SCHEDULE.to_owned();
    let Some(text) = body.text("retry_schedule", 100, errors) else {
        return default();
    };
    if current.is_some_and(|current| current.retry_schedule == text) || rules.retry_schedules.contains(text) {
        return text.to_owned();
    }
    let names: Vec<&str> = rules.retry_schedules.iter().map(String::as_str).collect();
    let detail = format!(
        "no schedule is called `{}`; there are {}",
        echo(text),
        names.join(", ")
    );
    errors.add("/retry_schedule", "unknown", detail);
    default()
}

#[cfg(test)]
mod tests;

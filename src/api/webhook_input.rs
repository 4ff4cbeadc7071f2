//! Reading a webhook from a request's body.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::own_headers::{InvalidHeader, MAX_OWN_HEADERS, check_own_header};
use crate::domain::secret::{Hidden, InvalidSecret, Secret};
use crate::domain::target::{TargetRules, TargetUrl};
use crate::domain::webhook::{
    DEFAULT_FAILURE_THRESHOLD, DEFAULT_MAX_CONCURRENCY, DEFAULT_RETRY_SCHEDULE, Format, MAX_NAME_CHARS,
    WebhookSettings,
};

use super::field_errors::{FieldCode, FieldErrors, echo};
use super::trigger_input::{read_events, read_triggers, refuse_unknown_null_triggers};
use super::validate::{BodyObject, wrong_type};

/// The text that answers show in place of a secret or the value of a header. A client that sends it
/// back leaves the value as it is.
pub(super) const MASK: &str = "********";

const FIELDS: [&str; 15] = [
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
    "external_id",
    "paused_until",
];
pub(super) const READ_ONLY: [&str; 9] = [
    "id",
    "site_id",
    "health",
    "inserted_at",
    "updated_at",
    "warnings",
    STANDARD_SECRET,
    "secret_overlap_until",
    "recent",
];
/// The secret in the form that Standard Webhooks libraries take, where it has another one.
pub(super) const STANDARD_SECRET: &str = "standard_webhooks_secret";
/// Read-only fields that change without their owner.
pub(super) const MOVING: [&str; 5] = [
    "health",
    "updated_at",
    "warnings",
    "secret_overlap_until",
    "recent",
];

pub(super) const FAILURE_THRESHOLD: std::ops::RangeInclusive<u32> = 1..=100;
pub(super) const RATE_LIMIT_PER_SECOND: std::ops::RangeInclusive<u32> = 1..=10_000;
pub(super) const MAX_CONCURRENCY: std::ops::RangeInclusive<u32> = 1..=100;
pub(super) const MAX_EXTERNAL_ID_CHARS: usize = 255;
/// Longest pause.
const MAX_PAUSE: TimeDelta = TimeDelta::days(30);
/// Up to 30 days: no topic holds anything older.
pub(super) const MAX_AGE_SECONDS: std::ops::RangeInclusive<u32> = 1..=30 * 86_400;

/// The part of the configuration that decides which settings a webhook may have.
#[derive(Debug, Clone, Default)]
pub struct WebhookRules {
    pub target: TargetRules,
    /// Names of the retry schedules that a webhook may choose.
    pub retry_schedules: BTreeSet<String>,
}

/// Reads the settings in a body. `None` only if a field is wrong.
///
/// A URL or retry schedule that is the same as in `current` was accepted before and is not
/// validated again: the rules may have changed since.
pub(super) fn read_settings(
    body: &BodyObject<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    now: DateTime<Utc>,
    errors: &mut FieldErrors,
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
    let external_id = body
        .text("external_id", MAX_EXTERNAL_ID_CHARS, errors)
        .map(str::to_owned);
    let paused_until = read_paused_until(body, current, now, errors);
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
        // Only in this field `null` is a value, which means no limit.
        rate_limit_per_second: rate_limit.or_else(|| {
            (!body.is_null("rate_limit_per_second")).then(|| format.default_rate_limit_per_second())
        }),
        rate_limit_is_set: rate_limit.is_some() || body.is_null("rate_limit_per_second"),
        max_concurrency: max_concurrency.unwrap_or(DEFAULT_MAX_CONCURRENCY),
        retry_schedule,
        max_age_seconds,
        external_id,
        paused_until,
    })
}

/// Reads the end of a pause: in the future, within 30 days, unless it is as it was.
fn read_paused_until(
    body: &BodyObject<'_>,
    current: Option<&WebhookSettings>,
    now: DateTime<Utc>,
    errors: &mut FieldErrors,
) -> Option<DateTime<Utc>> {
    let until = body.time("paused_until", errors)?;
    if current.is_some_and(|current| current.paused_until == Some(until)) {
        return Some(until);
    }
    let problem = if until <= now {
        "The time has passed already."
    } else if until > now + MAX_PAUSE {
        "A webhook may be paused for at most 30 days."
    } else {
        return Some(until);
    };
    errors.add("/paused_until", FieldCode::OutOfRange, problem);
    None
}

/// Refuses the fields that a webhook does not have, and those that appear in answers only.
pub(super) fn refuse_other_fields(body: &BodyObject<'_>, errors: &mut FieldErrors) {
    body.refuse_other_fields(&FIELDS, &READ_ONLY, errors);
}

/// Reads the secret that the owner chose, if any.
pub(super) fn read_secret(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<Secret> {
    let text = match body.get("secret")? {
        Value::String(text) => text,
        other => return wrong_type("/secret", other, "text", errors),
    };
    Secret::parse(text)
        .map_err(|error| {
            let code = match error {
                InvalidSecret::Length(0) => FieldCode::Empty,
                InvalidSecret::Length(_) | InvalidSecret::KeyLength(_) => FieldCode::WrongLength,
                InvalidSecret::NotBase64 | InvalidSecret::BlankEnd => FieldCode::Invalid,
                InvalidSecret::ControlCharacter => FieldCode::ControlCharacter,
            };
            errors.add("/secret", code, error.to_string());
        })
        .ok()
}

/// Writes settings as a body that [`read_settings`] reads back the same, for a merge patch to
/// change. It holds the URL and the values of the headers, so it is never shown.
pub(super) fn to_body(settings: &WebhookSettings) -> Map<String, Value> {
    let headers: Map<String, Value> = settings
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.reveal().into()))
        .collect();
    let events: Vec<&str> = settings.events.iter().map(|event| event.as_str()).collect();
    let mut body = json!({
        "name": settings.name,
        "url": settings.url.reveal().as_str(),
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
        "paused_until": settings
            .paused_until
            .map(|until| until.to_rfc3339_opts(SecondsFormat::Micros, true)),
    });
    // The default is the format's, so a new format brings its own. What the owner set stays.
    if !settings.rate_limit_is_set
        && settings.rate_limit_per_second == Some(settings.format.default_rate_limit_per_second())
        && let Value::Object(map) = &mut body
    {
        map.remove("rate_limit_per_second");
    }
    match body {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The host of the URL, as the name of a webhook without one.
fn default_name(url: &TargetUrl) -> String {
    url.reveal()
        .host_str()
        .unwrap_or("webhook")
        .chars()
        .take(MAX_NAME_CHARS)
        .collect()
}

fn read_url(
    body: &BodyObject<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    errors: &mut FieldErrors,
) -> Option<TargetUrl> {
    if !body.require("url", "the URL that notifications are sent to", errors) {
        return None;
    }
    let text = match body.get("url")? {
        Value::String(text) => text,
        other => return wrong_type("/url", other, "text", errors),
    };
    if let Some(current) = current.filter(|current| current.url.reveal().as_str() == text) {
        return Some(current.url.clone());
    }
    // The masked form parses as a URL, but as another one.
    if text.contains('…') {
        errors.add(
            "/url",
            FieldCode::Masked,
            "This is the masked form of a URL. Send the whole URL, or leave the field out.",
        );
        return None;
    }
    TargetUrl::parse(text, &rules.target)
        .map_err(|error| errors.add("/url", FieldCode::Invalid, error.to_string()))
        .ok()
}

fn read_format(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Format {
    let Some(text) = body.text("format", 100, errors) else {
        return Format::default();
    };
    let format = text.parse().ok();
    if format.is_none() {
        let (text, words) = (echo(text), Format::WORDS.join(", "));
        let detail = format!("`{text}` is not a format. The formats are {words}.");
        errors.add("/format", FieldCode::Unknown, detail);
    }
    format.unwrap_or_default()
}

fn read_headers(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Vec<(String, Hidden)> {
    let Some(given) = body.object("headers", errors) else {
        return Vec::new();
    };
    refuse_null_headers(&given, |_| false, errors);
    let given: Vec<(&str, String, &Value)> = given
        .names()
        .filter_map(|name| Some((name, given.pointer_to(name), given.get(name)?)))
        .collect();
    if given.len() > MAX_OWN_HEADERS {
        errors.add(
            "/headers",
            FieldCode::TooMany,
            InvalidHeader::TooMany(given.len()).to_string(),
        );
    }
    let mut seen = HashSet::new();
    let mut headers: Vec<(String, Hidden)> = Vec::new();
    for (name, pointer, value) in given {
        let Value::String(value) = value else {
            errors.add_wrong_type(pointer, value, "text");
            continue;
        };
        match check_own_header(name, value) {
            Err(error) => errors.add(pointer, header_code(&error), error.to_string()),
            Ok(()) if !seen.insert(name.to_ascii_lowercase()) => {
                errors.add(
                    pointer,
                    FieldCode::Duplicate,
                    "This header is given twice; upper and lower case make no difference.",
                );
            }
            Ok(()) if value == MASK => {
                errors.add(
                    pointer,
                    FieldCode::Masked,
                    "Answers show this text in place of a hidden value. Send the value itself.",
                );
            }
            Ok(()) => headers.push((name.to_owned(), Hidden::new(value))),
        }
    }
    headers
}

/// Refuses headers, triggers and options that a webhook cannot have and that a merge patch sets to
/// `null`. Merging removes them, so that validating the merged body does not find them.
pub(super) fn refuse_unknown_nulls(
    patch: &BodyObject<'_>,
    current: &WebhookSettings,
    errors: &mut FieldErrors,
) {
    // A value that is not an object is refused once it is merged.
    let mut ignored = FieldErrors::default();
    if let Some(headers) = patch.object("headers", &mut ignored) {
        let is_set = |name: &str| {
            let known = &current.headers;
            known.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        refuse_null_headers(&headers, is_set, errors);
    }
    if let Some(triggers) = patch.object("triggers", &mut ignored) {
        refuse_unknown_null_triggers(&triggers, errors);
    }
}

/// Refuses to remove headers that are not allowed, unless the webhook has one from a time when it
/// was.
fn refuse_null_headers(headers: &BodyObject<'_>, is_set: impl Fn(&str) -> bool, errors: &mut FieldErrors) {
    for name in headers
        .names()
        .filter(|name| headers.is_null(name) && !is_set(name))
    {
        if let Err(error) = check_own_header(name, "any value") {
            errors.add(headers.pointer_to(name), header_code(&error), error.to_string());
        }
    }
}

fn header_code(error: &InvalidHeader) -> FieldCode {
    match error {
        InvalidHeader::Name | InvalidHeader::Value => FieldCode::Invalid,
        InvalidHeader::Reserved(_) => FieldCode::Reserved,
        InvalidHeader::EmptyValue => FieldCode::Empty,
        InvalidHeader::ValueTooLong(_) => FieldCode::TooLong,
        InvalidHeader::TooMany(_) => FieldCode::TooMany,
    }
}

fn read_schedule(
    body: &BodyObject<'_>,
    rules: &WebhookRules,
    current: Option<&WebhookSettings>,
    errors: &mut FieldErrors,
) -> String {
    let default = || DEFAULT_RETRY_SCHEDULE.to_owned();
    let Some(text) = body.text("retry_schedule", 100, errors) else {
        return default();
    };
    if current.is_some_and(|current| current.retry_schedule == text) || rules.retry_schedules.contains(text) {
        return text.to_owned();
    }
    let names: Vec<&str> = rules.retry_schedules.iter().map(String::as_str).collect();
    let (name, names) = (echo(text), names.join(", "));
    let detail = format!("There is no retry schedule called `{name}`. The schedules are {names}.");
    errors.add("/retry_schedule", FieldCode::Unknown, detail);
    default()
}

#[cfg(test)]
mod tests;

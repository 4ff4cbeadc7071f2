//! The settings of a webhook in words.

use chrono::TimeDelta;
use serde_json::Value;

use super::config::UiConfig;
use super::model::WebhookView;
use super::times::{count, counted, span_words};
use super::words;

/// A setting and its value.
#[derive(Debug)]
pub(super) struct SettingWords {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// The settings that an owner looks for.
pub(super) fn settings(webhook: &WebhookView, config: &UiConfig) -> Vec<SettingWords> {
    let mut settings = Vec::new();
    let mut add = |name: &'static str, value: String| settings.push(SettingWords { name, value });
    let events: Vec<String> = webhook
        .events
        .iter()
        .map(|event| event_words(webhook, event))
        .collect();
    add("Tells about", events.join("; "));
    add("Format", webhook.format.clone());
    if !webhook.headers.is_empty() {
        let names: Vec<&str> = webhook.headers.keys().map(String::as_str).collect();
        add("Own headers", names.join(", "));
    }
    let rate = webhook.rate_limit_per_second;
    add(
        "At most",
        match rate {
            Some(rate) => format!(
                "{} a second, {} at once",
                count(rate.into()),
                webhook.max_concurrency
            ),
            None => format!("{} at once", webhook.max_concurrency),
        },
    );
    add(
        "Holds back after",
        format!("{} failed in a row", webhook.failure_threshold),
    );
    add("Retry schedule", webhook.retry_schedule.clone());
    if let Some(seconds) = webhook.max_age_seconds {
        add(
            "Not sent when older than",
            span_words(TimeDelta::seconds(seconds.into())),
        );
    }
    if !config.outbound_addresses.is_empty() {
        add("Requests come from", config.outbound_addresses.join(", "));
    }
    settings
}

/// An event type with its options.
fn event_words(webhook: &WebhookView, event: &str) -> String {
    let title = words::event(event);
    let Some(options) = webhook.triggers.get(event) else {
        return title.to_owned();
    };
    if let Some(threshold) = options.get("threshold").and_then(Value::as_u64) {
        return format!("{title} at {}", counted(threshold, "visitor"));
    }
    let names = options.get("goals").or_else(|| options.get("names"));
    match names.and_then(Value::as_array) {
        Some(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            format!("{title}: {}", names.join(", "))
        }
        None => title.to_owned(),
    }
}

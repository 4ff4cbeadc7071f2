//! The events that webhooks wait for, in words.

use crate::cli::inspect::words::{instant, names, span};
use crate::domain::time::from_ms;
use crate::domain::trigger::{DropSettings, NameFilter, NameTrigger, NoticeOptions, NoticePace};
use crate::record::known::KnownWebhook;

/// Descriptions of the events that a webhook waits for.
pub(super) fn waits_for(webhook: &KnownWebhook, now_ms: i64) -> Vec<String> {
    let triggers = &webhook.triggers;
    let spike = triggers
        .visitor_spike
        .map(|spike| with_pause(spike.condition.to_string(), spike.options));
    let drop = triggers.visitor_drop.map(|drop| {
        let begins = begins_at(webhook, drop.condition, now_ms);
        with_pause(format!("{}{begins}", drop.condition), drop.options)
    });
    let goals = triggers.goal_completion.as_ref();
    let goals = goals.map(|trigger| named("goal", trigger));
    let custom = triggers.custom_event.as_ref();
    let custom = custom.map(|trigger| named("custom event", trigger));
    let errors = triggers.error_condition.as_ref();
    let errors = errors.map(|errors| with_pause("errors".to_owned(), errors.options));
    let all = spike.into_iter().chain(drop).chain(goals).chain(custom);
    all.chain(errors).collect()
}

/// `any goal`, `goal Signup, notified at 3 of a name within 600 s`
fn named(what: &str, trigger: &NameTrigger) -> String {
    let wanted = match &trigger.names {
        NameFilter::All => format!("any {what}"),
        NameFilter::Only(list) => format!("{what} {}", names(list)),
    };
    match trigger.pace {
        NoticePace::Each => wanted,
        pace => format!("{wanted}, notified {pace}"),
    }
}

/// Adds how often an alert is notified at most.
fn with_pause(wanted: String, options: NoticeOptions) -> String {
    match options.min_interval_seconds {
        0 => wanted,
        seconds => format!("{wanted}, once in {} at most", span(i64::from(seconds) * 1_000)),
    }
}

/// The time at which the window of a young drop is complete, in words.
fn begins_at(webhook: &KnownWebhook, drop: DropSettings, now_ms: i64) -> String {
    let window_ms = i64::from(drop.window_seconds) * 1_000;
    let complete_ms = webhook.active_since.timestamp_millis() + window_ms;
    if complete_ms <= now_ms {
        return String::new();
    }
    let at = instant(from_ms(complete_ms));
    format!(", from {at} on, when its window is complete")
}

//! Reading `events` and `triggers` of a webhook.

use std::collections::HashSet;

use serde_json::Value;

use crate::domain::event::EventType;
use crate::domain::goal;
use crate::domain::trigger::{
    DEFAULT_WINDOW_SECONDS, EVENT_NAMES, GOAL_NAMES, NameFilter, SpikeSettings, Triggers,
};

use super::validate::{Errors, Object, echo, wrong_type};

/// Event types that are planned: refused as such, so that their name is not taken for a mistake.
const LATER_EVENTS: [&str; 5] = [
    "visitor_drop",
    "visitor_spike_resolved",
    "visitor_drop_resolved",
    "error_condition",
    "webhook_disabled",
];
/// Options of triggers that are planned, in the same way.
const LATER_OPTIONS: [&str; 13] = [
    "change_percent",
    "min_visitors",
    "sensitivity",
    "require_history",
    "repeat_after_seconds",
    "min_interval_seconds",
    "notify_resolved",
    "at_least",
    "within_seconds",
    "every",
    "tracking_silent",
    "rejected_events",
    "error_events",
];

const SPIKE_OPTIONS: [&str; 2] = ["threshold", "window_seconds"];
const MAX_THRESHOLD: u32 = 1_000_000_000;
const WINDOW_SECONDS: std::ops::RangeInclusive<u32> = 60..=3_600;
/// Most names in one filter.
const MAX_NAMES: usize = 1_000;

/// The event types that a webhook subscribes to, in the order given.
pub(super) fn read_events(body: &Object<'_>, errors: &mut Errors) -> Option<Vec<EventType>> {
    let allowed = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
    if !body.require("events", &format!("a list out of {allowed}"), errors) {
        return None;
    }
    let list = body.list("events", errors)?;
    if list.is_empty() {
        errors.add(
            body.at("events"),
            "empty",
            format!("subscribe to at least one of {allowed}"),
        );
    }
    let mut events = Vec::with_capacity(EventType::SUBSCRIBABLE.len());
    let mut seen = HashSet::new();
    for (index, value) in list.iter().enumerate() {
        let pointer = format!("{}/{index}", body.at("events"));
        let Value::String(text) = value else {
            let _: Option<()> = wrong_type(&pointer, value, "text", errors);
            continue;
        };
        let subscribable = EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == text);
        if !seen.insert(text.as_str()) {
            errors.add(pointer, "duplicate", "is in the list already");
        } else if let Some(event) = subscribable {
            events.push(event);
        } else if LATER_EVENTS.contains(&text.as_str()) {
            errors.add(
                pointer,
                "not_available",
                format!("`{text}` is not available yet; there are {allowed}"),
            );
        } else if text == EventType::Test.as_str() {
            errors.add(
                pointer,
                "not_available",
                "a test is sent when it is asked for, nothing subscribes to it",
            );
        } else {
            errors.add(
                pointer,
                "unknown",
                format!("`{}` is no event type; there are {allowed}", echo(text)),
            );
        }
    }
    Some(events)
}

/// The settings of each subscribed event type. `events` is `None` when they could not be read: then what a setting
/// belongs to is not judged, only the setting.
pub(super) fn read_triggers(
    body: &Object<'_>,
    events: Option<&[EventType]>,
    errors: &mut Errors,
) -> Triggers {
    let given = body.get("triggers").is_some();
    let triggers = body.object("triggers", errors);
    if let Some(triggers) = &triggers {
        refuse_other_triggers(triggers, events, errors);
    }
    let wanted = |event: EventType| events.is_some_and(|events| events.contains(&event));
    let settings = |event: EventType, errors: &mut Errors| {
        triggers
            .as_ref()
            .filter(|_| events.is_none() || wanted(event))?
            .object(event.as_str(), errors)
    };
    let spike = settings(EventType::VisitorSpike, errors);
    let goals = settings(EventType::GoalCompletion, errors);
    let custom = settings(EventType::CustomEvent, errors);

    let mut read = Triggers::default();
    if let Some(spike) = &spike {
        read.visitor_spike = read_spike(spike, errors);
    } else if wanted(EventType::VisitorSpike) {
        // Said once: not where `triggers` or its `visitor_spike` is there but no object.
        let spike_given = triggers
            .as_ref()
            .is_some_and(|triggers| triggers.get("visitor_spike").is_some());
        if !spike_given && (triggers.is_some() || !given) {
            errors.add("/triggers/visitor_spike/threshold", "required", NEEDS_THRESHOLD);
        }
    }
    let filters = [
        (
            EventType::GoalCompletion,
            goals,
            GOAL_NAMES,
            goal::MAX_NAME_CHARS,
            &mut read.goal_completion,
        ),
        (
            EventType::CustomEvent,
            custom,
            EVENT_NAMES,
            goal::MAX_NAME_CHARS,
            &mut read.custom_event,
        ),
    ];
    for (event, settings, key, max_chars, filter) in filters {
        let names = settings.and_then(|settings| {
            refuse_other_options(&settings, &[key], errors);
            settings.texts(key, MAX_NAMES, max_chars, errors)
        });
        if wanted(event) {
            *filter = Some(names.map_or(NameFilter::All, NameFilter::Only));
        }
    }
    read
}

const NEEDS_THRESHOLD: &str =
    "is required: the number of visitors at once at which a visitor_spike fires, a whole number from 1 on";

fn read_spike(spike: &Object<'_>, errors: &mut Errors) -> Option<SpikeSettings> {
    refuse_other_options(spike, &SPIKE_OPTIONS, errors);
    spike.require(
        "threshold",
        NEEDS_THRESHOLD.trim_start_matches("is required: "),
        errors,
    );
    let threshold = spike.integer("threshold", 1..=MAX_THRESHOLD, errors);
    let window_seconds = spike.integer("window_seconds", WINDOW_SECONDS, errors);
    Some(SpikeSettings {
        threshold: threshold?,
        window_seconds: window_seconds.unwrap_or(DEFAULT_WINDOW_SECONDS),
    })
}

/// Notes the triggers and options that there are not, where their value is `null`: applying a merge patch takes them away.
pub(super) fn refuse_unknown_null_triggers(triggers: &Object<'_>, errors: &mut Errors) {
    for name in triggers.names() {
        let options = match EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == name)
        {
            Some(EventType::VisitorSpike) => SPIKE_OPTIONS.as_slice(),
            Some(EventType::GoalCompletion) => &[GOAL_NAMES],
            Some(EventType::CustomEvent) => &[EVENT_NAMES],
            _ if triggers.is_null(name) => {
                refuse_trigger(triggers, name, errors);
                continue;
            }
            // Refused once it is merged.
            _ => continue,
        };
        let Some(Value::Object(settings)) = triggers.get(name) else {
            continue;
        };
        // Those with a value are still there, and refused, once it is merged.
        let nulls = settings.iter().filter(|(_, value)| value.is_null());
        let nulls = nulls.map(|(name, value)| (name.clone(), value.clone())).collect();
        refuse_other_options(&triggers.inside(name, &nulls), options, errors);
    }
}

/// A trigger belongs to an event type that the webhook subscribes to.
fn refuse_other_triggers(triggers: &Object<'_>, events: Option<&[EventType]>, errors: &mut Errors) {
    for name in triggers.names() {
        let known = EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == name);
        let Some(event) = known else {
            refuse_trigger(triggers, name, errors);
            continue;
        };
        if triggers.get(name).is_some() && events.is_some_and(|events| !events.contains(&event)) {
            let detail =
                format!("the webhook does not subscribe to `{name}`: add it to `events` or leave this out");
            errors.add(triggers.at(name), "not_subscribed", detail);
        }
    }
}

/// Notes a trigger of an event type that there is not, or not yet.
fn refuse_trigger(triggers: &Object<'_>, name: &str, errors: &mut Errors) {
    let allowed = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
    if LATER_EVENTS.contains(&name) {
        let detail = format!("`{name}` is not available yet; there are {allowed}");
        errors.add(triggers.at(name), "not_available", detail);
    } else {
        let detail = format!("`{}` is no event type; there are {allowed}", echo(name));
        errors.add(triggers.at(name), "unknown_field", detail);
    }
}

fn refuse_other_options(settings: &Object<'_>, allowed: &[&str], errors: &mut Errors) {
    for name in settings.names().filter(|name| !allowed.contains(name)) {
        let there_are = allowed.join(", ");
        if LATER_OPTIONS.contains(&name) {
            let detail = format!("`{name}` is not available yet; there are {there_are}");
            errors.add(settings.at(name), "not_available", detail);
        } else {
            let detail = format!("`{}` is no field here; there are {there_are}", echo(name));
            errors.add(settings.at(name), "unknown_field", detail);
        }
    }
}

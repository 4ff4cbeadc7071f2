//! Reading `events` and `triggers` of a webhook.

/// Settings of one event type.
mod settings;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::domain::event::EventType;
use crate::domain::trigger::{EVENT_NAMES, GOAL_NAMES, Triggers};

use super::field_errors::{FieldCode, FieldErrors, echo};
use super::validate::BodyObject;
pub(super) use settings::MAX_NAMES;

/// Options of triggers of a later version, which are refused as not available rather than as
/// mistakes.
const LATER_OPTIONS: [&str; 2] = ["change_percent", "sensitivity"];

const SPIKE_OPTIONS: &[&str] = &[
    "threshold",
    "window_seconds",
    "repeat_after_seconds",
    "min_interval_seconds",
    "notify_resolved",
];
const DROP_OPTIONS: &[&str] = &[
    "threshold",
    "window_seconds",
    "require_history",
    "repeat_after_seconds",
    "min_interval_seconds",
    "notify_resolved",
];
const ERROR_OPTIONS: &[&str] = &[
    "error_events",
    "error_event",
    "rejected_events",
    "silence",
    "window_seconds",
    "repeat_after_seconds",
    "min_interval_seconds",
];
const GOAL_OPTIONS: &[&str] = &[GOAL_NAMES, "at_least", "within_seconds", "every"];
const CUSTOM_OPTIONS: &[&str] = &[EVENT_NAMES, "at_least", "within_seconds", "every"];

/// The options of a subscribable event type.
pub(super) fn options_of(event: EventType) -> &'static [&'static str] {
    match event {
        EventType::VisitorSpike => SPIKE_OPTIONS,
        EventType::VisitorDrop => DROP_OPTIONS,
        EventType::ErrorCondition => ERROR_OPTIONS,
        EventType::GoalCompletion => GOAL_OPTIONS,
        EventType::CustomEvent => CUSTOM_OPTIONS,
        _ => &[],
    }
}

fn subscribable(name: &str) -> Option<EventType> {
    let mut events = EventType::SUBSCRIBABLE.into_iter();
    events.find(|event| event.as_str() == name)
}

/// Reads the event types that a webhook subscribes to, in the order given.
pub(super) fn read_events(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<Vec<EventType>> {
    let allowed = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
    if !body.require("events", &format!("a list of one or more of {allowed}"), errors) {
        return None;
    }
    let list = body.list("events", errors)?;
    if list.is_empty() {
        let detail = format!("Subscribe to at least one of {allowed}.");
        errors.add(body.pointer_to("events"), FieldCode::Empty, detail);
    }
    let mut events = Vec::with_capacity(EventType::SUBSCRIBABLE.len());
    let mut seen = HashSet::new();
    for (index, value) in list.iter().enumerate() {
        let pointer = format!("{}/{index}", body.pointer_to("events"));
        let Value::String(text) = value else {
            errors.add_wrong_type(pointer, value, "text");
            continue;
        };
        if !seen.insert(text.as_str()) {
            errors.add(pointer, FieldCode::Duplicate, "This entry is in the list twice.");
        } else if let Some(event) = subscribable(text) {
            events.push(event);
        } else if let Some(detail) = not_subscribable(text) {
            errors.add(pointer, FieldCode::NotAvailable, detail);
        } else {
            errors.add(pointer, FieldCode::Unknown, unknown_event(text));
        }
    }
    Some(events)
}

/// The reason why a webhook cannot subscribe to an event type that exists, or will.
fn not_subscribable(name: &str) -> Option<String> {
    match name.parse().ok()? {
        EventType::Test => {
            Some("A test notification is sent on request; a webhook cannot subscribe to it.".to_owned())
        }
        EventType::VisitorSpikeResolved => Some(resolved_event(EventType::VisitorSpike)),
        EventType::VisitorDropResolved => Some(resolved_event(EventType::VisitorDrop)),
        _ => None,
    }
}

fn resolved_event(event: EventType) -> String {
    format!(
        "The end of an alert is not subscribed to by itself: subscribe to `{event}` and set `notify_resolved` to true \
         in its trigger."
    )
}

/// Reads the settings of each subscribed event type.
///
/// `events` is `None` if they could not be read. Then a setting is validated without asking if its
/// event type is subscribed to.
pub(super) fn read_triggers(
    body: &BodyObject<'_>,
    events: Option<&[EventType]>,
    errors: &mut FieldErrors,
) -> Triggers {
    let is_given = body.get("triggers").is_some();
    let triggers = body.object("triggers", errors);
    if let Some(triggers) = &triggers {
        refuse_other_triggers(triggers, events, errors);
    }
    let is_readable = triggers.is_some() || !is_given;
    let nothing = Map::new();
    let mut read = Triggers::default();
    for event in EventType::SUBSCRIBABLE {
        let is_subscribed = events.is_some_and(|events| events.contains(&event));
        let settings = triggers
            .as_ref()
            .filter(|_| events.is_none() || is_subscribed)
            .and_then(|triggers| triggers.object(event.as_str(), errors));
        let has_settings = triggers
            .as_ref()
            .is_some_and(|triggers| triggers.get(event.as_str()).is_some());
        if let Some(settings) = &settings {
            refuse_other_options(settings, options_of(event), errors);
        }
        // Settings that are not an object were refused above.
        let is_missing = is_subscribed && !has_settings && is_readable;
        if settings.is_some() || is_missing {
            let empty = || body.nested("triggers", &nothing).nested(event.as_str(), &nothing);
            let settings = settings.unwrap_or_else(empty);
            settings::read(&mut read, event, &settings, errors);
        }
    }
    let health = events.unwrap_or_default().iter().copied();
    read.health = health.filter(|event| event.is_health()).collect();
    read
}

/// Refuses triggers and options that do not exist and that a merge patch sets to `null`.
pub(super) fn refuse_unknown_null_triggers(triggers: &BodyObject<'_>, errors: &mut FieldErrors) {
    for name in triggers.names() {
        let Some(event) = subscribable(name) else {
            // A trigger with a value is refused once it is merged.
            if triggers.is_null(name) {
                refuse_trigger(triggers, name, errors);
            }
            continue;
        };
        let Some(Value::Object(settings)) = triggers.get(name) else {
            continue;
        };
        // Options with a value are refused once they are merged.
        let nulls = nulls_of(settings);
        refuse_other_options(&triggers.nested(name, &nulls), options_of(event), errors);
        if let Some(Value::Object(silence)) = settings.get("silence") {
            let (settings, nulls) = (triggers.nested(name, settings), nulls_of(silence));
            settings
                .nested("silence", &nulls)
                .refuse_unknown(&["goal"], errors);
        }
    }
}

/// The fields that are `null`.
fn nulls_of(fields: &Map<String, Value>) -> Map<String, Value> {
    let nulls = fields.iter().filter(|(_, value)| value.is_null());
    nulls.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Refuses triggers of event types that the webhook does not subscribe to, or that do not exist.
fn refuse_other_triggers(triggers: &BodyObject<'_>, events: Option<&[EventType]>, errors: &mut FieldErrors) {
    for name in triggers.names() {
        let Some(event) = subscribable(name) else {
            refuse_trigger(triggers, name, errors);
            continue;
        };
        if triggers.get(name).is_some() && events.is_some_and(|events| !events.contains(&event)) {
            let detail = format!(
                "The webhook does not subscribe to `{name}`. Add it to `events`, or leave this trigger out."
            );
            errors.add(triggers.pointer_to(name), FieldCode::NotSubscribed, detail);
        }
    }
}

/// Refuses the trigger of an event type that does not exist, not yet, or has none.
fn refuse_trigger(triggers: &BodyObject<'_>, name: &str, errors: &mut FieldErrors) {
    let (code, detail) = match not_subscribable(name) {
        Some(detail) => (FieldCode::NotAvailable, detail),
        None => (FieldCode::UnknownField, unknown_event(name)),
    };
    errors.add(triggers.pointer_to(name), code, detail);
}

fn unknown_event(name: &str) -> String {
    let allowed = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
    format!(
        "`{}` is not an event type. The event types are {allowed}.",
        echo(name)
    )
}

fn refuse_other_options(settings: &BodyObject<'_>, allowed: &[&str], errors: &mut FieldErrors) {
    for name in settings.names().filter(|name| !allowed.contains(name)) {
        let allowed = match allowed {
            [] => "It has no options.".to_owned(),
            allowed => format!("The options are {}.", allowed.join(", ")),
        };
        let (code, detail) = if LATER_OPTIONS.contains(&name) {
            let detail = format!("The option `{name}` is not available yet. {allowed}");
            (FieldCode::NotAvailable, detail)
        } else {
            let name = echo(name);
            let detail = format!("`{name}` is not an option of this trigger. {allowed}");
            (FieldCode::UnknownField, detail)
        };
        errors.add(settings.pointer_to(name), code, detail);
    }
}

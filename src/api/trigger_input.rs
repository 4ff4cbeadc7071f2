//! Reading `events` and `triggers` of a webhook.

use std::collections::HashSet;

use serde_json::Value;

use crate::domain::event::EventType;
use crate::domain::goal;
use crate::domain::trigger::{
    DEFAULT_WINDOW_SECONDS, EVENT_NAMES, GOAL_NAMES, NameFilter, SpikeSettings, Triggers,
};

use super::field_errors::{FieldCode, FieldErrors, echo};
use super::validate::BodyObject;

/// Event types of a later version, which are refused as not available rather than as mistakes.
const LATER_EVENTS: [&str; 4] = [
    "visitor_drop",
    "visitor_spike_resolved",
    "visitor_drop_resolved",
    "error_condition",
];
/// Options of triggers of a later version, which are refused in the same way.
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
pub(super) const MAX_NAMES: usize = 1_000;

/// The options of a subscribable event type.
pub(super) fn options_of(event: EventType) -> &'static [&'static str] {
    match event {
        EventType::VisitorSpike => &SPIKE_OPTIONS,
        EventType::GoalCompletion => &[GOAL_NAMES],
        EventType::CustomEvent => &[EVENT_NAMES],
        _ => &[],
    }
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
        let subscribable = EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == text);
        if !seen.insert(text.as_str()) {
            errors.add(pointer, FieldCode::Duplicate, "This entry is in the list twice.");
        } else if let Some(event) = subscribable {
            events.push(event);
        } else if LATER_EVENTS.contains(&text.as_str()) {
            errors.add(pointer, FieldCode::NotAvailable, later_event(text));
        } else if text == EventType::Test.as_str() {
            errors.add(
                pointer,
                FieldCode::NotAvailable,
                "A test notification is sent on request; a webhook cannot subscribe to it.",
            );
        } else {
            errors.add(pointer, FieldCode::Unknown, unknown_event(text));
        }
    }
    Some(events)
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
    let is_subscribed = |event: EventType| events.is_some_and(|events| events.contains(&event));
    let settings = |event: EventType, errors: &mut FieldErrors| {
        triggers
            .as_ref()
            .filter(|_| events.is_none() || is_subscribed(event))?
            .object(event.as_str(), errors)
    };
    let spike = settings(EventType::VisitorSpike, errors);
    let goals = settings(EventType::GoalCompletion, errors);
    let custom = settings(EventType::CustomEvent, errors);

    let mut read = Triggers::default();
    if let Some(spike) = &spike {
        read.visitor_spike = read_spike(spike, errors);
    } else if is_subscribed(EventType::VisitorSpike) {
        // A `triggers` or `visitor_spike` that is not an object was refused above.
        let is_spike_given = triggers
            .as_ref()
            .is_some_and(|triggers| triggers.get("visitor_spike").is_some());
        if !is_spike_given && (triggers.is_some() || !is_given) {
            let detail = format!("This field is required: {THRESHOLD}.");
            errors.add("/triggers/visitor_spike/threshold", FieldCode::Required, detail);
        }
    }
    let goals = read_filter(goals, GOAL_NAMES, errors);
    read.goal_completion = is_subscribed(EventType::GoalCompletion).then_some(goals);
    let custom = read_filter(custom, EVENT_NAMES, errors);
    read.custom_event = is_subscribed(EventType::CustomEvent).then_some(custom);
    for event in EventType::SUBSCRIBABLE
        .into_iter()
        .filter(|event| event.is_health())
    {
        if let Some(options) = settings(event, errors) {
            refuse_other_options(&options, &[], errors);
        }
    }
    let health = events.unwrap_or_default().iter().copied();
    read.health = health.filter(|event| event.is_health()).collect();
    read
}

/// Reads the names in the field `key`. Without settings or names, every name passes.
fn read_filter(settings: Option<BodyObject<'_>>, key: &str, errors: &mut FieldErrors) -> NameFilter {
    let names = settings.and_then(|settings| {
        refuse_other_options(&settings, &[key], errors);
        settings.texts(key, MAX_NAMES, goal::MAX_NAME_CHARS, errors)
    });
    names.map_or(NameFilter::All, NameFilter::Only)
}

const THRESHOLD: &str =
    "the number of current visitors at which a visitor_spike fires, a whole number of at least 1";

fn read_spike(spike: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<SpikeSettings> {
    refuse_other_options(spike, &SPIKE_OPTIONS, errors);
    spike.require("threshold", THRESHOLD, errors);
    let threshold = spike.integer("threshold", 1..=MAX_THRESHOLD, errors);
    let window_seconds = spike.integer("window_seconds", WINDOW_SECONDS, errors);
    Some(SpikeSettings {
        threshold: threshold?,
        window_seconds: window_seconds.unwrap_or(DEFAULT_WINDOW_SECONDS),
    })
}

/// Refuses triggers and options that do not exist and that a merge patch sets to `null`.
pub(super) fn refuse_unknown_null_triggers(triggers: &BodyObject<'_>, errors: &mut FieldErrors) {
    for name in triggers.names() {
        let options = match EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == name)
        {
            Some(EventType::VisitorSpike) => SPIKE_OPTIONS.as_slice(),
            Some(EventType::GoalCompletion) => &[GOAL_NAMES],
            Some(EventType::CustomEvent) => &[EVENT_NAMES],
            Some(event) if event.is_health() => &[],
            _ if triggers.is_null(name) => {
                refuse_trigger(triggers, name, errors);
                continue;
            }
            // A trigger with a value is refused once it is merged.
            _ => continue,
        };
        let Some(Value::Object(settings)) = triggers.get(name) else {
            continue;
        };
        // Options with a value are refused once they are merged.
        let nulls = settings.iter().filter(|(_, value)| value.is_null());
        let nulls = nulls.map(|(name, value)| (name.clone(), value.clone())).collect();
        refuse_other_options(&triggers.nested(name, &nulls), options, errors);
    }
}

/// Refuses triggers of event types that the webhook does not subscribe to, or that do not exist.
fn refuse_other_triggers(triggers: &BodyObject<'_>, events: Option<&[EventType]>, errors: &mut FieldErrors) {
    for name in triggers.names() {
        let known = EventType::SUBSCRIBABLE
            .into_iter()
            .find(|event| event.as_str() == name);
        let Some(event) = known else {
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

/// Refuses the trigger of an event type that does not exist, or not yet.
fn refuse_trigger(triggers: &BodyObject<'_>, name: &str, errors: &mut FieldErrors) {
    let (code, detail) = if LATER_EVENTS.contains(&name) {
        (FieldCode::NotAvailable, later_event(name))
    } else {
        (FieldCode::UnknownField, unknown_event(name))
    };
    errors.add(triggers.pointer_to(name), code, detail);
}

fn later_event(name: &str) -> String {
    let allowed = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
    format!("The event type `{name}` is not available yet. The event types are {allowed}.")
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

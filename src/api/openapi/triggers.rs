//! Schemas of the triggers of a webhook.
//!
//! The options of a trigger are those that the validator lists. Each option has one schema here.

use serde_json::{Map, Value, json};

use super::schema::{about, boolean, by_default, integer, nullable, text, texts};
use crate::api::trigger_input::{MAX_NAMES, options_of};
use crate::domain::event::EventType;
use crate::domain::goal;

/// 30 days.
const MONTH_SECONDS: u32 = 30 * 86_400;

/// The settings of each event type that a webhook may subscribe to.
pub(super) fn triggers() -> Value {
    let mut properties = Map::new();
    for event in EventType::SUBSCRIBABLE {
        properties.insert(event.as_str().to_owned(), nullable(trigger(event)));
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// Conditions that `events` sets to `triggers`, for an object that has both.
pub(super) fn conditions() -> Value {
    let mut conditions = Vec::new();
    for event in EventType::SUBSCRIBABLE {
        let subscribes =
            json!({"properties": {"events": {"contains": {"const": event}}}, "required": ["events"]});
        let settings = json!({"type": "object", "properties": {event.as_str(): {"type": "object"}}, "required": [event]});
        let is_set = json!({"properties": {"triggers": settings}, "required": ["triggers"]});
        if is_required(event) {
            conditions.push(json!({"if": subscribes, "then": is_set}));
        }
        // A trigger of an event type that the webhook does not subscribe to is refused.
        let is_absent =
            json!({"properties": {"triggers": {"properties": {event.as_str(): {"type": "null"}}}}});
        conditions.push(json!({"if": subscribes, "else": is_absent}));
    }
    json!(conditions)
}

/// True if the event type needs settings of its own.
fn is_required(event: EventType) -> bool {
    event == EventType::ErrorCondition || !required_options(event).is_empty()
}

fn required_options(event: EventType) -> &'static [&'static str] {
    match event.as_str() {
        "visitor_spike" | "visitor_drop" => &["threshold"],
        _ => &[],
    }
}

fn trigger(event: EventType) -> Value {
    let mut properties = Map::new();
    for option in options_of(event) {
        let mut schema = option_schema(event, option);
        if !required_options(event).contains(option) {
            schema = nullable(schema);
        }
        properties.insert((*option).to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "properties": properties, "required": required_options(event),
                            "additionalProperties": false});
    match event {
        EventType::GoalCompletion | EventType::CustomEvent => schema["allOf"] = pace_conditions(),
        EventType::ErrorCondition => schema["allOf"] = error_conditions(),
        _ => {}
    }
    schema
}

/// An object in which the option is given.
fn given(option: &str) -> Value {
    json!({"type": "object", "properties": {option: {"not": {"type": "null"}}}, "required": [option]})
}

/// An object in which the option is given, and not false.
fn asked(option: &str) -> Value {
    json!({"type": "object", "properties": {option: {"not": {"enum": [null, false]}}}, "required": [option]})
}

/// `at_least` and `within_seconds` go together, and exclude `every`.
fn pace_conditions() -> Value {
    json!([
        {"if": given("at_least"), "then": given("within_seconds")},
        {"if": given("within_seconds"), "then": given("at_least")},
        {"not": {"allOf": [given("at_least"), given("every")]}},
    ])
}

/// One kind of error at least, and a name only of events that are counted.
fn error_conditions() -> Value {
    json!([
        {"anyOf": [{"type": "null"}, asked("error_events"), asked("rejected_events"), asked("silence")]},
        {"if": given("error_event"), "then": asked("error_events")},
    ])
}

/// The schema of an option of an event type's trigger.
fn option_schema(event: EventType, option: &str) -> Value {
    let is_drop = event.as_str() == "visitor_drop";
    match option {
        "threshold" => {
            let most = if is_drop { 4_000 } else { 1_000_000_000 };
            about(integer(1..=most), "The number of visitors at which it fires.")
        }
        "window_seconds" => {
            let (range, default) = if is_drop {
                (300..=86_400, 43_200)
            } else {
                (60..=3_600, 300)
            };
            by_default(
                about(integer(range), "The time within which visitors count."),
                default,
            )
        }
        "goals" => about(names(), "Names of goals; without it, every goal triggers."),
        "names" => about(
            names(),
            "Names of events; without it, every custom event triggers.",
        ),
        _ => shared_option_schema(option),
    }
}

/// The schema of an option that means the same to every event type.
fn shared_option_schema(option: &str) -> Value {
    match option {
        "repeat_after_seconds" => about(
            integer(60..=MONTH_SECONDS),
            "The time between reminders while it lasts.",
        ),
        "min_interval_seconds" => by_default(
            about(
                integer(0..=MONTH_SECONDS),
                "The least time between the beginnings of two alerts.",
            ),
            0,
        ),
        "notify_resolved" => by_default(about(boolean(), "True notifies of the end, too."), false),
        "require_history" => by_default(
            about(
                boolean(),
                "True waits until the first event of the site is older than the window.",
            ),
            true,
        ),
        "at_least" => about(
            integer(1..=10_000),
            "The number of events within `within_seconds`.",
        ),
        "within_seconds" => integer(1..=3_600),
        "every" => about(
            integer(1..=1_000_000_000),
            "Notifies of each event of this number.",
        ),
        "error_events" | "rejected_events" => {
            let schema = json!({"type": ["boolean", "integer"], "minimum": 1, "maximum": 1_000_000});
            about(
                schema,
                "The number within the window that is too many; true for the usual one.",
            )
        }
        "error_event" => about(
            text(goal::MAX_NAME_CHARS),
            "The custom event that `error_events` counts.",
        ),
        "silence" => silence(),
        // A test finds options that have no schema.
        _ => json!({}),
    }
}

fn names() -> Value {
    texts(MAX_NAMES, goal::MAX_NAME_CHARS)
}

/// No event of the site, or of one of its goals, for longer than is plausible.
fn silence() -> Value {
    let goal = json!({"type": "object", "properties": {"goal": text(goal::MAX_NAME_CHARS)}, "required": ["goal"],
                      "additionalProperties": false});
    about(
        json!({"anyOf": [boolean(), goal]}),
        "No event for longer than is plausible, of the site or of a goal.",
    )
}

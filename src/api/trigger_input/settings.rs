//! Reading the settings of one event type.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::api::field_errors::{FieldCode, FieldErrors};
use crate::api::validate::BodyObject;
use crate::domain::event::EventType;
use crate::domain::goal;
use crate::domain::trigger::{
    DEFAULT_DROP_WINDOW_SECONDS, DEFAULT_ERROR_EVENTS, DEFAULT_REJECTED_EVENTS, DEFAULT_WINDOW_SECONDS,
    DropSettings, EVENT_NAMES, EpisodeTrigger, ErrorSettings, ErrorTrigger, GOAL_NAMES, NameFilter,
    NameTrigger, NoticeOptions, NoticePace, SpikeSettings, Triggers,
};

const SPIKE_THRESHOLD: RangeInclusive<u32> = 1..=1_000_000_000;
/// Windows that the table of visitors counts.
const SHORT_WINDOW_SECONDS: RangeInclusive<u32> = 60..=3_600;
/// As many of the latest visitors are kept.
const DROP_THRESHOLD: RangeInclusive<u32> = 1..=4_000;
const DROP_WINDOW_SECONDS: RangeInclusive<u32> = 300..=86_400;
/// Up to 30 days.
const REPEAT_AFTER_SECONDS: RangeInclusive<u32> = 60..=30 * 86_400;
const MIN_INTERVAL_SECONDS: RangeInclusive<u32> = 0..=30 * 86_400;
const ERROR_COUNT: RangeInclusive<u32> = 1..=1_000_000;
/// As many events are kept.
const AT_LEAST: RangeInclusive<u32> = 1..=10_000;
const WITHIN_SECONDS: RangeInclusive<u32> = 1..=3_600;
const EVERY: RangeInclusive<u32> = 1..=1_000_000_000;
/// Most names in one filter.
pub(in crate::api) const MAX_NAMES: usize = 1_000;

/// Reads the settings of `event` into `triggers`.
pub(super) fn read(
    triggers: &mut Triggers,
    event: EventType,
    settings: &BodyObject<'_>,
    errors: &mut FieldErrors,
) {
    match event {
        EventType::VisitorSpike => triggers.visitor_spike = read_spike(settings, errors),
        EventType::VisitorDrop => triggers.visitor_drop = read_drop(settings, errors),
        EventType::ErrorCondition => triggers.error_condition = read_errors(settings, errors),
        EventType::GoalCompletion => {
            triggers.goal_completion = Some(read_names(settings, GOAL_NAMES, errors))
        }
        EventType::CustomEvent => triggers.custom_event = Some(read_names(settings, EVENT_NAMES, errors)),
        _ => {}
    }
}

fn read_spike(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<EpisodeTrigger<SpikeSettings>> {
    let threshold = read_threshold(
        settings,
        "the number of current visitors at which a visitor_spike fires, a whole number of at least 1",
        SPIKE_THRESHOLD,
        errors,
    );
    let window_seconds = settings.integer("window_seconds", SHORT_WINDOW_SECONDS, errors);
    let options = read_options(settings, errors);
    let condition = SpikeSettings {
        threshold: threshold?,
        window_seconds: window_seconds.unwrap_or(DEFAULT_WINDOW_SECONDS),
    };
    Some(EpisodeTrigger { condition, options })
}

fn read_drop(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<EpisodeTrigger<DropSettings>> {
    let threshold = read_threshold(
        settings,
        "the number of visitors below which a visitor_drop fires, a whole number from 1 to 4000",
        DROP_THRESHOLD,
        errors,
    );
    let window_seconds = settings.integer("window_seconds", DROP_WINDOW_SECONDS, errors);
    let require_history = settings.boolean("require_history", errors);
    let options = read_options(settings, errors);
    let condition = DropSettings {
        threshold: threshold?,
        window_seconds: window_seconds.unwrap_or(DEFAULT_DROP_WINDOW_SECONDS),
        require_history: require_history.unwrap_or(true),
    };
    Some(EpisodeTrigger { condition, options })
}

fn read_threshold(
    settings: &BodyObject<'_>,
    meaning: &str,
    range: RangeInclusive<u32>,
    errors: &mut FieldErrors,
) -> Option<u32> {
    settings.require("threshold", meaning, errors);
    settings.integer("threshold", range, errors)
}

fn read_options(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> NoticeOptions {
    let repeat_after_seconds = settings.integer("repeat_after_seconds", REPEAT_AFTER_SECONDS, errors);
    let min_interval_seconds = settings.integer("min_interval_seconds", MIN_INTERVAL_SECONDS, errors);
    let notify_resolved = settings.boolean("notify_resolved", errors);
    NoticeOptions {
        repeat_after_seconds,
        min_interval_seconds: min_interval_seconds.unwrap_or(0),
        notify_resolved: notify_resolved.unwrap_or(false),
    }
}

fn read_errors(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<ErrorTrigger> {
    let before = errors.count();
    let window_seconds = settings.integer("window_seconds", SHORT_WINDOW_SECONDS, errors);
    let window_seconds = window_seconds.unwrap_or(DEFAULT_WINDOW_SECONDS);
    let mut conditions = Vec::new();
    let event = settings.text("error_event", goal::MAX_NAME_CHARS, errors);
    if let Some(count) = read_count(settings, "error_events", DEFAULT_ERROR_EVENTS, errors) {
        conditions.push(ErrorSettings::ErrorEvents {
            count,
            event: event.map(str::to_owned),
            window_seconds,
        });
    } else if settings.get("error_event").is_some() && !is_true_or_number(settings.get("error_events")) {
        errors.add(
            settings.pointer_to("error_event"),
            FieldCode::NotApplicable,
            "This field names the event that `error_events` counts. Give `error_events` too, or leave it out.",
        );
    }
    if let Some(count) = read_count(settings, "rejected_events", DEFAULT_REJECTED_EVENTS, errors) {
        conditions.push(ErrorSettings::RejectedEvents {
            count,
            window_seconds,
        });
    }
    let is_counted = !conditions.is_empty();
    conditions.extend(read_silence(settings, errors));
    // Answers show the usual window beside a count: one that a PATCH leaves behind does no harm.
    let is_usual = window_seconds == DEFAULT_WINDOW_SECONDS;
    if !is_counted && !conditions.is_empty() && !is_usual {
        errors.add(
            settings.pointer_to("window_seconds"),
            FieldCode::NotApplicable,
            "This field is the time within which `error_events` and `rejected_events` are counted; a `silence` has none. \
             Give one of them too, or leave it out.",
        );
    }
    let options = read_options(settings, errors);
    if conditions.is_empty() && errors.count() == before {
        // The field that a caller most likely forgot.
        errors.add(
            settings.pointer_to("error_events"),
            FieldCode::Required,
            "This field is required: an error_condition needs `error_events`, `rejected_events` or `silence`.",
        );
    }
    (!conditions.is_empty()).then_some(ErrorTrigger { conditions, options })
}

fn is_true_or_number(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true) | Value::Number(_)))
}

/// Reads a number of events; `true` stands for the usual one, `false` for none.
fn read_count(settings: &BodyObject<'_>, name: &str, usual: u32, errors: &mut FieldErrors) -> Option<u32> {
    match settings.get(name)? {
        Value::Bool(wanted) => wanted.then_some(usual),
        Value::Number(_) => settings.integer(name, ERROR_COUNT, errors),
        other => {
            errors.add_wrong_type(settings.pointer_to(name), other, "true or a whole number");
            None
        }
    }
}

fn read_silence(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<ErrorSettings> {
    match settings.get("silence")? {
        Value::Bool(wanted) => wanted.then_some(ErrorSettings::Silence { goal: None }),
        Value::Object(_) => {
            let silence = settings.object("silence", errors)?;
            silence.refuse_unknown(&["goal"], errors);
            silence.require("goal", "the name of the goal whose completions stay away", errors);
            let goal = silence.text("goal", goal::MAX_NAME_CHARS, errors)?;
            Some(ErrorSettings::Silence {
                goal: Some(goal.to_owned()),
            })
        }
        other => {
            let pointer = settings.pointer_to("silence");
            errors.add_wrong_type(pointer, other, "true or an object with a goal");
            None
        }
    }
}

/// Reads names, of which `key` is the field, and the pace. Without names, every name passes.
fn read_names(settings: &BodyObject<'_>, key: &str, errors: &mut FieldErrors) -> NameTrigger {
    let names = settings.texts(key, MAX_NAMES, goal::MAX_NAME_CHARS, errors);
    NameTrigger {
        names: names.map_or(NameFilter::All, NameFilter::Only),
        pace: read_pace(settings, errors),
    }
}

fn read_pace(settings: &BodyObject<'_>, errors: &mut FieldErrors) -> NoticePace {
    let is_given = |name: &str| settings.get(name).is_some();
    if is_given("every") {
        for name in ["at_least", "within_seconds"]
            .into_iter()
            .filter(|name| is_given(name))
        {
            errors.add(
                settings.pointer_to(name),
                FieldCode::NotApplicable,
                "`every` and `at_least` exclude each other: leave one of them out.",
            );
        }
        return settings
            .integer("every", EVERY, errors)
            .map_or(NoticePace::Each, NoticePace::Every);
    }
    match (is_given("at_least"), is_given("within_seconds")) {
        (true, false) => {
            let meaning = "the seconds within which `at_least` events count, from 1 to 3600";
            settings.require("within_seconds", meaning, errors);
        }
        (false, true) => {
            let meaning = "the number of events within `within_seconds` that is notified";
            settings.require("at_least", meaning, errors);
        }
        _ => {}
    }
    let at_least = settings.integer("at_least", AT_LEAST, errors);
    let within_seconds = settings.integer("within_seconds", WITHIN_SECONDS, errors);
    match (at_least, within_seconds) {
        (Some(at_least), Some(within_seconds)) => NoticePace::AtLeast {
            at_least,
            within_seconds,
        },
        _ => NoticePace::Each,
    }
}

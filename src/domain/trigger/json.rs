//! Triggers as JSON, as the API shows them and Postgres keeps them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    DEFAULT_WINDOW_SECONDS, EVENT_NAMES, ErrorSettings, ErrorTrigger, GOAL_NAMES, NameFilter, NameTrigger,
    NoticePace, Triggers,
};
use crate::domain::event::EventType;

impl Triggers {
    /// Settings by event type; types without any have no key.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |event: EventType, settings: Option<Value>| {
            let settings =
                settings.filter(|settings| settings.as_object().is_some_and(|map| !map.is_empty()));
            map.extend(settings.map(|settings| (event.as_str().to_owned(), settings)));
        };
        put(
            EventType::VisitorSpike,
            self.visitor_spike.as_ref().and_then(written),
        );
        put(
            EventType::VisitorDrop,
            self.visitor_drop.as_ref().and_then(written),
        );
        put(
            EventType::ErrorCondition,
            self.error_condition.as_ref().map(write_errors),
        );
        let goals = self.goal_completion.as_ref();
        put(
            EventType::GoalCompletion,
            goals.map(|goals| write_names(goals, GOAL_NAMES)),
        );
        let custom = self.custom_event.as_ref();
        put(
            EventType::CustomEvent,
            custom.map(|custom| write_names(custom, EVENT_NAMES)),
        );
        map
    }

    /// Reads what [`to_json`](Self::to_json) wrote, for these event types. `None` when it holds
    /// less than they need.
    pub(crate) fn from_json(events: &[EventType], json: &Value) -> Option<Self> {
        let mut triggers = Self::default();
        for event in events {
            let settings = json.get(event.as_str());
            match event {
                EventType::VisitorSpike => triggers.visitor_spike = Some(read(settings?)?),
                EventType::VisitorDrop => triggers.visitor_drop = Some(read(settings?)?),
                EventType::ErrorCondition => triggers.error_condition = Some(read_errors(settings?)?),
                EventType::GoalCompletion => {
                    triggers.goal_completion = Some(read_names(settings, GOAL_NAMES)?)
                }
                EventType::CustomEvent => triggers.custom_event = Some(read_names(settings, EVENT_NAMES)?),
                EventType::WebhookFailing | EventType::WebhookRecovered | EventType::WebhookDisabled => {
                    triggers.health.push(*event);
                }
                _ => return None,
            }
        }
        Some(triggers)
    }
}

fn written(settings: &impl Serialize) -> Option<Value> {
    serde_json::to_value(settings).ok()
}

fn read<'a, T: Deserialize<'a>>(settings: &'a Value) -> Option<T> {
    T::deserialize(settings).ok()
}

fn write_errors(trigger: &ErrorTrigger) -> Value {
    let mut map = Map::new();
    for condition in &trigger.conditions {
        map.extend(condition.to_json());
    }
    if let Some(Value::Object(options)) = written(&trigger.options) {
        map.extend(options);
    }
    Value::Object(map)
}

impl ErrorSettings {
    /// The settings of this one condition.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let value = match self {
            Self::ErrorEvents { count, event, .. } => {
                let event = event.as_ref();
                map.extend(event.map(|event| ("error_event".to_owned(), json!(event))));
                json!(count)
            }
            Self::RejectedEvents { count, .. } => json!(count),
            Self::Silence { goal: None } => json!(true),
            Self::Silence { goal: Some(goal) } => json!({"goal": goal}),
        };
        map.insert(self.kind().to_owned(), value);
        if let Self::ErrorEvents { window_seconds, .. } | Self::RejectedEvents { window_seconds, .. } = self {
            map.insert("window_seconds".to_owned(), json!(window_seconds));
        }
        map
    }
}

fn read_errors(settings: &Value) -> Option<ErrorTrigger> {
    let number = |key: &str| settings.get(key).and_then(Value::as_u64)?.try_into().ok();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let window_seconds = number("window_seconds").unwrap_or(DEFAULT_WINDOW_SECONDS);
    let mut conditions = Vec::new();
    if let Some(count) = number("error_events") {
        conditions.push(ErrorSettings::ErrorEvents {
            count,
            event: text(settings.get("error_event")),
            window_seconds,
        });
    }
    if let Some(count) = number("rejected_events") {
        conditions.push(ErrorSettings::RejectedEvents {
            count,
            window_seconds,
        });
    }
    if let Some(silence) = settings.get("silence") {
        conditions.push(ErrorSettings::Silence {
            goal: text(silence.get("goal")),
        });
    }
    let options = read(settings)?;
    (!conditions.is_empty()).then_some(ErrorTrigger { conditions, options })
}

fn write_names(trigger: &NameTrigger, key: &str) -> Value {
    let mut map = Map::new();
    if let NameFilter::Only(names) = &trigger.names {
        map.insert(key.to_owned(), json!(names));
    }
    let pace = match trigger.pace {
        NoticePace::Each => json!({}),
        NoticePace::AtLeast {
            at_least,
            within_seconds,
        } => json!({"at_least": at_least, "within_seconds": within_seconds}),
        NoticePace::Every(every) => json!({"every": every}),
    };
    map.extend(pace.as_object().cloned().unwrap_or_default());
    Value::Object(map)
}

fn read_names(settings: Option<&Value>, key: &str) -> Option<NameTrigger> {
    let Some(settings) = settings else {
        return Some(NameTrigger::default());
    };
    let number = |key: &str| settings.get(key).map(read::<u32>);
    let names = match settings.get(key) {
        None => NameFilter::All,
        Some(names) => NameFilter::Only(read(names)?),
    };
    let pace = match (number("at_least"), number("within_seconds"), number("every")) {
        (None, None, None) => NoticePace::Each,
        (Some(at_least), Some(within_seconds), None) => NoticePace::AtLeast {
            at_least: at_least?,
            within_seconds: within_seconds?,
        },
        (None, None, Some(every)) => NoticePace::Every(every?),
        _ => return None,
    };
    Some(NameTrigger { names, pace })
}

//! Samples of what notifications say: the examples of the published schema, so that both are one.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Map, Value};

use super::event::EventType;

/// The schema of notifications, with an example of each event type.
const SCHEMA: &str = include_str!("../../docs/notification.schema.json");

/// The data of a notification as it might come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EventSample {
    pub(crate) event: EventType,
    pub(crate) data: Map<String, Value>,
}

static EXAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap_or_default();
    match schema["examples"].take() {
        Value::Array(examples) => examples,
        _ => Vec::new(),
    }
});

/// The sample of an event type.
pub(crate) fn of(event: EventType) -> EventSample {
    let example = EXAMPLES.iter().find(|one| one["event"] == event.as_str());
    let data = example.and_then(|one| one["data"].as_object()).cloned();
    EventSample {
        event,
        data: data.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_has_a_sample() {
        for event in EventType::ALL {
            assert!(!of(event).data.is_empty(), "{event}");
        }
    }
}

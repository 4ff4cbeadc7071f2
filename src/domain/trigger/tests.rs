use serde_json::{Value, json};

use super::*;
use crate::domain::event::EventType;

const ALL: [EventType; 5] = EventType::WITH_EPISODES;

fn spike() -> SpikeSettings {
    SpikeSettings {
        threshold: 5,
        window_seconds: 300,
    }
}

fn read(events: &[EventType], json: &Value) -> Option<Triggers> {
    Triggers::from_json(events, json)
}

#[test]
fn triggers_are_read_as_they_were_written() {
    let json = json!({
        "visitor_spike": {"threshold": 5, "window_seconds": 300, "notify_resolved": true},
        "visitor_drop": {"threshold": 10, "window_seconds": 43_200, "require_history": false,
                         "repeat_after_seconds": 3_600, "min_interval_seconds": 60},
        "error_condition": {"error_events": 50, "error_event": "404", "rejected_events": 9,
                            "silence": {"goal": "Signup"}, "window_seconds": 300},
        "goal_completion": {"goals": ["Signup"], "at_least": 3, "within_seconds": 60},
        "custom_event": {"every": 10},
    });
    let triggers = read(&ALL, &json).expect("readable");
    assert_eq!(Value::Object(triggers.to_json()), json);
    let errors = triggers.error_condition.expect("given");
    let kinds: Vec<_> = errors.conditions.iter().map(ErrorSettings::kind).collect();
    assert_eq!(kinds, ["error_events", "rejected_events", "silence"]);
}

#[test]
fn health_notices_are_read_in_the_order_given() {
    let events = [EventType::WebhookRecovered, EventType::WebhookFailing];
    let triggers = read(&events, &json!({})).expect("readable");
    assert_eq!(triggers.health, events);
    assert!(triggers.to_json().is_empty());
}

#[test]
fn defaults_are_not_written() {
    let triggers = Triggers {
        visitor_spike: Some(spike().into()),
        goal_completion: Some(NameFilter::All.into()),
        ..Triggers::default()
    };
    let json = json!({"visitor_spike": {"threshold": 5, "window_seconds": 300}});
    assert_eq!(Value::Object(triggers.to_json()), json);
    let events = [EventType::VisitorSpike, EventType::GoalCompletion];
    assert_eq!(read(&events, &json), Some(triggers));
}

#[test]
fn triggers_of_the_build_before_are_read() {
    let json =
        json!({"visitor_spike": {"threshold": 5, "window_seconds": 300}, "custom_event": {"names": ["404"]}});
    let triggers = read(&[EventType::VisitorSpike, EventType::CustomEvent], &json).expect("readable");
    assert_eq!(triggers.visitor_spike, Some(spike().into()));
    let only = NameFilter::Only(vec!["404".to_owned()]);
    assert_eq!(triggers.custom_event, Some(only.into()));
}

#[test]
fn a_trigger_without_what_it_needs_cannot_be_read() {
    for event in [
        EventType::VisitorSpike,
        EventType::VisitorDrop,
        EventType::ErrorCondition,
    ] {
        assert_eq!(read(&[event], &json!({})), None);
        assert_eq!(read(&[event], &json!({event.as_str(): {}})), None);
    }
    let goals = json!({"goal_completion": {"at_least": 3}});
    assert_eq!(read(&[EventType::GoalCompletion], &goals), None);
}

#[test]
fn levels_are_those_of_the_specification() {
    let drop = |threshold| DropSettings {
        threshold,
        window_seconds: 300,
        require_history: true,
    };
    for (threshold, level) in [(1, 2), (5, 6), (6, 8), (10, 12), (4_000, 4_800)] {
        assert_eq!(drop(threshold).rearm_level(), level);
    }
    let spike = |threshold| SpikeSettings { threshold, ..spike() };
    for (threshold, level) in [
        (1, 0),
        (2, 1),
        (4, 3),
        (5, 4),
        (6, 4),
        (10, 8),
        (u32::MAX, 3_435_973_836),
    ] {
        assert_eq!(spike(threshold).rearm_level(), level, "{threshold}");
    }
}

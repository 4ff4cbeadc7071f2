//! `events` and `triggers`.

use serde_json::{Value, json};

use super::{body, create, refused};
use crate::domain::event::EventType;
use crate::domain::trigger::{NameFilter, SpikeSettings};

#[test]
fn only_known_events_are_accepted() {
    refused(json!({"events": null}), &[("/events", "required")]);
    refused(json!({"events": []}), &[("/events", "empty")]);
    refused(json!({"events": "goal_completion"}), &[("/events", "wrong_type")]);
    refused(
        json!({"events": ["goal_completion", "goal_completion"]}),
        &[("/events/1", "duplicate")],
    );
    refused(
        json!({"events": ["goal_completion", 7, "nonsense", "test"]}),
        &[
            ("/events/1", "wrong_type"),
            ("/events/2", "unknown"),
            ("/events/3", "not_available"),
        ],
    );
    for later in LATER_EVENT_NAMES {
        refused(json!({"events": [later]}), &[("/events/0", "not_available")]);
    }
}

const LATER_EVENT_NAMES: [&str; 4] = [
    "visitor_drop",
    "visitor_spike_resolved",
    "visitor_drop_resolved",
    "error_condition",
];

#[test]
fn health_notices_are_subscribed_to_without_settings() {
    let events = json!(["webhook_failing", "webhook_disabled"]);
    let read = |triggers: Value| {
        let body = json!({"events": events, "triggers": triggers});
        create(&super::body(body)).expect("valid")
    };
    let health = vec![EventType::WebhookFailing, EventType::WebhookDisabled];
    for triggers in [json!({}), json!({"webhook_failing": {}})] {
        assert_eq!(read(triggers).triggers.health, health);
    }
    refused(
        json!({"events": events, "triggers": {"webhook_failing": {"threshold": 1}}}),
        &[("/triggers/webhook_failing/threshold", "unknown_field")],
    );
    refused(
        json!({"events": events, "triggers": {"webhook_recovered": {}}}),
        &[("/triggers/webhook_recovered", "not_subscribed")],
    );
}

#[test]
fn a_spike_needs_its_threshold() {
    let missing = [("/triggers/visitor_spike/threshold", "required")];
    let spike = json!(["visitor_spike"]);
    refused(json!({"events": spike}), &missing);
    refused(json!({"events": spike, "triggers": {}}), &missing);
    refused(
        json!({"events": spike, "triggers": {"visitor_spike": {}}}),
        &missing,
    );
    refused(
        json!({"events": spike, "triggers": {"visitor_spike": null}}),
        &missing,
    );
    refused(
        json!({"events": spike, "triggers": {"visitor_spike": {"window_seconds": 60}}}),
        &missing,
    );
    refused(
        json!({"events": spike, "triggers": {"visitor_spike": {"threshold": null}}}),
        &missing,
    );
    refused(
        json!({"events": spike, "triggers": {"visitor_spike": 5}}),
        &[("/triggers/visitor_spike", "wrong_type")],
    );
    refused(
        json!({"events": spike, "triggers": []}),
        &[("/triggers", "wrong_type")],
    );
    let ok = create(&body(
        json!({"events": spike, "triggers": {"visitor_spike": {"threshold": 1}}}),
    ))
    .expect("valid");
    assert_eq!(
        ok.triggers.visitor_spike,
        Some(SpikeSettings {
            threshold: 1,
            window_seconds: 300
        })
    );
}

#[test]
fn settings_of_triggers_have_limits() {
    let spike =
        |settings: Value| json!({"events": ["visitor_spike"], "triggers": {"visitor_spike": settings}});
    for (settings, field) in [
        (json!({"threshold": 0}), "threshold"),
        (json!({"threshold": -5}), "threshold"),
        (json!({"threshold": 1.5}), "threshold"),
        (json!({"threshold": 5, "window_seconds": 59}), "window_seconds"),
        (json!({"threshold": 5, "window_seconds": 3601}), "window_seconds"),
    ] {
        refused(
            spike(settings),
            &[(&format!("/triggers/visitor_spike/{field}"), "out_of_range")],
        );
    }
    for window in [60, 3_600] {
        assert!(create(&body(spike(json!({"threshold": 5, "window_seconds": window})))).is_ok());
    }
    refused(
        spike(json!({"threshold": 5, "treshold": 5})),
        &[("/triggers/visitor_spike/treshold", "unknown_field")],
    );
    for later in [
        "change_percent",
        "sensitivity",
        "repeat_after_seconds",
        "min_interval_seconds",
        "notify_resolved",
    ] {
        let pointer = format!("/triggers/visitor_spike/{later}");
        refused(
            spike(json!({"threshold": 5, later: 1})),
            &[(&pointer, "not_available")],
        );
    }

    let goals = |settings: Value| json!({"triggers": {"goal_completion": settings}});
    refused(
        goals(json!({"goals": []})),
        &[("/triggers/goal_completion/goals", "empty")],
    );
    refused(
        goals(json!({"goals": "Signup"})),
        &[("/triggers/goal_completion/goals", "wrong_type")],
    );
    refused(
        goals(json!({"goals": ["Signup", "", "Signup"]})),
        &[
            ("/triggers/goal_completion/goals/1", "empty"),
            ("/triggers/goal_completion/goals/2", "duplicate"),
        ],
    );
    refused(
        goals(json!({"goals": ["x".repeat(121)]})),
        &[("/triggers/goal_completion/goals/0", "too_long")],
    );
    refused(
        goals(json!({"names": ["Signup"]})),
        &[("/triggers/goal_completion/names", "unknown_field")],
    );
    refused(
        goals(json!({"every": 2, "at_least": 3})),
        &[
            ("/triggers/goal_completion/at_least", "not_available"),
            ("/triggers/goal_completion/every", "not_available"),
        ],
    );
    for open in [json!({}), json!({"goals": null}), json!(null)] {
        assert_eq!(
            create(&body(goals(open)))
                .expect("valid")
                .triggers
                .goal_completion,
            Some(NameFilter::All)
        );
    }
}

#[test]
fn a_trigger_belongs_to_a_subscribed_event_type() {
    refused(
        json!({"triggers": {"visitor_spike": {"threshold": 5}}}),
        &[("/triggers/visitor_spike", "not_subscribed")],
    );
    refused(
        json!({"triggers": {"visitor_drop": {"threshold": 5}}}),
        &[("/triggers/visitor_drop", "not_available")],
    );
    refused(
        json!({"triggers": {"page_view": {}}}),
        &[("/triggers/page_view", "unknown_field")],
    );
}

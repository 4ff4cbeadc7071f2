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

const LATER_EVENT_NAMES: [&str; 2] = ["visitor_spike_resolved", "visitor_drop_resolved"];

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
        Some(
            SpikeSettings {
                threshold: 1,
                window_seconds: 300
            }
            .into()
        )
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
    for later in ["change_percent", "sensitivity"] {
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
        &[("/triggers/goal_completion/at_least", "not_applicable")],
    );
    for open in [json!({}), json!({"goals": null}), json!(null)] {
        assert_eq!(
            create(&body(goals(open)))
                .expect("valid")
                .triggers
                .goal_completion,
            Some(NameFilter::All.into())
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
        &[("/triggers/visitor_drop", "not_subscribed")],
    );
    refused(
        json!({"triggers": {"visitor_drop_resolved": {}}}),
        &[("/triggers/visitor_drop_resolved", "not_available")],
    );
    refused(
        json!({"triggers": {"page_view": {}}}),
        &[("/triggers/page_view", "unknown_field")],
    );
}

/// A webhook with one event type and its settings.
fn only(event: &str, settings: Value) -> Value {
    json!({"events": [event], "triggers": {event: settings}})
}

/// Asserts that each of these settings is refused at one field.
fn each_refused(event: &str, cases: &[(Value, &str, &str)]) {
    for (settings, field, code) in cases {
        let pointer = format!("/triggers/{event}{field}");
        refused(only(event, settings.clone()), &[(&pointer, code)]);
    }
}

/// Reads settings and returns them as answers show them.
fn shown(event: &str, settings: Value) -> Value {
    let settings = create(&body(only(event, settings)))
        .expect("valid")
        .triggers
        .to_json();
    settings.get(event).cloned().unwrap_or_else(|| json!({}))
}

#[test]
fn a_drop_needs_its_threshold_and_has_a_window_of_twelve_hours() {
    refused(
        json!({"events": ["visitor_drop"]}),
        &[("/triggers/visitor_drop/threshold", "required")],
    );
    each_refused(
        "visitor_drop",
        &[
            (json!({}), "/threshold", "required"),
            (json!({"threshold": 0}), "/threshold", "out_of_range"),
            (json!({"threshold": 4_001}), "/threshold", "out_of_range"),
            (
                json!({"threshold": 5, "window_seconds": 299}),
                "/window_seconds",
                "out_of_range",
            ),
            (
                json!({"threshold": 5, "window_seconds": 86_401}),
                "/window_seconds",
                "out_of_range",
            ),
            (
                json!({"threshold": 5, "require_history": 1}),
                "/require_history",
                "wrong_type",
            ),
            (
                json!({"threshold": 5, "repeat_after_seconds": 59}),
                "/repeat_after_seconds",
                "out_of_range",
            ),
            (
                json!({"threshold": 5, "min_interval_seconds": -1}),
                "/min_interval_seconds",
                "out_of_range",
            ),
            (
                json!({"threshold": 5, "notify_resolved": "yes"}),
                "/notify_resolved",
                "wrong_type",
            ),
        ],
    );
    assert_eq!(
        shown("visitor_drop", json!({"threshold": 4_000})),
        json!({"threshold": 4_000, "window_seconds": 43_200})
    );
    let all = json!({"threshold": 1, "window_seconds": 300, "require_history": false, "repeat_after_seconds": 60,
                     "min_interval_seconds": 5, "notify_resolved": true});
    assert_eq!(shown("visitor_drop", all.clone()), all);
}

#[test]
fn an_error_condition_needs_at_least_one_kind() {
    let event = "error_condition";
    let missing = [("/triggers/error_condition/error_events", "required")];
    refused(json!({"events": [event]}), &missing);
    each_refused(
        event,
        &[
            (json!({}), "/error_events", "required"),
            (json!({"error_events": false}), "/error_events", "required"),
            (json!({"error_events": 0}), "/error_events", "out_of_range"),
            (json!({"error_events": "many"}), "/error_events", "wrong_type"),
            (json!({"rejected_events": []}), "/rejected_events", "wrong_type"),
            (
                json!({"rejected_events": true, "error_event": "404"}),
                "/error_event",
                "not_applicable",
            ),
            (
                json!({"silence": true, "window_seconds": 600}),
                "/window_seconds",
                "not_applicable",
            ),
            (
                json!({"silence": true, "error_events": false, "window_seconds": 600}),
                "/window_seconds",
                "not_applicable",
            ),
            (json!({"silence": 5}), "/silence", "wrong_type"),
            (json!({"silence": {}}), "/silence/goal", "required"),
            (
                json!({"silence": {"goal": "Signup", "gaol": 1}}),
                "/silence/gaol",
                "unknown_field",
            ),
            (
                json!({"error_events": true, "window_seconds": 3_601}),
                "/window_seconds",
                "out_of_range",
            ),
            (
                json!({"error_events": true, "notify_resolved": true}),
                "/notify_resolved",
                "unknown_field",
            ),
        ],
    );
    assert_eq!(
        shown(
            event,
            json!({"error_events": true, "rejected_events": true, "silence": true})
        ),
        json!({"error_events": 50, "rejected_events": 100, "silence": true, "window_seconds": 300})
    );
    let all =
        json!({"error_events": 7, "error_event": "404", "silence": {"goal": "Signup"}, "window_seconds": 60});
    assert_eq!(shown(event, all.clone()), all);
}

#[test]
fn a_pace_is_each_at_least_or_every() {
    for event in ["goal_completion", "custom_event"] {
        each_refused(
            event,
            &[
                (json!({"at_least": 3}), "/within_seconds", "required"),
                (json!({"within_seconds": 3}), "/at_least", "required"),
                (
                    json!({"at_least": 0, "within_seconds": 3}),
                    "/at_least",
                    "out_of_range",
                ),
                (
                    json!({"at_least": 3, "within_seconds": 3_601}),
                    "/within_seconds",
                    "out_of_range",
                ),
                (json!({"every": 0}), "/every", "out_of_range"),
                (json!({"every": "10"}), "/every", "wrong_type"),
            ],
        );
        for pace in [
            json!({"at_least": 3, "within_seconds": 3_600}),
            json!({"every": 10}),
            json!({}),
        ] {
            assert_eq!(shown(event, pace.clone()), pace);
        }
    }
}

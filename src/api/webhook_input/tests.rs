//! Every field of a webhook: good, bad, several bad at once.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::merge;
use crate::domain::event::EventType;
use crate::domain::trigger::{NameFilter, SpikeSettings, Triggers};

fn rules() -> WebhookRules {
    WebhookRules {
        target: TargetRules::default(),
        retry_schedules: ["default", "patient"].map(str::to_owned).into_iter().collect(),
    }
}

/// A valid body with these fields set; `null` takes one out.
fn body(changes: Value) -> Map<String, Value> {
    let mut body = match json!({"url": "https://hooks.example.com/x", "events": ["goal_completion"]}) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let Value::Object(changes) = changes else {
        panic!("an object")
    };
    for (name, value) in changes {
        body.insert(name, value);
    }
    body
}

/// What a create would make of the body: settings, or the pointers and codes of all that is wrong.
fn create(body: &Map<String, Value>) -> Result<WebhookSettings, Vec<(String, &'static str)>> {
    let mut errors = Errors::default();
    let object = Object::root(body);
    refuse_other_fields(&object, &mut errors);
    read_secret(&object, &mut errors);
    let settings = read_settings(&object, &rules(), None, &mut errors);
    match settings {
        Some(settings) if errors.is_empty() => Ok(settings),
        _ => Err(errors
            .into_list()
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect()),
    }
}

fn refused(changes: Value, wanted: &[(&str, &str)]) {
    let found = create(&body(changes.clone())).expect_err(&format!("{changes} is refused"));
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(pointer, code)| (pointer.as_str(), *code))
        .collect();
    assert_eq!(found, wanted, "{changes}");
}

#[test]
fn what_is_left_out_has_a_default() {
    for changes in [
        json!({}),
        json!({"name": null, "format": null, "headers": null, "triggers": null, "enabled": null, "secret": null,
               "failure_threshold": null, "max_concurrency": null, "retry_schedule": null, "max_age_seconds": null}),
    ] {
        let settings = create(&body(changes)).expect("valid");
        assert_eq!(settings.name, "hooks.example.com");
        assert_eq!(settings.format, Format::Json);
        assert_eq!(settings.headers, []);
        assert_eq!(settings.triggers.goal_completion, Some(NameFilter::All));
        assert_eq!(settings.triggers.visitor_spike, None);
        assert!(settings.enabled);
        assert_eq!(settings.failure_threshold, 3);
        assert_eq!(settings.rate_limit_per_second, Some(50));
        assert_eq!(settings.max_concurrency, 8);
        assert_eq!(settings.retry_schedule, "default");
        assert_eq!(settings.max_age_seconds, None);
    }
}

#[test]
fn null_is_a_rate_limit_and_means_none() {
    let settings = create(&body(json!({"rate_limit_per_second": null}))).expect("valid");
    assert_eq!(settings.rate_limit_per_second, None);
}

#[test]
fn every_field_is_taken() {
    let settings = create(&body(json!({
        "name": "Production", "url": "https://hooks.example.com/T/secret", "secret": "twelve-chars", "format": "json",
        "headers": {"X-Api-Key": "k", "Authorization": "Bearer a.b"},
        "events": ["custom_event", "visitor_spike", "goal_completion"],
        "triggers": {"visitor_spike": {"threshold": 500, "window_seconds": 600}, "goal_completion": {"goals": ["Signup"]},
                     "custom_event": {"names": ["404", "Outbound"]}},
        "enabled": false, "failure_threshold": 5, "rate_limit_per_second": 7, "max_concurrency": 2,
        "retry_schedule": "patient", "max_age_seconds": 3600
    })))
    .expect("valid");
    assert_eq!(
        settings.events,
        [
            EventType::CustomEvent,
            EventType::VisitorSpike,
            EventType::GoalCompletion
        ]
    );
    assert_eq!(
        settings.triggers.visitor_spike,
        Some(SpikeSettings {
            threshold: 500,
            window_seconds: 600
        })
    );
    assert_eq!(
        settings.triggers.goal_completion,
        Some(NameFilter::Only(vec!["Signup".into()]))
    );
    assert_eq!(
        settings.triggers.custom_event,
        Some(NameFilter::Only(vec!["404".into(), "Outbound".into()]))
    );
    assert_eq!(settings.headers.len(), 2);
    assert_eq!(settings.max_age_seconds, Some(3600));
    assert!(!settings.enabled);
}

#[test]
fn limits_of_plain_fields() {
    for (field, good, bad) in [
        (
            "name",
            json!("x".repeat(100)),
            vec![
                (json!("x".repeat(101)), "too_long"),
                (json!(1), "wrong_type"),
                (json!(" "), "empty"),
                (json!("a\0"), "control_character"),
            ],
        ),
        (
            "name",
            json!("ü".repeat(100)),
            vec![(json!("a\u{1b}b"), "control_character")],
        ),
        (
            "secret",
            json!("twelve-chars"),
            vec![
                (json!("elevenchars"), "wrong_length"),
                (json!("x".repeat(65)), "wrong_length"),
                (json!(""), "empty"),
                (json!("with a \0 in it"), "control_character"),
                (json!(12), "wrong_type"),
            ],
        ),
        (
            "secret",
            json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            vec![
                (json!("whsec_not base64"), "invalid"),
                (json!("whsec_AAAA"), "wrong_length"),
            ],
        ),
        (
            "format",
            json!("json"),
            vec![
                (json!("slack"), "not_available"),
                (json!("discord"), "not_available"),
                (json!("teams"), "not_available"),
                (json!("xml"), "unknown"),
                (json!(1), "wrong_type"),
            ],
        ),
        (
            "enabled",
            json!(false),
            vec![(json!("false"), "wrong_type"), (json!(0), "wrong_type")],
        ),
        (
            "failure_threshold",
            json!(1),
            vec![
                (json!(0), "out_of_range"),
                (json!(101), "out_of_range"),
                (json!(1.5), "out_of_range"),
                (json!("3"), "wrong_type"),
            ],
        ),
        (
            "rate_limit_per_second",
            json!(1),
            vec![
                (json!(0), "out_of_range"),
                (json!(-1), "out_of_range"),
                (json!(10_001), "out_of_range"),
            ],
        ),
        (
            "max_concurrency",
            json!(100),
            vec![(json!(0), "out_of_range"), (json!(101), "out_of_range")],
        ),
        (
            "retry_schedule",
            json!("patient"),
            vec![(json!("unheard-of"), "unknown"), (json!(["1s"]), "wrong_type")],
        ),
        (
            "max_age_seconds",
            json!(60),
            vec![(json!(0), "out_of_range"), (json!(2_592_001), "out_of_range")],
        ),
        (
            "url",
            json!("https://example.org"),
            vec![
                (json!("http://example.org"), "invalid"),
                (json!("not a url"), "invalid"),
                (json!(1), "wrong_type"),
                (json!(null), "required"),
                (json!("https://example.org/…9f2c"), "masked"),
            ],
        ),
    ] {
        assert!(create(&body(json!({field: good}))).is_ok(), "{field} {good}");
        for (value, code) in bad {
            refused(json!({field: value}), &[(&format!("/{field}"), code)]);
        }
    }
}

#[test]
fn own_headers_follow_their_rules() {
    refused(
        json!({"headers": {"Host": "x"}}),
        &[("/headers/Host", "reserved")],
    );
    refused(
        json!({"headers": {"webhook-id": "x"}}),
        &[("/headers/webhook-id", "reserved")],
    );
    refused(json!({"headers": {"a b": "x"}}), &[("/headers/a b", "invalid")]);
    refused(json!({"headers": {"a/b": "x"}}), &[("/headers/a~1b", "invalid")]);
    refused(
        json!({"headers": {"X-A": "x\r\nY: z"}}),
        &[("/headers/X-A", "invalid")],
    );
    refused(
        json!({"headers": {"X-A": "x".repeat(4097)}}),
        &[("/headers/X-A", "too_long")],
    );
    refused(json!({"headers": {"X-A": ""}}), &[("/headers/X-A", "empty")]);
    refused(json!({"headers": {"X-A": 1}}), &[("/headers/X-A", "wrong_type")]);
    refused(json!({"headers": {"X-A": MASK}}), &[("/headers/X-A", "masked")]);
    refused(
        json!({"headers": {"X-A": "1", "x-a": "2"}}),
        &[("/headers/x-a", "duplicate")],
    );
    refused(json!({"headers": ["X-A: 1"]}), &[("/headers", "wrong_type")]);
    let many = |n: usize| -> Map<String, Value> { (0..n).map(|n| (format!("X-{n}"), json!("v"))).collect() };
    assert!(create(&body(json!({"headers": many(10)}))).is_ok());
    refused(json!({"headers": many(11)}), &[("/headers", "too_many")]);
}

#[test]
fn events_are_those_there_are() {
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

const LATER_EVENT_NAMES: [&str; 5] = [
    "visitor_drop",
    "visitor_spike_resolved",
    "visitor_drop_resolved",
    "error_condition",
    "webhook_disabled",
];

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
fn limits_of_triggers() {
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

#[test]
fn other_fields_are_refused_by_name() {
    refused(
        json!({"ulr": "x", "id": "wh_1", "a/b": 1}),
        &[
            ("/a~1b", "unknown_field"),
            ("/id", "read_only"),
            ("/ulr", "unknown_field"),
        ],
    );
}

#[test]
fn every_bad_field_is_named_at_once() {
    let wanted = [
        ("/colour", "unknown_field"),
        ("/secret", "wrong_length"),
        ("/url", "invalid"),
        ("/name", "too_long"),
        ("/format", "not_available"),
        ("/headers/Host", "reserved"),
        ("/events/1", "unknown"),
        ("/triggers/custom_event", "not_subscribed"),
        ("/triggers/visitor_spike/threshold", "required"),
        ("/enabled", "wrong_type"),
        ("/failure_threshold", "out_of_range"),
        ("/rate_limit_per_second", "out_of_range"),
        ("/max_concurrency", "out_of_range"),
        ("/retry_schedule", "unknown"),
        ("/max_age_seconds", "wrong_type"),
    ];
    refused(
        json!({
            "colour": "red", "secret": "short", "url": "ftp://x", "name": "x".repeat(101), "format": "slack",
            "headers": {"Host": "x"}, "events": ["visitor_spike", "nonsense"], "triggers": {"custom_event": {}},
            "enabled": "yes", "failure_threshold": 0, "rate_limit_per_second": 0, "max_concurrency": 0,
            "retry_schedule": "none", "max_age_seconds": "1h"
        }),
        &wanted,
    );
    refused(
        json!({"url": null, "events": null}),
        &[("/url", "required"), ("/events", "required")],
    );
}

#[test]
fn settings_written_as_a_body_are_read_back_the_same() {
    let settings = create(&body(json!({
        "headers": {"X-Api-Key": "k"}, "events": ["visitor_spike", "custom_event"], "rate_limit_per_second": null,
        "triggers": {"visitor_spike": {"threshold": 5}, "custom_event": {"names": ["404"]}}
    })))
    .expect("valid");
    let mut errors = Errors::default();
    let written = to_body(&settings, settings.enabled);
    let read = read_settings(&Object::root(&written), &rules(), None, &mut errors);
    assert_eq!(read, Some(settings), "{:?}", errors.list());
}

#[test]
fn what_was_accepted_once_is_not_judged_again() {
    let mut settings = create(&body(json!({"retry_schedule": "patient"}))).expect("valid");
    settings.url = TargetUrl::from_trusted("http://was.allowed.once/x").expect("a URL");
    let stricter = WebhookRules::default();
    let patched = |patch: Value| {
        let Value::Object(patch) = patch else {
            panic!("an object")
        };
        let merged = merge::apply_to_webhook(&to_body(&settings, true), &settings.url.masked(), &patch);
        let mut errors = Errors::default();
        read_settings(&Object::root(&merged), &stricter, Some(&settings), &mut errors)
            .ok_or(errors.into_list())
    };
    assert_eq!(patched(json!({"name": "n"})).expect("valid").url, settings.url);
    let errors =
        patched(json!({"url": "http://is.not.allowed/", "retry_schedule": "other"})).expect_err("refused");
    assert_eq!(
        errors
            .iter()
            .map(|error| error.pointer.as_str())
            .collect::<Vec<_>>(),
        ["/url", "/retry_schedule"]
    );
}

/// Any JSON, with the names that mean something here more often than chance would have them.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        proptest::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec![
            "visitor_spike",
            "goal_completion",
            "threshold",
            "goals",
            "names",
            "X-A"
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,130}".prop_map(Value::from),
        proptest::sample::select(vec![
            "visitor_spike",
            "custom_event",
            "https://a.example/x",
            "json",
            "default"
        ])
        .prop_map(Value::from),
        (0_u32..4_000).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_and_no_patch_is_too_strange(changes in any_json(), patch in any_json()) {
        let mut strange = body(json!({}));
        for json in [changes, patch] {
            if let Value::Object(map) = json {
                strange = merge::apply_to_webhook(&strange, "", &map);
            }
            let mut errors = Errors::default();
            let object = Object::root(&strange);
            refuse_other_fields(&object, &mut errors);
            let settings = read_settings(&object, &rules(), None, &mut errors);
            prop_assert!(settings.is_some() || !errors.is_empty());
            for error in errors.list() {
                prop_assert!(error.pointer.is_empty() || error.pointer.starts_with('/'));
                prop_assert!(!error.detail.is_empty());
            }
            if let Some(settings) = settings {
                // What is accepted can be stored and read back.
                let stored = Value::Object(settings.triggers.to_json());
                prop_assert_eq!(Triggers::from_json(&settings.events, &stored), Some(settings.triggers.clone()));
                let written = to_body(&settings, settings.enabled);
                let mut errors = Errors::default();
                prop_assert_eq!(read_settings(&Object::root(&written), &rules(), None, &mut errors), Some(settings));
            }
        }
    }
}

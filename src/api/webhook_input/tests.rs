//! Fields of a webhook: valid ones, bad ones, several bad ones at once.

use serde_json::json;

use super::*;
use crate::api::merge;
use crate::domain::event::EventType;
use crate::domain::trigger::{NameFilter, SpikeSettings};

mod strange;
mod triggers;

fn rules() -> WebhookRules {
    WebhookRules {
        target: TargetRules::default(),
        retry_schedules: ["default", "patient"].map(str::to_owned).into_iter().collect(),
    }
}

/// A valid body with these fields changed.
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

/// Reads a body as a create does: its settings, or the pointers and codes of its bad fields.
fn create(body: &Map<String, Value>) -> Result<WebhookSettings, Vec<(String, &'static str)>> {
    let mut errors = FieldErrors::default();
    let object = BodyObject::root(body);
    refuse_other_fields(&object, &mut errors);
    read_secret(&object, &mut errors);
    let settings = read_settings(&object, &rules(), None, DateTime::UNIX_EPOCH, &mut errors);
    match settings {
        Some(settings) if errors.is_empty() => Ok(settings),
        _ => Err(errors
            .into_list()
            .into_iter()
            .map(|error| (error.pointer, error.code.as_str()))
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
fn a_missing_field_has_a_default() {
    for changes in [
        json!({}),
        json!({"name": null, "format": null, "headers": null, "triggers": null, "enabled": null, "secret": null,
               "failure_threshold": null, "max_concurrency": null, "retry_schedule": null, "max_age_seconds": null}),
    ] {
        let settings = create(&body(changes)).expect("valid");
        assert_eq!(settings.name, "hooks.example.com");
        assert_eq!(settings.format, Format::Json);
        assert_eq!(settings.headers, []);
        assert_eq!(settings.triggers.goal_completion, Some(NameFilter::All.into()));
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
fn a_rate_limit_of_null_means_no_limit() {
    let settings = create(&body(json!({"rate_limit_per_second": null}))).expect("valid");
    assert_eq!(settings.rate_limit_per_second, None);
}

#[test]
fn every_field_is_read() {
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
        Some(
            SpikeSettings {
                threshold: 500,
                window_seconds: 600
            }
            .into()
        )
    );
    assert_eq!(
        settings.triggers.goal_completion,
        Some(NameFilter::Only(vec!["Signup".into()]).into())
    );
    assert_eq!(
        settings.triggers.custom_event,
        Some(NameFilter::Only(vec!["404".into(), "Outbound".into()]).into())
    );
    assert_eq!(settings.headers.len(), 2);
    assert_eq!(settings.max_age_seconds, Some(3600));
    assert!(!settings.enabled);
}

#[test]
fn plain_fields_have_limits() {
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
            json!("teams"),
            vec![
                (json!("xml"), "unknown"),
                (json!("Slack"), "unknown"),
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
    let mut bad = many(11);
    bad.insert("Host".to_owned(), json!("x"));
    bad.insert("X-5".to_owned(), json!(5));
    refused(
        json!({"headers": bad}),
        &[
            ("/headers", "too_many"),
            ("/headers/Host", "reserved"),
            ("/headers/X-5", "wrong_type"),
        ],
    );
    // A header of null is absent, but its name is validated.
    assert!(create(&body(json!({"headers": {"X-A": null}}))).is_ok());
    refused(
        json!({"headers": {"Host": null}}),
        &[("/headers/Host", "reserved")],
    );
}

#[test]
fn a_patch_may_not_remove_what_cannot_exist() {
    let mut settings = create(&body(json!({"headers": {"X-A": "1"}}))).expect("valid");
    // A header from a time when it was allowed.
    settings.headers.push(("X-Webhook-Old".into(), Hidden::new("1")));
    for (patch, wanted) in [
        (
            json!({"triggers": {"visitor_spike": {"nonsense": null, "threshold": null}}}),
            vec![("/triggers/visitor_spike/nonsense", "unknown_field")],
        ),
        (
            json!({"triggers": {"nonsense": null, "visitor_drop": null, "goal_completion": null}}),
            vec![("/triggers/nonsense", "unknown_field")],
        ),
        (
            json!({"triggers": {"custom_event": {"goals": null}, "goal_completion": {"names": null, "sensitivity": null}}}),
            vec![
                ("/triggers/custom_event/goals", "unknown_field"),
                ("/triggers/goal_completion/names", "unknown_field"),
                ("/triggers/goal_completion/sensitivity", "not_available"),
            ],
        ),
        (
            json!({"headers": {"Host": null, "a b": null, "X-None": null, "x-a": null, "x-webhook-old": null}}),
            vec![("/headers/Host", "reserved"), ("/headers/a b", "invalid")],
        ),
        (json!({"headers": null, "triggers": null, "name": null}), vec![]),
        (json!({"headers": 1, "triggers": []}), vec![]),
    ] {
        let mut errors = FieldErrors::default();
        let object = patch.as_object().expect("an object");
        refuse_unknown_nulls(&BodyObject::root(object), &settings, &mut errors);
        let found: Vec<_> = errors
            .list()
            .iter()
            .map(|error| (error.pointer.as_str(), error.code.as_str()))
            .collect();
        assert_eq!(found, wanted, "{patch}");
    }
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
fn a_chat_format_has_a_rate_of_its_own_while_none_is_set() {
    for (format, rate) in [
        ("json", 50),
        ("cloudevents", 50),
        ("slack", 1),
        ("discord", 1),
        ("teams", 1),
    ] {
        let settings = create(&body(json!({"format": format}))).expect("valid");
        assert_eq!(settings.rate_limit_per_second, Some(rate), "{format}");
        let set = create(&body(json!({"format": format, "rate_limit_per_second": 7}))).expect("valid");
        assert_eq!(set.rate_limit_per_second, Some(7));
        // A merge patch of the format alone brings the new format's rate; a rate that is set stays.
        assert!(!to_body(&settings).contains_key("rate_limit_per_second"));
        assert_eq!(to_body(&set)["rate_limit_per_second"], 7);
        // Also one that is what the format would bring.
        let same = create(&body(json!({"format": format, "rate_limit_per_second": rate}))).expect("valid");
        assert_eq!(to_body(&same)["rate_limit_per_second"], rate, "{format}");
    }
}

#[test]
fn every_bad_field_is_named_at_once() {
    let wanted = [
        ("/colour", "unknown_field"),
        ("/secret", "wrong_length"),
        ("/url", "invalid"),
        ("/name", "too_long"),
        ("/format", "unknown"),
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
            "colour": "red", "secret": "short", "url": "ftp://x", "name": "x".repeat(101), "format": "xml",
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
    let mut errors = FieldErrors::default();
    let written = to_body(&settings);
    let read = read_settings(
        &BodyObject::root(&written),
        &rules(),
        None,
        DateTime::UNIX_EPOCH,
        &mut errors,
    );
    assert_eq!(read, Some(settings), "{:?}", errors.list());
}

#[test]
fn an_accepted_value_is_not_validated_again() {
    let mut settings = create(&body(json!({"retry_schedule": "patient"}))).expect("valid");
    settings.url = TargetUrl::from_trusted("http://was.allowed.once/x").expect("a URL");
    let stricter = WebhookRules::default();
    let patched = |patch: Value| {
        let Value::Object(patch) = patch else {
            panic!("an object")
        };
        let merged = merge::apply_to_webhook(&to_body(&settings), &settings.url.masked(), &patch);
        let mut errors = FieldErrors::default();
        read_settings(
            &BodyObject::root(&merged),
            &stricter,
            Some(&settings),
            DateTime::UNIX_EPOCH,
            &mut errors,
        )
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

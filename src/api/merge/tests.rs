//! Merge patches of webhooks.

use serde_json::json;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).expect("an object")
}

#[test]
fn the_examples_of_rfc_7396_hold() {
    for (target, patch, wanted) in [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
        (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
        (
            json!({"a":{"b":"c"}}),
            json!({"a":{"b":"d","c":null}}),
            json!({"a":{"b":"d"}}),
        ),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
        (
            json!({}),
            json!({"a":{"bb":{"ccc":null}}}),
            json!({"a":{"bb":{}}}),
        ),
    ] {
        let mut merged = map(target.clone());
        apply(&mut merged, &map(patch.clone()));
        assert_eq!(Value::Object(merged), wanted, "{target} {patch}");
    }
}

fn patched(patch: Value) -> Value {
    let current = json!({
        "url": "https://hooks.example.com/T/secret",
        "headers": {"X-Api-Key": "k", "X-Other": "o"},
        "events": ["visitor_spike", "goal_completion"],
        "triggers": {"visitor_spike": {"threshold": 5, "window_seconds": 300}},
        "rate_limit_per_second": 50,
    });
    Value::Object(apply_to_webhook(
        &map(current),
        "https://hooks.example.com/…cret",
        &map(patch),
    ))
}

#[test]
fn a_masked_value_stays_the_same() {
    let same = patched(json!({}));
    assert_eq!(
        patched(json!({"url": "https://hooks.example.com/…cret", "headers": {"X-Api-Key": MASK}})),
        same
    );
    assert_eq!(
        patched(json!({"headers": {"X-New": MASK}}))["headers"]["X-New"],
        MASK,
        "validated later"
    );
}

#[test]
fn names_of_headers_are_equal_in_any_case() {
    let headers = patched(json!({"headers": {"x-api-key": "new", "x-other": null}}))["headers"].clone();
    assert_eq!(headers, json!({"X-Api-Key": "new"}));
}

#[test]
fn a_trigger_leaves_with_its_event_type() {
    let events = json!(["goal_completion"]);
    assert_eq!(patched(json!({"events": events}))["triggers"], json!({}));
    let named = patched(json!({"events": events, "triggers": {"visitor_spike": {"threshold": 9}}}));
    assert_eq!(named["triggers"]["visitor_spike"]["threshold"], 9);
}

#[test]
fn null_is_a_value_of_the_rate_limit() {
    assert_eq!(
        patched(json!({"rate_limit_per_second": null}))["rate_limit_per_second"],
        Value::Null
    );
    assert_eq!(
        patched(json!({"rate_limit_per_second": 5}))["rate_limit_per_second"],
        5
    );
}

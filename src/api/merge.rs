//! Merge patches (RFC 7396), and what a webhook's need besides.

use serde_json::{Map, Value};

use crate::domain::event::EventType;

use super::webhook_input::MASK;

/// Applies `patch` to `target`: what it names is replaced, objects are merged, `null` removes.
pub(super) fn apply(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let slot = target
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    apply(slot, inner);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// The webhook that `patch` makes of `current`, both as bodies.
///
/// Beyond RFC 7396: what is masked means "as it is", so that an answer can be edited and sent back; names of headers
/// are equal in any case; `null` is a value of `rate_limit_per_second`; and the trigger of an event type that the
/// patch unsubscribes from goes with it, unless the patch names that trigger itself.
pub(super) fn apply_to_webhook(
    current: &Map<String, Value>,
    masked_url: &str,
    patch: &Map<String, Value>,
) -> Map<String, Value> {
    let mut patch = patch.clone();
    if patch.get("url").is_some_and(|url| url == masked_url) {
        patch.remove("url");
    }
    if let (Some(Value::Object(headers)), Some(Value::Object(known))) =
        (patch.get_mut("headers"), current.get("headers"))
    {
        *headers = resolve_headers(headers, known);
    }
    let mut merged = current.clone();
    apply(&mut merged, &patch);
    if patch.get("rate_limit_per_second").is_some_and(Value::is_null) {
        merged.insert("rate_limit_per_second".to_owned(), Value::Null);
    }
    let named = patch.get("triggers").and_then(Value::as_object);
    let unsubscribed: Vec<&str> = match merged.get("events") {
        Some(Value::Array(events)) => EventType::SUBSCRIBABLE
            .map(EventType::as_str)
            .into_iter()
            .filter(|event| {
                !events.iter().any(|one| one == event)
                    && !named.is_some_and(|named| named.contains_key(*event))
            })
            .collect(),
        _ => Vec::new(),
    };
    if let Some(Value::Object(triggers)) = merged.get_mut("triggers") {
        triggers.retain(|event, _| !unsubscribed.contains(&event.as_str()));
    }
    merged
}

/// A header that is known in another case is that header; a masked value of a known header changes nothing.
fn resolve_headers(patch: &Map<String, Value>, known: &Map<String, Value>) -> Map<String, Value> {
    let mut resolved = Map::new();
    for (name, value) in patch {
        let same = known.keys().find(|other| other.eq_ignore_ascii_case(name));
        if same.is_some() && value == MASK {
            continue;
        }
        let name = same.filter(|same| !resolved.contains_key(*same)).unwrap_or(name);
        resolved.insert(name.clone(), value.clone());
    }
    resolved
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn the_examples_of_rfc_7396() {
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
    fn what_is_masked_stays_as_it_is() {
        let same = patched(json!({}));
        assert_eq!(
            patched(json!({"url": "https://hooks.example.com/…cret", "headers": {"X-Api-Key": MASK}})),
            same
        );
        assert_eq!(
            patched(json!({"headers": {"X-New": MASK}}))["headers"]["X-New"],
            MASK,
            "judged later"
        );
    }

    #[test]
    fn headers_are_equal_in_any_case() {
        let headers = patched(json!({"headers": {"x-api-key": "new", "x-other": null}}))["headers"].clone();
        assert_eq!(headers, json!({"X-Api-Key": "new"}));
    }

    #[test]
    fn a_trigger_goes_with_its_event_type_unless_it_is_named() {
        let events = json!(["goal_completion"]);
        assert_eq!(patched(json!({"events": events}))["triggers"], json!({}));
        let named = patched(json!({"events": events, "triggers": {"visitor_spike": {"threshold": 9}}}));
        assert_eq!(named["triggers"]["visitor_spike"]["threshold"], 9);
    }

    #[test]
    fn null_is_a_rate_limit() {
        assert_eq!(
            patched(json!({"rate_limit_per_second": null}))["rate_limit_per_second"],
            Value::Null
        );
        assert_eq!(
            patched(json!({"rate_limit_per_second": 5}))["rate_limit_per_second"],
            5
        );
    }
}

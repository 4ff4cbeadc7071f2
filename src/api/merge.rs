//! Merge patches (RFC 7396), with the exceptions of a webhook.

use serde_json::{Map, Value};

use crate::domain::event::EventType;

use super::webhook_input::MASK;

/// Applies `patch` to `target`: objects are merged, `null` removes a field, any other value
/// replaces it.
fn apply(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
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

/// Leaves the read-only fields out of a body that have the values of the `current` answer: an
/// answer that is edited and sent back has them. Those that are
/// `moving` by themselves may have any value.
pub(super) fn without_read_only(
    body: &Map<String, Value>,
    current: &Map<String, Value>,
    read_only: &[&str],
    moving: &[&str],
) -> Map<String, Value> {
    let is_unchanged = |name: &str, value: &Value| {
        read_only.contains(&name) && (moving.contains(&name) || current.get(name) == Some(value))
    };
    body.iter()
        .filter(|(name, value)| !is_unchanged(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Applies `patch` to the webhook `current`, both in the form of a request's body.
///
/// Beyond RFC 7396:
/// - a masked value leaves the value as it is, so that an answer can be edited and sent back;
/// - names of headers are equal in any case;
/// - `null` is a value of `rate_limit_per_second`;
/// - the trigger of an event type that the patch unsubscribes from is removed, unless the patch
///   names that trigger itself.
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

/// Writes the headers of a patch as the webhook does, without those whose value is masked.
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
mod tests;

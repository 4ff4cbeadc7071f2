//! The value for which a record was refused, as people are shown it. Pure. Shows nothing that may
//! say who a visitor was.

use serde_json::{Map, Value};

use super::fields::{GivenFields, cut, may_hold_visitor};
use crate::detect::redact::redact;

/// Fields whose refused value is shown; the others may hold a visitor's id.
const SHOWN: [&str; 12] = [
    "site_id",
    "type",
    "name",
    "path",
    "timestamp",
    "source",
    "scroll_depth",
    "revenue",
    "revenue.amount",
    "revenue.currency",
    "props",
    "historical",
];
/// Visitor ids shorter than this are only compared whole: they would be found in everything.
const MIN_VISITOR_CHARS: usize = 4;

impl GivenFields {
    /// A field's value as it is shown: cut, and only if it names nobody.
    pub(super) fn shown_value(&self, field: &str) -> Option<String> {
        if !SHOWN.contains(&field) {
            return None;
        }
        let value = match field.split_once('.') {
            Some((object, key)) => self.0.get(object)?.get(key)?,
            None => self.0.get(field)?,
        };
        let value = match value {
            Value::Null => return None,
            Value::Object(props) if field == "props" => match refused_props(props) {
                refused if refused.is_empty() => {
                    return Some(format!("an object of {} entries", props.len()));
                }
                refused => Value::Object(refused),
            },
            other => other.clone(),
        };
        if self.may_name_visitor(&value) {
            return None;
        }
        Some(match value {
            Value::String(text) if field == "path" => {
                let path = text.split(['?', '#']).next().unwrap_or_default();
                format!("\"{}\"", cut(&redact(path)))
            }
            Value::String(text) => format!("\"{}\"", cut(&text)),
            other => cut(&other.to_string()),
        })
    }

    /// True if the value is, or has somewhere in it, what may be the id of the record's visitor.
    fn may_name_visitor(&self, value: &Value) -> bool {
        let mut ids = Vec::new();
        for (key, value) in &self.0 {
            // An id may also stand under a key that was misspelt.
            push_ids(value, may_hold_visitor(key), &mut ids);
        }
        push_ids(value, false, &mut ids);
        let mut texts = Vec::new();
        push_texts(value, &mut texts);
        ids.iter().any(|id| {
            let is_long = id.chars().count() >= MIN_VISITOR_CHARS;
            texts
                .iter()
                .any(|text| text == id || (is_long && text.contains(id.as_str())))
        })
    }
}

/// The properties that cannot be kept: neither a text nor absent, or with a NUL.
fn refused_props(props: &Map<String, Value>) -> Map<String, Value> {
    let refused = props.iter().filter(|(key, value)| match value {
        Value::String(text) => text.contains('\0') || key.contains('\0'),
        Value::Null => false,
        _ => true,
    });
    refused.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Adds every text, number or flag that stands under the key of a visitor's id. `is_id` says that
/// `value` itself does.
fn push_ids(value: &Value, is_id: bool, ids: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| push_ids(one, is_id, ids)),
        Value::Object(object) => {
            for (key, one) in object {
                push_ids(one, is_id || may_hold_visitor(key), ids);
            }
        }
        scalar if is_id => ids.extend(text_of(scalar)),
        _ => {}
    }
}

/// Adds every text, number and flag in a value, and its keys.
fn push_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| push_texts(one, texts)),
        Value::Object(object) => {
            for (key, one) in object {
                texts.push(key.clone());
                push_texts(one, texts);
            }
        }
        scalar => texts.extend(text_of(scalar)),
    }
}

/// The text of a text, number or flag.
fn text_of(scalar: &Value) -> Option<String> {
    match scalar {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::MAX_CHARS;
    use super::*;

    fn fields(record: Value) -> GivenFields {
        GivenFields::read(record.to_string().as_bytes()).expect("an object")
    }

    #[test]
    fn a_refused_value_is_shown_cut() {
        let long = "x".repeat(500);
        let fields = fields(
            json!({"timestamp": "yesterday", "name": long, "scroll_depth": 101, "path": "/u/jane@doe.example?q=1", "revenue": {"amount": 5}}),
        );
        assert_eq!(fields.shown_value("timestamp").as_deref(), Some("\"yesterday\""));
        assert_eq!(
            fields.shown_value("name").map(|text| text.chars().count()),
            Some(MAX_CHARS + 3)
        );
        assert_eq!(fields.shown_value("scroll_depth").as_deref(), Some("101"));
        assert_eq!(fields.shown_value("path").as_deref(), Some("\"/u/:redacted\""));
        assert_eq!(fields.shown_value("revenue.amount").as_deref(), Some("5"));
        assert_eq!(fields.shown_value("source"), None);
    }

    #[test]
    fn a_visitors_id_is_never_shown() {
        let fields = fields(
            json!({"visitorId": "jane-4711", "visitor_id": 4711, "name": "jane-4711", "timestamp": 4711, "source": "by jane-4711", "props": {"id": "jane-4711"}}),
        );
        for field in [
            "visitor_id",
            "visitorId",
            "name",
            "timestamp",
            "source",
            "event_id",
        ] {
            assert_eq!(fields.shown_value(field), None, "{field}");
        }
        let props = fields.shown_value("props").expect("their number");
        assert!(!props.contains("jane"), "{props}");
    }

    #[test]
    fn a_refused_value_of_any_type_is_shown() {
        let shown = |field: &str, value: Value| fields(json!({ field: value })).shown_value(field);
        for (field, value, expected) in [
            (
                "timestamp",
                json!({"$date": 1_771_970_400_000_i64}),
                r#"{"$date":1771970400000}"#,
            ),
            ("timestamp", json!([2026, 2]), "[2026,2]"),
            ("historical", json!("yes"), "\"yes\""),
            ("revenue", json!(12.5), "12.5"),
            ("revenue", json!(["12.50", "EUR"]), r#"["12.50","EUR"]"#),
            ("props", json!("plan=pro"), "\"plan=pro\""),
            // Of properties only those that were refused.
            ("props", json!({"plan": "pro", "a": 1, "b": null}), r#"{"a":1}"#),
            ("props", json!({"plan": "a\0"}), r#"{"plan":"a\u0000"}"#),
            ("name", json!({"en": "Signup"}), r#"{"en":"Signup"}"#),
        ] {
            assert_eq!(shown(field, value).as_deref(), Some(expected), "{field}");
        }
        let many: Map<String, Value> = (0..31).map(|n| (n.to_string(), json!("x"))).collect();
        let many = shown("props", Value::Object(many));
        assert_eq!(many.as_deref(), Some("an object of 31 entries"));
        assert_eq!(shown("timestamp", json!(null)), None);
        let long = shown("timestamp", json!({"a": "x".repeat(500)})).expect("a value");
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_visitors_id_is_found_within_objects() {
        for record in [
            json!({"visitor_id": "jane-4711", "timestamp": {"by": ["x", "jane-4711"]}}),
            json!({"visitor_id": "jane-4711", "timestamp": {"jane-4711": 1}}),
            json!({"visitor_id": 7, "timestamp": {"by": 7}}),
            json!({"user_id": "jane-4711", "timestamp": {"by": "jane-4711"}}),
            json!({"user": {"id": "jane-4711"}, "timestamp": {"by": "u/jane-4711"}}),
            json!({"timestamp": {"visitorId": "jane-4711"}}),
        ] {
            assert_eq!(fields(record.clone()).shown_value("timestamp"), None, "{record}");
        }
        let props = fields(json!({"visitor_id": "jane-4711", "props": {"id": ["jane-4711"]}}));
        assert_eq!(props.shown_value("props"), None);
    }
}

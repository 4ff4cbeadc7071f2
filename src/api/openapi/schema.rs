//! The pieces that schemas are built of (JSON Schema 2020-12).

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

/// A text without control characters that is not blank, as `BodyObject::text` reads it.
const TEXT_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";

/// Fields of an object in the order of the documentation.
pub(super) type Fields = Vec<(&'static str, Value)>;

/// An object in a request: unknown fields are refused.
pub(super) fn input(required: &[&str], fields: Fields) -> Value {
    let mut schema = answer(fields);
    schema["required"] = json!(required);
    schema["additionalProperties"] = json!(false);
    schema
}

/// An object in an answer: every field is there, and others may be added.
pub(super) fn answer(fields: Fields) -> Value {
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    partial(&required, fields)
}

/// An object in an answer, of which the fields in `required` are always there.
pub(super) fn partial(required: &[&str], fields: Fields) -> Value {
    let properties: Map<String, Value> = fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// A page of a list.
pub(super) fn page(of: &str) -> Value {
    answer(vec![
        ("data", json!({"type": "array", "items": reference(of)})),
        (
            "next",
            about(
                nullable(json!({"type": "string"})),
                "Send it as `after` for the next page; null on the last one.",
            ),
        ),
    ])
}

/// The schema of this name in the document.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// `schema` with a description.
pub(super) fn about(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

/// `schema` with the value that a missing field has.
pub(super) fn by_default(mut schema: Value, value: impl Into<Value>) -> Value {
    schema["default"] = value.into();
    schema
}

/// `schema` or null.
pub(super) fn nullable(mut schema: Value) -> Value {
    match (schema.get("type").cloned(), schema.get("enum").cloned()) {
        (Some(Value::String(one)), None) => {
            schema["type"] = json!([one, "null"]);
            schema
        }
        (Some(Value::String(one)), Some(Value::Array(mut words))) => {
            words.push(Value::Null);
            schema["type"] = json!([one, "null"]);
            schema["enum"] = json!(words);
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

/// A text of 1 to `max_chars` characters that is not blank.
pub(super) fn text(max_chars: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max_chars, "pattern": TEXT_PATTERN})
}

pub(super) fn any_text() -> Value {
    json!({"type": "string"})
}

pub(super) fn boolean() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn integer(range: RangeInclusive<u32>) -> Value {
    json!({"type": "integer", "minimum": range.start(), "maximum": range.end()})
}

/// A number of things.
pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn number() -> Value {
    json!({"type": "number"})
}

/// One of a closed set.
pub(super) fn word(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// An RFC 3339 time.
pub(super) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(super) fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

/// A list of 1 to `max` different texts.
pub(super) fn texts(max: usize, max_chars: usize) -> Value {
    json!({"type": "array", "items": text(max_chars), "minItems": 1, "maxItems": max, "uniqueItems": true})
}

/// A TypeID with this prefix.
pub(super) fn id(prefix: &str) -> Value {
    json!({"type": "string", "pattern": format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")})
}

/// A field of an answer that a request may repeat as it was and not change.
pub(super) fn read_only() -> Value {
    json!({"readOnly": true, "description": "Appears in answers; an edited answer may be sent back with it unchanged."})
}

/// A field of an answer that a request may repeat with any value, since it changes by itself.
pub(super) fn ignored() -> Value {
    json!({"description": "Appears in answers; ignored here, so that an edited answer may be sent back."})
}

//! A schema as a table of fields.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{prose, resolve, text};

/// Depth to which fields of fields are listed.
const MAX_DEPTH: usize = 4;

/// The fields of an object, and of the objects in it.
pub(super) fn schema_table(document: &Value, schema: &Value) -> String {
    let mut rows = String::new();
    add_rows(document, schema, "", MAX_DEPTH, &mut rows);
    format!(
        "<table><thead><tr><th>Field</th><th>Value</th><th>Meaning</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

fn add_rows(document: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut String) {
    if depth == 0 {
        return;
    }
    let schema = resolve(document, schema);
    let required = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let field = resolve(document, field);
        let is_required = required.is_some_and(|list| list.iter().any(|one| one == name));
        let path = format!("{prefix}{name}");
        let _ = write!(
            rows,
            "<tr><td><code>{}</code>{}</td><td>{}</td><td>{}</td></tr>",
            text(&Value::from(path.as_str())),
            if is_required { "" } else { " (optional)" },
            value_of(document, field),
            prose(&field["description"]),
        );
        add_rows(document, field, &format!("{path}."), depth - 1, rows);
        add_rows(document, &field["items"], &format!("{path}[]."), depth - 1, rows);
    }
    for option in ["oneOf", "anyOf"] {
        for one in schema[option].as_array().into_iter().flatten() {
            if one["title"].is_string() {
                let _ = write!(rows, "<tr><th colspan=\"3\">{}</th></tr>", text(&one["title"]));
            }
            add_rows(document, one, prefix, depth - 1, rows);
        }
    }
}

/// The type of a field, its limits and its default in words.
fn value_of(document: &Value, field: &Value) -> String {
    let mut parts = vec![type_of(document, field)];
    let limits = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "entries at least"),
        ("maxItems", "entries at most"),
        ("maxProperties", "entries at most"),
        ("default", "default"),
    ];
    for (key, words) in limits {
        if let Some(value) = field.get(key) {
            parts.push(format!("{words} {}", text(&Value::from(value.to_string()))));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn type_of(document: &Value, field: &Value) -> String {
    let words = field["enum"].as_array();
    if let Some(words) = words {
        let words = words
            .iter()
            .map(|word| format!("<code>{}</code>", text(&Value::from(word_text(word)))));
        return words.collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = field.get("const") {
        return format!("<code>{}</code>", text(&Value::from(word_text(value))));
    }
    let types: Vec<&str> = match &field["type"] {
        Value::String(one) => vec![one],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut words = types.join(" or ");
    if field["items"].is_object() {
        let of = type_of(document, resolve(document, &field["items"]));
        words = format!("{words} of {of}");
    }
    if let Some(format) = field["format"].as_str() {
        let _ = write!(words, " ({format})");
    }
    words
}

fn word_text(word: &Value) -> String {
    word.as_str().map_or_else(|| word.to_string(), str::to_owned)
}

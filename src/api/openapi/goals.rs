//! Schemas of goals.

use serde_json::{Map, Value, json};

use super::schema::{
    Fields, about, any_text, id, ignored, integer, nullable, page, partial, read_only, text, time, word,
};
use crate::api::goal_input::{READ_ONLY, SCROLL_THRESHOLD};
use crate::domain::goal::{
    GoalKind, MAX_NAME_CHARS, MAX_PATH_CHARS, MAX_PROP_NAME_CHARS, MAX_PROP_VALUE_CHARS, MAX_PROPS,
};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("NewGoal", settings(&[])),
        ("GoalSettings", settings(&READ_ONLY)),
        ("Goal", goal()),
        ("Goals", page("Goal")),
    ]
}

/// Each kind with the fields that it needs; the other fields of rules must be absent. `repeated`
/// fields of an answer may be sent back.
fn settings(repeated: &[&str]) -> Value {
    let kinds = GoalKind::ALL.map(|kind| match kind {
        GoalKind::Event => of_kind(kind, &["event"], repeated),
        GoalKind::Page => of_kind(kind, &["path"], repeated),
        GoalKind::Scroll => of_kind(kind, &["path", "scroll_threshold"], repeated),
    });
    json!({
        "type": "object",
        "oneOf": kinds,
        "examples": [
            {"name": "Signup", "kind": "event", "event": "signup", "props": {"plan": "pro"}},
            {"name": "Blog", "kind": "page", "path": "/blog*"},
            {"name": "Read it all", "kind": "scroll", "path": "/blog/**", "scroll_threshold": 90},
        ]
    })
}

fn of_kind(kind: GoalKind, wanted: &[&'static str], repeated: &[&str]) -> Value {
    let rules: Fields = vec![
        ("event", about(text(MAX_NAME_CHARS), "Name of the event.")),
        ("path", path()),
        (
            "scroll_threshold",
            about(integer(SCROLL_THRESHOLD), "Percent of the page."),
        ),
    ];
    let mut properties = Map::new();
    for (name, schema) in rules {
        let schema = if wanted.contains(&name) {
            schema
        } else {
            json!({"type": "null"})
        };
        properties.insert(name.to_owned(), schema);
    }
    properties.insert(
        "name".to_owned(),
        about(text(MAX_NAME_CHARS), "Unique within the site."),
    );
    properties.insert(
        "kind".to_owned(),
        json!({"type": "string", "const": kind.as_str()}),
    );
    properties.insert("props".to_owned(), nullable(props()));
    for name in repeated {
        let schema = if *name == "updated_at" {
            ignored()
        } else {
            read_only()
        };
        properties.insert((*name).to_owned(), schema);
    }
    let required: Vec<&str> = ["name", "kind"]
        .into_iter()
        .chain(wanted.iter().copied())
        .collect();
    json!({"type": "object", "title": format!("Goal of the kind {kind}"), "required": required,
           "properties": properties, "additionalProperties": false})
}

fn path() -> Value {
    let schema = json!({
        "type": "string", "minLength": 1, "maxLength": MAX_PATH_CHARS,
        "pattern": r"^[^\s?#\x00-\x1f\x7f-\x9f](?:[^?#\x00-\x1f\x7f-\x9f]*[^\s?#\x00-\x1f\x7f-\x9f])?$",
        "not": {"pattern": "^[A-Za-z][A-Za-z0-9+.-]*://"},
    });
    about(
        schema,
        "Without query and fragment; `*` and `**` match any run of characters.",
    )
}

fn props() -> Value {
    let value = json!({"anyOf": [text(MAX_PROP_VALUE_CHARS), {"type": "string", "const": ""}]});
    let schema = json!({
        "type": "object",
        "maxProperties": MAX_PROPS,
        "propertyNames": text(MAX_PROP_NAME_CHARS),
        "additionalProperties": value,
    });
    about(schema, "Properties that the event must have.")
}

fn goal() -> Value {
    let mut schema = partial(
        &[
            "id",
            "site_id",
            "name",
            "kind",
            "props",
            "inserted_at",
            "updated_at",
        ],
        vec![
            ("id", id("goal")),
            ("site_id", any_text()),
            ("name", text(MAX_NAME_CHARS)),
            ("kind", word(GoalKind::WORDS)),
            ("event", any_text()),
            ("path", any_text()),
            ("scroll_threshold", integer(SCROLL_THRESHOLD)),
            (
                "props",
                json!({"type": "object", "additionalProperties": any_text()}),
            ),
            ("inserted_at", time()),
            ("updated_at", time()),
        ],
    );
    schema["examples"] = json!([{
        "id": "goal_01jz0000000000000000000000", "site_id": "example.com", "name": "Signup", "kind": "event",
        "event": "signup", "props": {"plan": "pro"}, "inserted_at": "2026-02-01T08:00:00.000Z",
        "updated_at": "2026-02-01T08:00:00.000Z"
    }]);
    schema
}

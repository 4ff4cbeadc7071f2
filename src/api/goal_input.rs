//! Reading a goal from a request's body.

use serde_json::Value;

use crate::domain::goal::{
    GoalRule, MAX_NAME_CHARS, MAX_PATH_CHARS, MAX_PROP_NAME_CHARS, MAX_PROP_VALUE_CHARS, MAX_PROPS,
};
use crate::record::goals::GoalSettings;

use super::validate::{Errors, Object, echo, text, wrong_type};

const FIELDS: [&str; 6] = ["name", "kind", "event", "path", "scroll_threshold", "props"];
const READ_ONLY: [&str; 4] = ["id", "site_id", "inserted_at", "updated_at"];
/// The fields that belong to a rule.
const RULE_FIELDS: [&str; 3] = ["event", "path", "scroll_threshold"];

/// The settings in a body. `None` only if something is wrong.
pub(super) fn read_settings(body: &Object<'_>, errors: &mut Errors) -> Option<GoalSettings> {
    for name in body.names().filter(|name| !FIELDS.contains(name)) {
        if READ_ONLY.contains(&name) {
            errors.add(
                body.at(name),
                "read_only",
                format!("`{name}` is told in answers and cannot be set"),
            );
        } else {
            let detail = format!(
                "`{}` is no field of a goal; there are {}",
                echo(name),
                FIELDS.join(", ")
            );
            errors.add(body.at(name), "unknown_field", detail);
        }
    }
    body.require("name", "what notifications call the goal", errors);
    let name = body.text("name", MAX_NAME_CHARS, errors);
    let rule = read_rule(body, errors);
    let props = read_props(body, errors);
    if !errors.is_empty() {
        return None;
    }
    Some(GoalSettings {
        name: name?.to_owned(),
        rule: rule?,
        props,
    })
}

fn read_rule(body: &Object<'_>, errors: &mut Errors) -> Option<GoalRule> {
    body.require("kind", "event, page or scroll", errors);
    let kind = body.text("kind", 100, errors);
    let wanted: &[&str] = match kind {
        Some("event") => &["event"],
        Some("page") => &["path"],
        Some("scroll") => &["path", "scroll_threshold"],
        Some(other) => {
            errors.add(
                "/kind",
                "unknown",
                format!(
                    "`{}` is no kind of goal; there are event, page, scroll",
                    echo(other)
                ),
            );
            &RULE_FIELDS
        }
        None => &RULE_FIELDS,
    };
    if let Some(kind) = kind.filter(|_| wanted.len() < RULE_FIELDS.len()) {
        for name in RULE_FIELDS {
            let given = body.get(name).is_some();
            if wanted.contains(&name) && !given {
                errors.add(
                    body.at(name),
                    "required",
                    format!("is required for a goal of kind {kind}"),
                );
            } else if !wanted.contains(&name) && given {
                errors.add(
                    body.at(name),
                    "not_applicable",
                    format!("means nothing for a goal of kind {kind}"),
                );
            }
        }
    }
    let mut wanted_text = |name: &str, max_chars| {
        if wanted.contains(&name) {
            body.text(name, max_chars, errors).map(str::to_owned)
        } else {
            None
        }
    };
    let event = wanted_text("event", MAX_NAME_CHARS);
    let path = wanted_text("path", MAX_PATH_CHARS);
    let threshold = if wanted.contains(&"scroll_threshold") {
        body.integer("scroll_threshold", 0..=100, errors)
    } else {
        None
    };
    match kind? {
        "event" => Some(GoalRule::Event { event: event? }),
        "page" => Some(GoalRule::Page { path: path? }),
        "scroll" => Some(GoalRule::Scroll {
            path: path?,
            scroll_threshold: u8::try_from(threshold?).ok()?,
        }),
        _ => None,
    }
}

fn read_props(body: &Object<'_>, errors: &mut Errors) -> Vec<(String, String)> {
    let Some(given) = body.object("props", errors) else {
        return Vec::new();
    };
    let count = given.names().count();
    if count > MAX_PROPS {
        errors.add(
            "/props",
            "too_many",
            format!("a goal asks for at most {MAX_PROPS} properties, these are {count}"),
        );
    }
    let mut props = Vec::with_capacity(count);
    for name in given.names() {
        let pointer = given.at(name);
        let name_ok = text(&Value::from(name), &pointer, MAX_PROP_NAME_CHARS, errors).is_some();
        let value = match given.get(name) {
            // An empty value is one that an event can have.
            Some(Value::String(value)) if value.is_empty() => Some(""),
            Some(value) => text(value, &pointer, MAX_PROP_VALUE_CHARS, errors),
            None => wrong_type(&pointer, &Value::Null, "text", errors),
        };
        if let (true, Some(value)) = (name_ok, value) {
            props.push((name.to_owned(), value.to_owned()));
        }
    }
    props
}

#[cfg(test)]
mod tests;

//! Reading a goal from a request's body.

use serde_json::Value;

use crate::domain::goal::{
    GoalKind, GoalRule, GoalSettings, MAX_NAME_CHARS, MAX_PATH_CHARS, MAX_PROP_NAME_CHARS,
    MAX_PROP_VALUE_CHARS, MAX_PROPS, MAX_STARS,
};

use super::field_errors::{FieldCode, FieldErrors, echo};
use super::validate::{BodyObject, text, wrong_type};

const FIELDS: [&str; 6] = ["name", "kind", "event", "path", "scroll_threshold", "props"];
pub(super) const READ_ONLY: [&str; 4] = ["id", "site_id", "inserted_at", "updated_at"];
/// Percent of a page.
pub(super) const SCROLL_THRESHOLD: std::ops::RangeInclusive<u32> = 0..=100;
/// The fields that belong to the rule: each kind of goal has some of them.
const RULE_FIELDS: [&str; 3] = ["event", "path", "scroll_threshold"];

/// Reads the settings in a body. `None` only if a field is wrong.
pub(super) fn read_settings(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<GoalSettings> {
    body.refuse_other_fields(&FIELDS, &READ_ONLY, errors);
    body.require("name", "the name of the goal in notifications", errors);
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

fn read_rule(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<GoalRule> {
    let kind = read_kind(body, errors);
    let wanted: &[&str] = match kind {
        Some(GoalKind::Event) => &["event"],
        Some(GoalKind::Page) => &["path"],
        Some(GoalKind::Scroll) => &["path", "scroll_threshold"],
        None => &RULE_FIELDS,
    };
    if let Some(kind) = kind {
        check_fields_of(kind, wanted, body, errors);
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
    if let Some(path) = &path {
        check_path(path, body.pointer_to("path"), errors);
    }
    let threshold = if wanted.contains(&"scroll_threshold") {
        body.integer("scroll_threshold", SCROLL_THRESHOLD, errors)
    } else {
        None
    };
    match kind? {
        GoalKind::Event => Some(GoalRule::Event { event: event? }),
        GoalKind::Page => Some(GoalRule::Page { path: path? }),
        GoalKind::Scroll => Some(GoalRule::Scroll {
            path: path?,
            scroll_threshold: u8::try_from(threshold?).ok()?,
        }),
    }
}

fn read_kind(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<GoalKind> {
    body.require("kind", "event, page or scroll", errors);
    let word = body.text("kind", 100, errors)?;
    let kind: Option<GoalKind> = word.parse().ok();
    if kind.is_none() {
        let detail = format!(
            "`{}` is not a kind of goal. The kinds are event, page and scroll.",
            echo(word)
        );
        errors.add("/kind", FieldCode::Unknown, detail);
    }
    kind
}

/// Names the fields that a goal of this kind lacks, and those that do not apply to it.
fn check_fields_of(kind: GoalKind, wanted: &[&str], body: &BodyObject<'_>, errors: &mut FieldErrors) {
    for name in RULE_FIELDS {
        let is_given = body.get(name).is_some();
        if wanted.contains(&name) && !is_given {
            let detail = format!("This field is required for a goal of the kind {kind}.");
            errors.add(body.pointer_to(name), FieldCode::Required, detail);
        } else if !wanted.contains(&name) && is_given {
            let detail = format!("This field does not apply to a goal of the kind {kind}.");
            errors.add(body.pointer_to(name), FieldCode::NotApplicable, detail);
        }
    }
}

fn check_path(path: &str, pointer: String, errors: &mut FieldErrors) {
    if let Some(problem) = never_matches(path) {
        errors.add(pointer.clone(), FieldCode::Invalid, problem);
    }
    if path.matches('*').count() > MAX_STARS {
        let detail = format!("A path may have at most {MAX_STARS} `*`; `**` counts as two.");
        errors.add(pointer, FieldCode::Invalid, detail);
    }
}

/// The reason why no path of an event has this form, if there is one.
fn never_matches(pattern: &str) -> Option<&'static str> {
    if pattern.trim_matches(' ') != pattern {
        Some("The path has blanks at its ends, which no path of an event has.")
    } else if pattern.contains(['?', '#']) {
        Some("Paths of events have neither a query nor a fragment: leave out everything from `?` or `#` on.")
    } else if is_url(pattern) {
        Some("This is a URL. Give its path alone, such as /blog/*.")
    } else {
        None
    }
}

/// True for a text that begins with the scheme of a URL (RFC 3986 §3.1).
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_of_schemes = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_of_schemes)
}

fn read_props(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Vec<(String, String)> {
    let Some(given) = body.object("props", errors) else {
        return Vec::new();
    };
    let count = given.names().count();
    if count > MAX_PROPS {
        errors.add(
            "/props",
            FieldCode::TooMany,
            format!("A goal may ask for at most {MAX_PROPS} properties; these are {count}."),
        );
    }
    let mut props = Vec::with_capacity(count);
    for name in given.names() {
        let pointer = given.pointer_to(name);
        let is_name_valid = text(&Value::from(name), &pointer, MAX_PROP_NAME_CHARS, errors).is_some();
        let value = match given.get(name) {
            // An event may have an empty value.
            Some(Value::String(value)) if value.is_empty() => Some(""),
            Some(value) => text(value, &pointer, MAX_PROP_VALUE_CHARS, errors),
            None => wrong_type(&pointer, &Value::Null, "text", errors),
        };
        if let (true, Some(value)) = (is_name_valid, value) {
            props.push((name.to_owned(), value.to_owned()));
        }
    }
    props
}

#[cfg(test)]
mod tests;

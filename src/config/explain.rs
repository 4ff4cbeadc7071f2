//! Errors of a configuration that could not be read, in words. None shows a value of a section that
//! holds secrets.

use std::path::Path;

use figment::Figment;
use figment::error::{Error, Kind};
use figment::value::{Dict, Value};

use super::forms;
use super::origins::{ValueOrigins, key_of, shown};
use super::problems::HIDDEN;
use super::root::Config;
use super::sources::SourceFormat;
use super::telemetry::LogFormat;
use crate::domain::event::SourceClock;
use crate::domain::near_words::nearest;

/// Explains an error in one line: `kafka.partitions = "x": allowed: a whole number from 1 to 10000
/// (in bellwether.toml)`.
pub(super) fn explain(error: &Error, origins: &ValueOrigins<'_>) -> String {
    let key = key_of(&error.path);
    let value = origins.value(&error.path);
    let place = origins.place_around(&error.path);
    let is_read = !matches!(error.kind, Kind::UnknownField(..) | Kind::MissingField(_));
    let is_section = error.path.len() == 1 || matches!(value, Some(Value::Dict(..)));
    let value = match value {
        Some(_) if is_read && holds_secrets(&error.path) => format!(" = {HIDDEN}"),
        Some(value) if is_read && !is_section => format!(" = {}", shown(value)),
        _ => String::new(),
    };
    format!("{key}{value}: {}{place}", problem_of(error, &key))
}

const SOURCES: &str = "this is a list: a [[sources]] block for each topic; as an environment variable: \
                       BELLWETHER_SOURCES='[{topic = \"events\"}]'";

/// Finds lists in the place of sections, and sources that are no sections: their reader would take
/// the elements of a list for the values of its keys, one by one.
pub(super) fn misshapen(given: &Dict, origins: &ValueOrigins<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for section in keys_of(None) {
        let Some(Value::Array(_, list)) = given.get(&section) else {
            continue;
        };
        let is_dict = |value: &Value| matches!(value, Value::Dict(..));
        let problem = match section.as_str() {
            "sources" if list.iter().all(is_dict) => continue,
            "sources" => SOURCES.to_owned(),
            _ => format!("this is one section: write [{section}], not [[{section}]]"),
        };
        let place = origins.place_around(std::slice::from_ref(&section));
        found.push((section.clone(), format!("{section}: {problem}{place}")));
    }
    found
}

/// Explains an error of a text that is no TOML. The parser shows the line beside a bar, and the
/// line may hold a secret.
pub(super) fn explain_text(error: &Error, file: Option<&Path>) -> String {
    let text = error.kind.to_string();
    let lines = text
        .lines()
        .filter(|line| !line.contains('|') && !line.trim().is_empty());
    let mut parts: Vec<String> = file.iter().map(|path| path.display().to_string()).collect();
    parts.extend(lines.map(str::to_owned));
    if parts.len() == 1 + usize::from(file.is_some()) {
        parts.push("a value is missing".to_owned());
    }
    parts.join(": ")
}

/// Says what is wrong with a value.
fn problem_of(error: &Error, key: &str) -> String {
    let section = error.path.first().map_or("", String::as_str);
    match &error.kind {
        Kind::UnknownField(field, allowed) => unknown_key(field, allowed, &error.path),
        Kind::InvalidType(..) if section == "sources" && error.path.len() == 1 => SOURCES.to_owned(),
        Kind::InvalidType(..) if error.path.len() == 1 => format!(
            "this is a section, with keys of its own; as an environment variable: {}",
            variable(section, "<key>")
        ),
        Kind::MissingField(field) => format!("`{field}` is missing"),
        Kind::DuplicateField(field) => format!("`{field}` is there twice"),
        Kind::UnknownVariant(word, words) => {
            let meant = match holds_secrets(&error.path) {
                true => String::new(),
                false => did_you_mean(word, words),
            };
            format!("{meant}allowed: {}", words.join(", "))
        }
        Kind::Message(text) => match text.find("allowed:") {
            Some(at) if holds_secrets(&error.path) => text[at..].to_owned(),
            Some(_) => text.clone(),
            None => allowed(key).unwrap_or_else(|| match holds_secrets(&error.path) {
                true => "cannot be used".to_owned(),
                false => text.clone(),
            }),
        },
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            allowed(key).unwrap_or_else(|| match expected.strip_prefix("allowed:") {
                Some(_) => expected.clone(),
                None => format!("allowed: {}", kind_in_words(expected)),
            })
        }
        kind => kind.to_string(),
    }
}

/// The allowed values of a key in words, if its type does not say them.
fn allowed(key: &str) -> Option<String> {
    let words = match key.split_once("].") {
        Some((_, "format")) => SourceFormat::WORDS,
        Some((_, "clock")) => SourceClock::WORDS,
        _ if key == "telemetry.log_format" => LogFormat::WORDS,
        _ => return forms::allowed(key),
    };
    Some(format!("allowed: {}", words.join(", ")))
}

/// Says what may be meant by a key that is unknown. All keys of the first level are sections.
fn unknown_key(key: &str, allowed: &[&str], path: &[String]) -> String {
    if path.len() <= 1
        && let Some((section, key)) = section_before(key, allowed)
        && let Some(key) = key_within(section, key)
    {
        return format!(
            "unknown key; it is `{key}` of [{section}], and as an environment variable, with two underscores, {}",
            variable(section, &key.replace('.', "__"))
        );
    }
    let near = did_you_mean(key, allowed);
    if near.is_empty()
        && let Some(section) = section_with(key)
    {
        return format!(
            "unknown key; it is `{key}` of [{section}], and as an environment variable {}",
            variable(&section, key)
        );
    }
    let near = if near.is_empty() {
        "; ".to_owned()
    } else {
        format!(", {near}")
    };
    format!("unknown key{near}allowed: {}", allowed.join(", "))
}

/// The section that has a key of this name, if only one has.
fn section_with(key: &str) -> Option<String> {
    let has_key = |section: &String| keys_of(Some(section)).iter().any(|one| one == key);
    let mut sections = keys_of(None).into_iter().filter(has_key);
    let first = sections.next()?;
    sections.next().is_none().then_some(first)
}

/// The keys of a section, or the sections, as their reader names them when it meets an unknown key.
fn keys_of(section: Option<&str>) -> Vec<String> {
    const NO_KEY: &str = "?";
    let unknown = Dict::from([(NO_KEY.to_owned(), Value::from(0))]);
    let figment = match section {
        Some(section) => Figment::from((section, unknown)),
        None => Figment::from((NO_KEY, 0)),
    };
    match figment.extract::<Config>().map_err(|error| error.kind) {
        Err(Kind::UnknownField(_, allowed)) => allowed.iter().map(|&key| key.to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Similarity from which on a word is taken for a misspelling of another one.
const NEAR: f64 = 0.8;

fn did_you_mean(word: &str, allowed: &[&str]) -> String {
    // `url` for `webhook_url`
    let longer = allowed
        .iter()
        .copied()
        .find(|known| known.strip_suffix(word).is_some_and(|start| start.ends_with('_')));
    match longer.or_else(|| nearest(word, allowed.iter().copied(), NEAR)) {
        Some(known) => format!("did you mean `{known}`? "),
        None => String::new(),
    }
}

/// A kind of values as people call it.
fn kind_in_words(kind: &str) -> &str {
    match kind {
        "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" | "path string" => "a text",
        "a boolean" => "true or false",
        "a map" => "a section, with keys of its own",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a section, with keys of its own",
        other if other.starts_with("enum ") => "one of its words",
        other => other,
    }
}

/// True for the sections whose values no error shows.
fn holds_secrets(path: &[String]) -> bool {
    match path.first().map(String::as_str) {
        Some("postgres" | "encryption" | "operator") => true,
        Some("kafka") => path.get(1).is_some_and(|key| key == "properties"),
        _ => false,
    }
}

fn variable(section: &str, key: &str) -> String {
    format!("BELLWETHER_{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// The key of a section that a variable names with one underscore: `brokers`, or one of the keys
/// that librdkafka or the owner of a schedule chose, such as `properties.sasl_password`.
fn key_within(section: &str, name: &str) -> Option<String> {
    let keys = keys_of(Some(section));
    if keys.iter().any(|key| key == name) {
        return Some(name.to_owned());
    }
    let free = ["properties", "retry_schedules"]
        .into_iter()
        .filter(|free| keys.iter().any(|key| key == free));
    free.into_iter()
        .find_map(|free| Some(format!("{free}.{}", name.strip_prefix(free)?.strip_prefix('_')?)))
}

/// Splits a name such as `kafka_brokers` into one of `sections` and a key of it.
fn section_before<'a>(name: &'a str, sections: &[&'a str]) -> Option<(&'a str, &'a str)> {
    sections
        .iter()
        .filter_map(|section| Some((*section, name.strip_prefix(section)?.strip_prefix('_')?)))
        .find(|(_, key)| !key.is_empty())
}

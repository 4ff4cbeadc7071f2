//! Errors of a configuration that could not be read, in words. None shows a value of a section that
//! holds secrets.

use std::path::Path;

use figment::Metadata;
use figment::error::{Error, Kind};

use crate::domain::near_words::nearest;

/// Explains an error in one line: `kafka.partitions: found string "x"; allowed: a whole number (in
/// bellwether.toml)`.
pub(super) fn explain(error: &Error, place: Option<&Metadata>, file: Option<&Path>) -> String {
    let key = key_of(&error.path);
    let problem = problem_of(error);
    let place = place
        .or(error.metadata.as_ref())
        .map(|metadata| place_of(metadata.name.as_ref(), &error.path, file))
        .unwrap_or_default();
    if key.is_empty() {
        format!("{problem}{place}")
    } else {
        format!("{key}: {problem}{place}")
    }
}

/// Names the source that gave the value, in brackets.
fn place_of(source: &str, path: &[String], file: Option<&Path>) -> String {
    if source.contains("environment") {
        let name = path.join("__").to_uppercase();
        format!(" (in the environment variable BELLWETHER_{name})")
    } else if source.contains("TOML") {
        file.map(|path| format!(" (in {})", path.display()))
            .unwrap_or_default()
    } else {
        " (in --set)".to_owned()
    }
}

/// Writes a path as documents do: `sources[0].clock`.
fn key_of(path: &[String]) -> String {
    path.iter()
        .fold(String::new(), |key, part| match part.parse::<usize>() {
            Ok(index) => format!("{key}[{index}]"),
            Err(_) if key.is_empty() => part.clone(),
            Err(_) => format!("{key}.{part}"),
        })
}

/// Says what is wrong with a value.
fn problem_of(error: &Error) -> String {
    let section = error.path.first().map_or("", String::as_str);
    match &error.kind {
        Kind::UnknownField(field, allowed) => unknown_key(field, allowed, error.path.len() <= 1),
        Kind::InvalidType(..) if section == "sources" && error.path.len() == 1 => {
            "this is a list: a [[sources]] block for each topic".to_owned()
        }
        Kind::InvalidType(..) if error.path.len() == 1 => format!(
            "this is a section, with keys of its own; as an environment variable: {}",
            variable(section, "<key>")
        ),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if holds_secrets(&error.path) => {
            if expected.starts_with("allowed:") {
                expected.clone()
            } else {
                format!(
                    "the value, which is not shown, is of another kind; allowed: {}",
                    kind_in_words(expected)
                )
            }
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {found}; allowed: {}", kind_in_words(expected))
        }
        Kind::UnknownVariant(_, allowed) if holds_secrets(&error.path) => {
            format!(
                "the value, which is not shown, cannot be used; allowed: {}",
                allowed.join(", ")
            )
        }
        Kind::UnknownVariant(found, allowed) => {
            format!(
                "`{found}` is none of its values{} allowed: {}",
                did_you_mean(found, allowed),
                allowed.join(", ")
            )
        }
        Kind::MissingField(field) => format!("`{field}` is missing"),
        Kind::DuplicateField(field) => format!("`{field}` is there twice"),
        Kind::Message(text) if holds_secrets(&error.path) => {
            let allowed = text.find("allowed:").map_or("", |at| &text[at..]);
            format!("the value, which is not shown, cannot be used; {allowed}")
        }
        // The parser shows the line beside a bar, and the line may hold a secret.
        Kind::Message(text) => {
            let lines = text
                .lines()
                .filter(|line| !line.contains('|') && !line.trim().is_empty());
            lines.collect::<Vec<_>>().join(": ")
        }
        kind => kind.to_string(),
    }
}

/// Says what may be meant by a key that is unknown. All keys of the first level are sections.
fn unknown_key(key: &str, allowed: &[&str], is_section: bool) -> String {
    if is_section && let Some((section, key)) = section_before(key, allowed) {
        return format!(
            "unknown key; it is `{key}` of [{section}], and as an environment variable, with two underscores, {}",
            variable(section, key)
        );
    }
    format!(
        "unknown key{} allowed: {}",
        did_you_mean(key, allowed),
        allowed.join(", ")
    )
}

/// Similarity from which on a word is taken for a misspelling of another one.
const NEAR: f64 = 0.8;

fn did_you_mean(word: &str, allowed: &[&str]) -> String {
    match nearest(word, allowed.iter().copied(), NEAR) {
        Some(known) => format!(", did you mean `{known}`?"),
        None => ";".to_owned(),
    }
}

/// A kind of values as people call it.
fn kind_in_words(kind: &str) -> &str {
    match kind {
        "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a map" => "a section, with keys of its own",
        "a sequence" => "a list",
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

/// Splits a name such as `kafka_brokers` into one of `sections` and a key of it.
fn section_before<'a>(name: &'a str, sections: &[&'a str]) -> Option<(&'a str, &'a str)> {
    sections
        .iter()
        .filter_map(|section| Some((*section, name.strip_prefix(section)?.strip_prefix('_')?)))
        .find(|(_, key)| !key.is_empty())
}

//! Errors of a configuration that could not be read, in words. None shows a value of a section that
//! holds secrets.

use std::path::Path;

use figment::Metadata;
use figment::error::{Error, Kind};

/// Explains an error in one line: `kafka.partitions: found string "x", expected i32 (in
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
        // All keys of the first level are sections.
        Kind::UnknownField(field, sections) if error.path.len() <= 1 => match section_before(field, sections)
        {
            Some((section, key)) => format!(
                "unknown field; it is `{key}` of [{section}], and as an environment variable, with two underscores, {}",
                variable(section, key)
            ),
            None => error.kind.to_string(),
        },
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
                format!("the value, which is not shown, is none of this kind: {expected}")
            }
        }
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

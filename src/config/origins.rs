//! The sources that gave the values of a configuration: a file, a variable, a flag.

use std::path::Path;

use figment::value::{Dict, Value};
use figment::{Figment, Metadata};

/// Place of a value that a flag gave.
pub(super) const FLAG_PLACE: &str = " (in --set)";

/// Values as they were given, and where.
pub(super) struct ValueOrigins<'a> {
    figment: &'a Figment,
    given: &'a Dict,
    file: Option<&'a Path>,
}

impl<'a> ValueOrigins<'a> {
    pub(super) fn new(figment: &'a Figment, given: &'a Dict, file: Option<&'a Path>) -> Self {
        Self { figment, given, file }
    }

    /// The value at a path, if it was given.
    pub(super) fn value(&self, path: &[String]) -> Option<&'a Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.given.get(first)?, |value, part| match value {
                Value::Dict(_, inner) => inner.get(part),
                Value::Array(_, list) => list.get(part.parse::<usize>().ok()?),
                _ => None,
            })
    }

    /// Names in brackets the source of the value at a path, or of what is around it.
    pub(super) fn place_around(&self, path: &[String]) -> String {
        let around = (1..=path.len()).rev().map(|length| self.place(&path[..length]));
        around
            .into_iter()
            .find(|place| !place.is_empty())
            .unwrap_or_default()
    }

    /// Names in brackets the source that gave the value of a key, such as `sources[0].topic`:
    /// nothing for a default.
    pub(super) fn place_of_key(&self, key: &str) -> String {
        let path = match key.split_once(".\"") {
            // Two levels: the key itself may be written in several ways.
            Some((section, name)) => {
                let mut path = path_of(section);
                let name = name.trim_end_matches('"');
                let spellings = [name.to_owned(), name.replace('.', "_")];
                path.extend(spellings.into_iter().find(|spelling| {
                    let path = [&path[..], std::slice::from_ref(spelling)].concat();
                    self.value(&path).is_some()
                }));
                path
            }
            None => path_of(key),
        };
        // A list may have been given as one text.
        let is_element = path.last().is_some_and(|part| part.parse::<usize>().is_ok());
        match self.place(&path) {
            place if place.is_empty() && is_element => self.place(&path[..path.len() - 1]),
            place => place,
        }
    }

    fn place(&self, path: &[String]) -> String {
        let metadata = self
            .value(path)
            .and_then(|value| self.figment.get_metadata(value.tag()));
        metadata
            .map(|metadata| self.place_of(metadata, path))
            .unwrap_or_default()
    }

    fn place_of(&self, metadata: &Metadata, path: &[String]) -> String {
        if metadata.name.contains("environment") {
            // An element of a list has no variable of its own.
            let names = path.iter().take_while(|part| part.parse::<usize>().is_err());
            let name = names
                .map(|part| part.to_uppercase())
                .collect::<Vec<_>>()
                .join("__");
            format!(" (in the environment variable BELLWETHER_{name})")
        } else if metadata.name.contains("TOML") {
            self.file
                .map(|path| format!(" (in {})", path.display()))
                .unwrap_or_default()
        } else {
            FLAG_PLACE.to_owned()
        }
    }
}

/// Writes a path as documents do: `sources[0].clock`.
pub(super) fn key_of(path: &[String]) -> String {
    path.iter()
        .fold(String::new(), |key, part| match part.parse::<usize>() {
            Ok(index) => format!("{key}[{index}]"),
            Err(_) if key.is_empty() => part.clone(),
            Err(_) => format!("{key}.{part}"),
        })
}

/// Reads what [`key_of`] writes.
fn path_of(key: &str) -> Vec<String> {
    let parts = key.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    parts.map(str::to_owned).collect()
}

/// A value as a TOML file has it; of a section only that it is one.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) => super::problems::quoted(text),
        Value::Char(_, one) => super::problems::quoted(&one.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(fraction)) => fraction.to_string(),
            (None, None) => number.to_u128().map_or("…".to_owned(), |whole| whole.to_string()),
        },
        Value::Empty(..) => "(nothing)".to_owned(),
        Value::Dict(..) => "{…}".to_owned(),
        Value::Array(_, list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

//! Reading a JSON object field by field. Mistakes are collected, so that reading goes on after the
//! first.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike as _, Utc};
use serde_json::{Map, Value};

use crate::domain::texts::has_control;

use super::field_errors::{FieldCode, FieldErrors, echo, escape};

/// An object in a request's body, with its place there. A field that is `null` counts as absent.
#[derive(Debug, Clone)]
pub(super) struct BodyObject<'a> {
    map: &'a Map<String, Value>,
    pointer: String,
}

impl<'a> BodyObject<'a> {
    /// The whole body.
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self {
            map,
            pointer: String::new(),
        }
    }

    /// The JSON pointer to a field.
    pub(super) fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escape(name))
    }

    /// `map` as if it were the value of the field `name`.
    pub(super) fn nested<'b>(&self, name: &str, map: &'b Map<String, Value>) -> BodyObject<'b> {
        BodyObject {
            map,
            pointer: self.pointer_to(name),
        }
    }

    /// The names of all fields, also of those that are `null`.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// A field's value.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// True if the field is there and `null`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// Refuses each field that is none of `allowed`.
    pub(super) fn refuse_unknown(&self, allowed: &[&str], errors: &mut FieldErrors) {
        self.refuse_other_fields(allowed, &[], errors);
    }

    /// Refuses each field that is none of `allowed`. Those in `read_only` appear in answers only.
    pub(super) fn refuse_other_fields(&self, allowed: &[&str], read_only: &[&str], errors: &mut FieldErrors) {
        for name in self.names().filter(|name| !allowed.contains(name)) {
            if read_only.contains(&name) {
                let detail = format!("`{name}` appears in answers only and cannot be set.");
                errors.add(self.pointer_to(name), FieldCode::ReadOnly, detail);
            } else {
                let (name_shown, fields) = (echo(name), allowed.join(", "));
                let detail = match allowed.is_empty() {
                    true => format!("`{name_shown}` is not a field here. There are none."),
                    false => format!("`{name_shown}` is not a field here. The fields are {fields}."),
                };
                errors.add(self.pointer_to(name), FieldCode::UnknownField, detail);
            }
        }
    }

    /// Refuses the body if the field `name` is missing. Returns true if it is there.
    pub(super) fn require(&self, name: &str, what: &str, errors: &mut FieldErrors) -> bool {
        let is_given = self.get(name).is_some();
        if !is_given {
            let detail = format!("This field is required: {what}.");
            errors.add(self.pointer_to(name), FieldCode::Required, detail);
        }
        is_given
    }

    /// A text of 1 to `max_chars` characters.
    pub(super) fn text(&self, name: &str, max_chars: usize, errors: &mut FieldErrors) -> Option<&'a str> {
        text(self.get(name)?, &self.pointer_to(name), max_chars, errors)
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
        errors: &mut FieldErrors,
    ) -> Option<u32> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let number = match self.get(name)? {
            Value::Number(number) => number,
            other => return wrong_type(&self.pointer_to(name), other, &allowed, errors),
        };
        // 300.0 is the same number in JSON as 300.
        let whole = number.as_i64().or_else(|| {
            number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < 9e15)
                .map(|float| float as i64)
        });
        let found = whole
            .and_then(|whole| u32::try_from(whole).ok())
            .filter(|whole| range.contains(whole));
        if found.is_none() {
            let detail = format!("The value must be {allowed}.");
            errors.add(self.pointer_to(name), FieldCode::OutOfRange, detail);
        }
        found
    }

    pub(super) fn boolean(&self, name: &str, errors: &mut FieldErrors) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(value) => Some(*value),
            other => wrong_type(&self.pointer_to(name), other, "true or false", errors),
        }
    }

    /// One of a closed set of `words`.
    pub(super) fn word<T: std::str::FromStr>(
        &self,
        name: &str,
        words: &[&str],
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let allowed = format!("one of {}", words.join(", "));
        let text = match self.get(name)? {
            Value::String(text) => text,
            other => return wrong_type(&self.pointer_to(name), other, &allowed, errors),
        };
        let read = text.parse().ok();
        if read.is_none() {
            let detail = format!("`{}` is not {allowed}.", echo(text));
            errors.add(self.pointer_to(name), FieldCode::Unknown, detail);
        }
        read
    }

    /// One of these `words`, which are some of a closed set.
    pub(super) fn listed_word<T: std::str::FromStr>(
        &self,
        name: &str,
        words: &[&str],
        errors: &mut FieldErrors,
    ) -> Option<T> {
        if let Some(Value::String(text)) = self.get(name)
            && !words.contains(&text.as_str())
        {
            let detail = format!("`{}` is not one of {}.", echo(text), words.join(", "));
            errors.add(self.pointer_to(name), FieldCode::Unknown, detail);
            return None;
        }
        self.word(name, words, errors)
    }

    /// An RFC 3339 time.
    pub(super) fn time(&self, name: &str, errors: &mut FieldErrors) -> Option<DateTime<Utc>> {
        let allowed = "an RFC 3339 time such as 2026-02-25T12:00:00Z";
        let text = match self.get(name)? {
            Value::String(text) => text,
            other => return wrong_type(&self.pointer_to(name), other, allowed, errors),
        };
        let read = read_time(text);
        if read.is_none() {
            let detail = format!("The value must be {allowed}, not `{}`.", echo(text));
            errors.add(self.pointer_to(name), FieldCode::Invalid, detail);
        }
        read
    }

    pub(super) fn object(&self, name: &str, errors: &mut FieldErrors) -> Option<BodyObject<'a>> {
        object(self.get(name)?, self.pointer_to(name), errors)
    }

    pub(super) fn list(&self, name: &str, errors: &mut FieldErrors) -> Option<&'a [Value]> {
        match self.get(name)? {
            Value::Array(list) => Some(list),
            other => wrong_type(&self.pointer_to(name), other, "a list", errors),
        }
    }

    /// A list of 1 to `max` different texts of up to `max_chars` characters.
    pub(super) fn texts(
        &self,
        name: &str,
        max: usize,
        max_chars: usize,
        errors: &mut FieldErrors,
    ) -> Option<Vec<String>> {
        let list = self.list(name, errors)?;
        if list.is_empty() {
            errors.add(
                self.pointer_to(name),
                FieldCode::Empty,
                "Name at least one entry, or leave the field out.",
            );
        }
        if list.len() > max {
            errors.add(
                self.pointer_to(name),
                FieldCode::TooMany,
                format!(
                    "The list may have at most {max} entries; this one has {}.",
                    list.len()
                ),
            );
        }
        let mut seen = HashSet::new();
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let pointer = format!("{}/{index}", self.pointer_to(name));
            let Some(text) = text(value, &pointer, max_chars, errors) else {
                continue;
            };
            if seen.insert(text) {
                texts.push(text.to_owned());
            } else {
                errors.add(pointer, FieldCode::Duplicate, "This entry is in the list twice.");
            }
        }
        Some(texts)
    }
}

/// Reads an RFC 3339 time. An offset may lead beyond the years that RFC 3339 can write, which
/// answers could not show: it is none then.
pub(super) fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    read.filter(|at| (0..=9_999).contains(&at.year()))
}

/// Reads `value` as an object.
fn object<'a>(value: &'a Value, pointer: String, errors: &mut FieldErrors) -> Option<BodyObject<'a>> {
    match value {
        Value::Object(map) => Some(BodyObject { map, pointer }),
        other => wrong_type(&pointer, other, "an object", errors),
    }
}

/// Reads a text of 1 to `max_chars` characters that is not blank and has no control characters:
/// a NUL cannot be stored, and the others would make logs and pages misleading.
pub(super) fn text<'a>(
    value: &'a Value,
    pointer: &str,
    max_chars: usize,
    errors: &mut FieldErrors,
) -> Option<&'a str> {
    let Value::String(text) = value else {
        return wrong_type(pointer, value, "text", errors);
    };
    let chars = text.chars().count();
    if text.trim().is_empty() {
        errors.add(pointer, FieldCode::Empty, "The text must not be empty.");
    } else if chars > max_chars {
        errors.add(
            pointer,
            FieldCode::TooLong,
            format!("The text may have at most {max_chars} characters; this one has {chars}."),
        );
    } else if has_control(text) {
        errors.add(
            pointer,
            FieldCode::ControlCharacter,
            "The text must not contain control characters.",
        );
    } else {
        return Some(text);
    }
    None
}

/// Refuses `value`, which is not `allowed`. There is nothing to read then.
pub(super) fn wrong_type<T>(
    pointer: &str,
    value: &Value,
    allowed: &str,
    errors: &mut FieldErrors,
) -> Option<T> {
    errors.add_wrong_type(pointer, value, allowed);
    None
}

#[cfg(test)]
mod tests;

//! Reading a JSON object field by field, collecting what is wrong with it instead of stopping at the first.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::texts::has_control;

/// Errors beyond this are only counted: a body of nothing but mistakes needs no answer twenty times its size.
const MAX_ERRORS: usize = 100;
/// Longest piece of the caller's own text that is repeated to them, in characters.
const MAX_ECHO_CHARS: usize = 64;

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// Where it is: a JSON pointer (RFC 6901) into the body, or `/` and the name of a query parameter.
    pub(crate) pointer: String,
    /// What is wrong, for programs.
    pub(crate) code: &'static str,
    /// What is wrong and what is allowed, for people.
    pub(crate) detail: String,
}

/// The bad fields found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    /// The first of them.
    list: Vec<FieldError>,
    count: usize,
}

impl Errors {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.count += 1;
        if self.list.len() < MAX_ERRORS {
            self.list.push(FieldError {
                pointer: pointer.into(),
                code,
                detail: detail.into(),
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are, also those that [`list`](Self::list) has no room for.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The first hundred.
    pub(crate) fn list(&self) -> &[FieldError] {
        &self.list
    }

    /// [`list`](Self::list), to keep.
    pub(crate) fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

/// An object of the body and where it is. A field that is `null` counts as absent.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    pointer: String,
}

impl<'a> Object<'a> {
    /// The body itself.
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self {
            map,
            pointer: String::new(),
        }
    }

    /// The pointer of a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escape(name))
    }

    /// `map` as if it were the value of a field here.
    pub(super) fn inside<'b>(&self, name: &str, map: &'b Map<String, Value>) -> Object<'b> {
        Object {
            map,
            pointer: self.at(name),
        }
    }

    /// The fields that are there, `null` or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// A field's value.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and `null`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// Notes each field that is none of `allowed`.
    pub(super) fn refuse_unknown(&self, allowed: &[&str], errors: &mut Errors) {
        for name in self.names().filter(|name| !allowed.contains(name)) {
            let detail = format!(
                "`{}` is no field here; there are {}",
                echo(name),
                allowed.join(", ")
            );
            errors.add(self.at(name), "unknown_field", detail);
        }
    }

    /// Notes a field that has to be there and is not. Says whether it is there.
    pub(super) fn require(&self, name: &str, what: &str, errors: &mut Errors) -> bool {
        let there = self.get(name).is_some();
        if !there {
            errors.add(self.at(name), "required", format!("is required: {what}"));
        }
        there
    }

    /// A text of 1 to `max_chars` characters.
    pub(super) fn text(&self, name: &str, max_chars: usize, errors: &mut Errors) -> Option<&'a str> {
        text(self.get(name)?, &self.at(name), max_chars, errors)
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u32>, errors: &mut Errors) -> Option<u32> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let number = match self.get(name)? {
            Value::Number(number) => number,
            other => return wrong_type(&self.at(name), other, &allowed, errors),
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
            errors.add(self.at(name), "out_of_range", format!("must be {allowed}"));
        }
        found
    }

    pub(super) fn boolean(&self, name: &str, errors: &mut Errors) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(value) => Some(*value),
            other => wrong_type(&self.at(name), other, "true or false", errors),
        }
    }

    pub(super) fn object(&self, name: &str, errors: &mut Errors) -> Option<Object<'a>> {
        object(self.get(name)?, self.at(name), errors)
    }

    pub(super) fn list(&self, name: &str, errors: &mut Errors) -> Option<&'a [Value]> {
        match self.get(name)? {
            Value::Array(list) => Some(list),
            other => wrong_type(&self.at(name), other, "a list", errors),
        }
    }

    /// A list of 1 to `max` different texts of up to `max_chars` characters.
    pub(super) fn texts(
        &self,
        name: &str,
        max: usize,
        max_chars: usize,
        errors: &mut Errors,
    ) -> Option<Vec<String>> {
        let list = self.list(name, errors)?;
        if list.is_empty() {
            errors.add(
                self.at(name),
                "empty",
                "name at least one, or leave the field out",
            );
        }
        if list.len() > max {
            errors.add(
                self.at(name),
                "too_many",
                format!("has at most {max} entries, this has {}", list.len()),
            );
        }
        let mut seen = HashSet::new();
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let pointer = format!("{}/{index}", self.at(name));
            let Some(text) = text(value, &pointer, max_chars, errors) else {
                continue;
            };
            if seen.insert(text) {
                texts.push(text.to_owned());
            } else {
                errors.add(pointer, "duplicate", "is in the list already");
            }
        }
        Some(texts)
    }
}

/// A value that has to be an object, and where it is.
pub(super) fn object<'a>(value: &'a Value, pointer: String, errors: &mut Errors) -> Option<Object<'a>> {
    match value {
        Value::Object(map) => Some(Object { map, pointer }),
        other => wrong_type(&pointer, other, "an object", errors),
    }
}

/// A text of 1 to `max_chars` characters that is not blank and holds no control characters: a NUL cannot be stored,
/// and the others would make logs and pages lie.
pub(super) fn text<'a>(
    value: &'a Value,
    pointer: &str,
    max_chars: usize,
    errors: &mut Errors,
) -> Option<&'a str> {
    let Value::String(text) = value else {
        return wrong_type(pointer, value, "text", errors);
    };
    let chars = text.chars().count();
    if text.trim().is_empty() {
        errors.add(pointer, "empty", "must not be empty");
    } else if chars > max_chars {
        errors.add(
            pointer,
            "too_long",
            format!("has at most {max_chars} characters, this has {chars}"),
        );
    } else if has_control(text) {
        errors.add(pointer, "control_character", "must not hold control characters");
    } else {
        return Some(text);
    }
    None
}

/// Notes that a value is of another type than `allowed`.
pub(super) fn wrong_type<T>(pointer: &str, value: &Value, allowed: &str, errors: &mut Errors) -> Option<T> {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    errors.add(pointer, "wrong_type", format!("must be {allowed}, not {found}"));
    None
}

/// The caller's own text, cut to what is worth repeating.
pub(super) fn echo(text: &str) -> String {
    let cut: String = text.chars().take(MAX_ECHO_CHARS).collect();
    if cut.len() < text.len() {
        format!("{cut}…")
    } else {
        cut
    }
}

/// A name as a part of a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(value: &Value, read: impl Fn(&Object<'_>, &mut Errors)) -> Vec<(String, &'static str)> {
        let mut errors = Errors::default();
        read(&Object::root(value.as_object().expect("an object")), &mut errors);
        errors
            .into_list()
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect()
    }

    #[test]
    fn whole_numbers_in_range_and_nothing_else() {
        for (value, wanted) in [
            (json!(1), None),
            (json!(300.0), None),
            (json!(3600), None),
            (json!(0), Some("out_of_range")),
            (json!(3601), Some("out_of_range")),
            (json!(-1), Some("out_of_range")),
            (json!(1.5), Some("out_of_range")),
            (json!(1e300), Some("out_of_range")),
            (json!(u64::MAX), Some("out_of_range")),
            (json!("300"), Some("wrong_type")),
            (json!(true), Some("wrong_type")),
            (json!([1]), Some("wrong_type")),
            (json!(null), None),
        ] {
            let found = codes(&json!({"n": value}), |object, errors| {
                object.integer("n", 1..=3600, errors);
            });
            assert_eq!(found.first().map(|(_, code)| *code), wanted, "{value}");
        }
    }

    #[test]
    fn texts_are_counted_in_characters_and_hold_no_control_characters() {
        for (value, wanted) in [
            (json!("ü".repeat(10)), None),
            (json!("ü".repeat(11)), Some("too_long")),
            (json!(""), Some("empty")),
            (json!(" \t "), Some("empty")),
            (json!("a\0b"), Some("control_character")),
            (json!("a\nb"), Some("control_character")),
            (json!("a\u{85}b"), Some("control_character")),
            (json!(1), Some("wrong_type")),
        ] {
            let found = codes(&json!({"t": value}), |object, errors| {
                object.text("t", 10, errors);
            });
            assert_eq!(found.first().map(|(_, code)| *code), wanted, "{value}");
        }
    }

    #[test]
    fn a_pointer_escapes_what_it_must() {
        let found = codes(&json!({"a/b~c": 1}), |object, errors| {
            object.refuse_unknown(&["name"], errors)
        });
        assert_eq!(found, [("/a~1b~0c".to_owned(), "unknown_field")]);
    }

    #[test]
    fn a_list_of_texts_names_each_bad_entry() {
        let found = codes(&json!({"l": ["a", 1, "a", ""]}), |object, errors| {
            object.texts("l", 5, 10, errors);
        });
        let wanted = [("/l/1", "wrong_type"), ("/l/2", "duplicate"), ("/l/3", "empty")];
        assert_eq!(found, wanted.map(|(pointer, code)| (pointer.to_owned(), code)));
        let found = codes(&json!({"l": ["a", "b", 1]}), |object, errors| {
            object.texts("l", 2, 10, errors);
        });
        let wanted = [("/l", "too_many"), ("/l/2", "wrong_type")];
        assert_eq!(found, wanted.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn a_body_of_mistakes_gets_a_bounded_answer() {
        let body: Map<String, Value> = (0..5_000)
            .map(|n| (format!("{n}{}", "x".repeat(500)), json!(1)))
            .collect();
        let mut errors = Errors::default();
        Object::root(&body).refuse_unknown(&["name"], &mut errors);
        assert_eq!((errors.list().len(), errors.count()), (MAX_ERRORS, 5_000));
        assert!(
            errors
                .list()
                .iter()
                .all(|error| error.detail.chars().count() < 200)
        );
    }
}

//! The bad fields of a request, collected so that one answer names all of them.

use serde::Serialize;
use serde_json::Value;

use crate::domain::words::words;

/// Errors beyond this number are only counted: a body of nothing but mistakes needs no answer
/// twenty times its size.
const MAX_ERRORS: usize = 100;
/// Longest piece of the caller's own text that an answer repeats, in characters.
const MAX_ECHO_CHARS: usize = 64;

words! {
    /// The kind of mistake in a field, for programs.
    pub(super) enum FieldCode {
        Required = "required",
        WrongType = "wrong_type",
        UnknownField = "unknown_field",
        ReadOnly = "read_only",
        NotAvailable = "not_available",
        NotApplicable = "not_applicable",
        NotSubscribed = "not_subscribed",
        Unknown = "unknown",
        Invalid = "invalid",
        Empty = "empty",
        TooLong = "too_long",
        WrongLength = "wrong_length",
        TooMany = "too_many",
        OutOfRange = "out_of_range",
        Duplicate = "duplicate",
        Taken = "taken",
        OutOfScope = "out_of_scope",
        Reserved = "reserved",
        Masked = "masked",
        ControlCharacter = "control_character",
    }
}

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// A JSON pointer (RFC 6901) into the body, or `/` and the name of a query parameter.
    pub(super) pointer: String,
    pub(super) code: FieldCode,
    /// A sentence for people: the mistake and the allowed values.
    pub(super) detail: String,
}

/// The bad fields found so far.
#[derive(Debug, Default)]
pub(super) struct FieldErrors {
    /// The first hundred.
    list: Vec<FieldError>,
    count: usize,
}

impl FieldErrors {
    /// Adds a bad field. `detail` is made a sentence: domain errors come without capital and full
    /// stop.
    pub(super) fn add(&mut self, pointer: impl Into<String>, code: FieldCode, detail: impl AsRef<str>) {
        self.count += 1;
        if self.list.len() < MAX_ERRORS {
            self.list.push(FieldError {
                pointer: pointer.into(),
                code,
                detail: to_sentence(detail.as_ref()),
            });
        }
    }

    /// Adds a field whose value is not `allowed`, such as "a list".
    pub(super) fn add_wrong_type(&mut self, pointer: impl Into<String>, value: &Value, allowed: &str) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let detail = format!("The value must be {allowed}, not {found}.");
        self.add(pointer, FieldCode::WrongType, detail);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of bad fields, which [`list`](Self::list) may not hold all of.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The first hundred bad fields.
    pub(super) fn list(&self) -> &[FieldError] {
        &self.list
    }

    /// The first hundred bad fields, to keep.
    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

/// `text` with a capital letter and a full stop.
fn to_sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    let stop = if text.ends_with('.') { "" } else { "." };
    first.into_iter().chain(chars).chain(stop.chars()).collect()
}

/// The caller's own text, cut to a length that is worth repeating.
pub(super) fn echo(text: &str) -> String {
    let cut: String = text.chars().take(MAX_ECHO_CHARS).collect();
    if cut.len() < text.len() {
        format!("{cut}…")
    } else {
        cut
    }
}

/// `name` as a token of a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_is_a_sentence() {
        for (given, wanted) in [
            ("a URL starts with https://", "A URL starts with https://."),
            ("`x` is not a field here.", "`x` is not a field here."),
            ("", "."),
        ] {
            assert_eq!(to_sentence(given), wanted);
        }
    }

    #[test]
    fn docs_list_every_code_of_a_field_error() {
        let reference = include_str!("../../docs/api.md");
        let (_, codes) = reference.split_once("| code |").expect("a table of codes");
        for code in FieldCode::ALL {
            let row = format!("| `{code}` |");
            assert!(codes.lines().any(|line| line.starts_with(&row)), "{row}");
        }
    }
}

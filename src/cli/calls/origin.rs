//! The arguments that the fields of a call came from, for errors that name them. Pure.

use super::failure::{CallError, RefusedField};
use crate::cli::exit::UsageError;

/// Codes of refusals by what is stored: the argument may be used again later.
const BY_WHAT_IS_STORED: [&str; 2] = ["taken", "out_of_scope"];

/// The arguments of a call's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct FieldOrigins {
    flags: Vec<OwnFlag>,
    /// Keys given with `--field`.
    keys: Vec<String>,
    has_file: bool,
}

/// A field with a flag of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnFlag {
    field: String,
    flag: String,
    is_given: bool,
}

impl FieldOrigins {
    /// The arguments of a query, whose parameters all have the names of their flags.
    pub(super) fn of_query(query: &[(&str, String)]) -> Self {
        let mut origins = Self::default();
        for (name, _) in query {
            origins.add_flag(name, &format!("--{name}"), true);
        }
        origins
    }

    pub(super) fn add_flag(&mut self, field: &str, flag: &str, is_given: bool) {
        self.flags.push(OwnFlag {
            field: field.to_owned(),
            flag: flag.to_owned(),
            is_given,
        });
    }

    pub(super) fn add_key(&mut self, key: &str) {
        self.keys.push(key.to_owned());
    }

    /// Other fields came from a file.
    pub(super) fn add_file(&mut self) {
        self.has_file = true;
    }

    pub(super) fn has_file(&self) -> bool {
        self.has_file
    }

    /// Names the arguments in a refusal of fields; if any is wrong by itself, the command was used
    /// wrongly.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let mut refusal = match error.downcast::<CallError>() {
            Ok(CallError::Refused(refusal)) => refusal,
            Ok(other) => return other.into(),
            Err(other) => return other,
        };
        let mut is_wrong_use = false;
        for field in &mut refusal.errors {
            field.argument = self.argument_of(field);
            let is_stored = BY_WHAT_IS_STORED.contains(&field.code.as_str());
            is_wrong_use |= field.argument.is_some() && !is_stored;
        }
        if is_wrong_use {
            UsageError(refusal.to_string()).into()
        } else {
            CallError::Refused(refusal).into()
        }
    }

    /// The argument from which a field came, or that would have given it.
    fn argument_of(&self, field: &RefusedField) -> Option<String> {
        let names = names_of(&field.pointer);
        let (top, path) = (names.first()?, names.join("."));
        let is_missed = field.code == "required" && !self.has_file;
        // The last one wins, as in the body.
        if let Some(key) = self.keys.iter().rev().find(|key| overlap(key, &path)) {
            return Some(format!("--field {key}"));
        }
        match self.flags.iter().find(|own| own.field == *top) {
            Some(own) if own.is_given || is_missed => Some(own.flag.clone()),
            None if is_missed => Some(format!("--field {path}")),
            _ => None,
        }
    }
}

/// The names in a JSON pointer (RFC 6901).
fn names_of(pointer: &str) -> Vec<String> {
    let names = pointer.split('/').skip(1);
    names
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// True if one of two fields, with `.` between their levels, lies within the other.
fn overlap(one: &str, other: &str) -> bool {
    let lies_within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    lies_within(one, other) || lies_within(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A create with `--endpoint` and `--field triggers.visitor_spike.threshold=…`.
    fn origins() -> FieldOrigins {
        let mut origins = FieldOrigins::default();
        origins.add_flag("url", "--endpoint", true);
        origins.add_flag("events", "--events", false);
        origins.add_key("triggers.visitor_spike.threshold");
        origins
    }

    /// The refusal of one field, in the words of the command line, and if the use was wrong.
    fn refused(origins: &FieldOrigins, pointer: &str, code: &str) -> (String, bool) {
        let errors = serde_json::json!([{"pointer": pointer, "code": code, "detail": "No."}]);
        let refusal = serde_json::json!({"status": 422, "detail": "x", "errors": errors});
        let refusal = CallError::Refused(serde_json::from_value(refusal).expect("a refusal"));
        let explained = origins.explain(refusal.into());
        (explained.to_string(), explained.is::<UsageError>())
    }

    #[test]
    fn a_refused_field_is_named_by_its_argument() {
        for (pointer, code, told, is_wrong_use) in [
            ("/url", "invalid", "--endpoint: No.", true),
            ("/events", "required", "--events: No.", true),
            ("/events/0", "unknown", "/events/0: No.", false),
            (
                "/triggers/visitor_spike/threshold",
                "out_of_range",
                "--field triggers.visitor_spike.threshold: No.",
                true,
            ),
            (
                "/triggers/visitor_drop/threshold",
                "required",
                "--field triggers.visitor_drop.threshold: No.",
                true,
            ),
            ("/url", "taken", "--endpoint: No.", false),
            ("", "wrong_type", "No.", false),
        ] {
            let found = refused(&origins(), pointer, code);
            assert_eq!(found, (told.to_owned(), is_wrong_use), "{pointer} {code}");
        }
    }

    #[test]
    fn a_field_of_a_file_keeps_its_pointer_and_fails() {
        let mut origins = origins();
        origins.add_file();
        for (pointer, told) in [
            ("/events", "/events: No."),
            ("/name", "/name: No."),
            ("/a~1b/0", "/a~1b/0: No."),
        ] {
            assert_eq!(
                refused(&origins, pointer, "required"),
                (told.to_owned(), false),
                "{pointer}"
            );
        }
        assert!(
            refused(&origins, "/url", "invalid").1,
            "a flag wins over the file"
        );
    }

    #[test]
    fn another_failure_is_left_as_it_is() {
        let error = CallError::NotTheApi {
            host: "a".to_owned(),
            port: 1,
            status: 200,
        };
        let explained = origins().explain(error.into());
        assert!(explained.is::<CallError>(), "{explained}");
    }
}

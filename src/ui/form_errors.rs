//! Objections to a form, each at its field.

use serde::Deserialize;

/// One bad field, as the API names it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FieldProblem {
    pub(super) pointer: String,
    pub(super) code: String,
    pub(super) detail: String,
}

impl FieldProblem {
    /// The API's reason, without its marks of code.
    pub(super) fn reason(&self) -> String {
        self.detail.trim_end_matches('.').replace('`', "")
    }
}

/// One objection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormError {
    /// Id of the field.
    pub(super) field: String,
    pub(super) words: String,
}

/// The objections to a form, in the order of its fields.
#[derive(Debug, Default)]
pub(super) struct FormErrors(Vec<FormError>);

impl FormErrors {
    /// One objection.
    pub(super) fn one(field: &str, words: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field.to_owned(), words.into());
        errors
    }

    /// Adds an objection; one a field is enough.
    pub(super) fn add(&mut self, field: String, words: String) {
        if !self.0.iter().any(|error| error.field == field) {
            self.0.push(FormError { field, words });
        }
    }

    pub(super) fn all(&self) -> &[FormError] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The objection to a field.
    pub(super) fn of(&self, field: &str) -> Option<&str> {
        let error = self.0.iter().find(|error| error.field == field)?;
        Some(&error.words)
    }

    /// The attributes of a field that tie it to its objection and its hint.
    pub(super) fn attributes(&self, field: &str, has_hint: bool) -> String {
        match (self.of(field), has_hint) {
            (Some(_), true) => {
                format!(" aria-invalid=\"true\" aria-describedby=\"{field}-hint {field}-error\"")
            }
            (Some(_), false) => format!(" aria-invalid=\"true\" aria-describedby=\"{field}-error\""),
            (None, true) => format!(" aria-describedby=\"{field}-hint\""),
            (None, false) => String::new(),
        }
    }
}

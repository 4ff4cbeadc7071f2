//! Forms that change something that is there: saved over another change, one would undo what it
//! never showed.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::form::Form;
use super::form_errors::FormErrors;
use super::settings_words::SettingWords;

/// Field of a form that holds the mark of what it was opened on.
pub(super) const SEEN: &str = "seen";

/// The state that a form changes.
#[derive(Debug, Default)]
pub(super) struct Edited {
    /// Mark of the state that the form shows or replaces; empty for something new.
    pub(super) seen: String,
    /// The state, if somebody has changed it since the form was opened.
    pub(super) now: Vec<SettingWords>,
}

impl Edited {
    /// The state of which a form shows `shown`.
    pub(super) fn of(shown: &impl Serialize) -> Self {
        // What can be read from an answer can be written.
        let text = serde_json::to_vec(shown).unwrap_or_default();
        Self {
            seen: hex::encode(&Sha256::digest(text)[..8]),
            now: Vec::new(),
        }
    }

    /// True if a form was opened on another state than this.
    pub(super) fn is_another(&self, form: &Form) -> bool {
        form.given(SEEN).is_some_and(|seen| seen != self.seen)
    }

    /// The same state, shown beside the form: to save that again replaces it on purpose.
    pub(super) fn showing(mut self, now: Vec<SettingWords>) -> Self {
        self.now = now;
        self
    }
}

/// The objection to a form that was opened on another state of `what`.
pub(super) fn changed_meanwhile(what: &str) -> FormErrors {
    let words = format!(
        "Somebody changed {what} since you opened this page. Nothing was saved. Compare with what is now, and save \
         again to replace it"
    );
    FormErrors::one("now", words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_without_a_mark_is_taken() {
        let edited = Edited::of(&["one"]);
        assert!(!edited.is_another(&Form::default()));
        let same = format!("seen={}", edited.seen);
        assert!(!edited.is_another(&Form::parse(same.as_bytes())));
        assert!(edited.is_another(&Form::parse(b"seen=0011223344556677")));
        assert_ne!(Edited::of(&["two"]).seen, edited.seen);
    }
}

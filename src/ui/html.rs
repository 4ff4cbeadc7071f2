//! Sentences of HTML, made piece by piece.

use std::fmt;

use super::escape::escaped;
use super::times::Stamp;

/// Text that is HTML already. Templates write it with `|safe`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self(escaped(text.as_ref()))
    }

    /// Adds text.
    pub(super) fn and(mut self, text: impl AsRef<str>) -> Self {
        self.0.push_str(&escaped(text.as_ref()));
        self
    }

    /// Adds a text of somebody else's, whose direction of writing stays its own.
    pub(super) fn foreign(mut self, text: &str) -> Self {
        self.0.push_str("<bdi>");
        self.0.push_str(&escaped(text));
        self.0.push_str("</bdi>");
        self
    }

    pub(super) fn strong(mut self, text: impl AsRef<str>) -> Self {
        self.0.push_str("<strong>");
        self.0.push_str(&escaped(text.as_ref()));
        self.0.push_str("</strong>");
        self
    }

    pub(super) fn strong_time(mut self, at: &Stamp) -> Self {
        self.0.push_str(&format!("<strong>{at}</strong>"));
        self
    }

    pub(super) fn time(mut self, at: &Stamp) -> Self {
        self.0.push_str(&at.to_string());
        self
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! Why a record could not be read: what goes into the headers of the rejected topic and the metrics' `reason` label.

use std::fmt;

/// The closed list of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RejectReason {
    /// Not one JSON object.
    NotJson,
    /// Not UTF-8.
    NotUtf8,
    /// A required field is absent, `null` or the empty string.
    MissingField,
    /// A field of the wrong type, or with a value outside what it may say.
    BadField,
    /// A text, or a list of properties, that is longer than allowed.
    OverLimit,
    /// A record of more bytes than are read at all.
    TooLarge,
}

impl RejectReason {
    /// Every reason, so that each metric series exists at zero.
    pub(crate) const ALL: [Self; 6] = [
        Self::NotJson,
        Self::NotUtf8,
        Self::MissingField,
        Self::BadField,
        Self::OverLimit,
        Self::TooLarge,
    ];

    /// The name in headers and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotUtf8 => "not_utf8",
            Self::MissingField => "missing_field",
            Self::BadField => "bad_field",
            Self::OverLimit => "over_limit",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that could not be read. Nothing in it repeats a value of the record but the site id, so it can be
/// logged and sent as a header whatever the record held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Reject {
    pub(crate) reason: RejectReason,
    /// The field at fault, by its name in the format's documentation.
    pub(crate) field: Option<&'static str>,
    /// One line for people.
    pub(crate) detail: String,
    /// The site the record belongs to, when that much could be read.
    pub(crate) site_id: Option<String>,
}

//! The parameters in the queries of calls.

use crate::domain::words::words;

words! {
    /// A parameter in the query of a call.
    pub(super) enum Parameter {
        /// A part of an id or name.
        Part = "q",
        Limit = "limit",
        After = "after",
        Since = "since",
        Event = "event",
        Events = "events",
        Statuses = "status",
        From = "from",
        To = "to",
        Include = "include",
    }
}

impl Parameter {
    /// The parameters of a list that is read in pages.
    pub(super) const PAGE: &'static [Self] = &[Self::Limit, Self::After];

    /// Name in the query.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "event",
            other => other.as_str(),
        }
    }
}

//! The parameters in the queries of calls: their names, their values, the words for both.

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::words::words;

/// Entries of a page if `limit` is absent.
pub(super) const DEFAULT_LIMIT: u32 = 50;
/// Most entries of a page.
pub(super) const MAX_LIMIT: u32 = 250;

/// Both statuses of a delivery that never arrived.
pub(super) const UNDELIVERED: &str = "undelivered";

words! {
    /// An addition to the list of webhooks, by the name of its field.
    pub(super) enum Included {
        /// The newest deliveries of each, without tests and payloads.
        Recent = "recent",
    }
}

words! {
    /// A parameter in the query of a call.
    pub(super) enum Parameter {
        /// A part of an id or name.
        Part = "q",
        Limit = "limit",
        After = "after",
        Since = "since",
        /// Event types that alerts may have.
        AlertEvents = "alert_event",
        Events = "event",
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
            Self::AlertEvents => "event",
            other => other.as_str(),
        }
    }

    /// The words of a parameter that takes one or more of a closed set, separated by commas; of any
    /// other `None`.
    pub(super) fn words(self) -> Option<Vec<&'static str>> {
        match self {
            Self::AlertEvents => Some(EventType::WITH_EPISODES.map(EventType::as_str).to_vec()),
            Self::Events => Some(EventType::WORDS.to_vec()),
            Self::Statuses => Some([DeliveryStatus::WORDS, &[UNDELIVERED]].concat()),
            Self::Include => Some(Included::WORDS.to_vec()),
            Self::Part | Self::Limit | Self::After | Self::Since | Self::From | Self::To => None,
        }
    }

    /// The values that it takes, in words.
    pub(super) fn allowed(self) -> String {
        match self {
            Self::Part => "a part of an id or name, without control characters".to_owned(),
            Self::Limit => format!("a whole number from 1 to {MAX_LIMIT}"),
            Self::After => "the `next` of an earlier page".to_owned(),
            Self::Since | Self::From | Self::To => "an RFC 3339 time such as 2026-02-25T12:00:00Z".to_owned(),
            Self::AlertEvents | Self::Events | Self::Statuses | Self::Include => {
                let words = self.words().unwrap_or_default();
                format!("one or more of {}, with commas between them", words.join(", "))
            }
        }
    }
}

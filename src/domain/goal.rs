//! A goal: what a site counts as a success. Matching is in `detect::site::goals`.

use super::id::GoalId;
use super::words::words;

/// Longest goal name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 120;
/// Longest path or pattern, in characters.
pub(crate) const MAX_PATH_CHARS: usize = 2_000;
/// Most `*` in a pattern; `**` counts as two.
pub(crate) const MAX_STARS: usize = 8;
/// Most properties a goal may ask for.
pub(crate) const MAX_PROPS: usize = 3;
/// Longest property name, in characters.
pub(crate) const MAX_PROP_NAME_CHARS: usize = 300;
/// Longest property value, in characters.
pub(crate) const MAX_PROP_VALUE_CHARS: usize = 2_000;

/// A goal of a site, within every limit above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    pub id: GoalId,
    /// Unique per site.
    pub name: String,
    pub rule: GoalRule,
    /// Properties an event must have, all of them, by equality.
    pub props: Vec<(String, String)>,
    /// Events whose record is older than this (milliseconds since the Unix epoch) do not complete
    /// it.
    pub active_since_ms: i64,
}

/// The rule by which an event completes a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoalRule {
    /// A custom or goal event of this name, case-sensitive.
    Event { event: String },
    /// A pageview whose path matches; `*` and `**` match any run of characters.
    Page { path: String },
    /// An engagement event with a matching path and `scroll_threshold ≤ scroll_depth ≤ 100`.
    Scroll { path: String, scroll_threshold: u8 },
}

words! {
    /// Kind of a goal's rule.
    pub(crate) enum GoalKind {
        Event = "event",
        Page = "page",
        Scroll = "scroll",
    }
}

/// Settings of a goal by its owner, within every limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoalSettings {
    pub name: String,
    pub rule: GoalRule,
    pub props: Vec<(String, String)>,
}

impl GoalRule {
    /// The rule's kind.
    pub(crate) fn kind(&self) -> GoalKind {
        match self {
            Self::Event { .. } => GoalKind::Event,
            Self::Page { .. } => GoalKind::Page,
            Self::Scroll { .. } => GoalKind::Scroll,
        }
    }
}

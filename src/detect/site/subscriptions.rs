//! The quick test if any subscriber can want an event: most events concern none.

use super::path_index::PathEnds;
use crate::domain::event::{Event, EventKind};

/// The part of a site's configuration that tells if an event needs a closer look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriptions {
    /// Ends of the paths that may complete a page goal: they spare most pageviews the
    /// look-up.
    pub(crate) page_ends: PathEnds,
    /// True if some webhook subscribes to goals.
    pub(crate) goal_completion: bool,
    /// True if some webhook subscribes to custom events.
    pub(crate) custom_event: bool,
}

impl Subscriptions {
    /// False if no subscriber can be interested in the event.
    pub(super) fn may_match(self, event: &Event<'_>) -> bool {
        let may_complete = event.kind != EventKind::Pageview
            || event
                .path
                .as_deref()
                .is_some_and(|path| self.page_ends.may_match(path));
        (self.goal_completion && may_complete) || (self.custom_event && event.kind == EventKind::Custom)
    }
}

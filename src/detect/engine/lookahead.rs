//! A look ahead at events, so that memory is asked for what they need before it is needed.
//!
//! With many sites and visitors an event costs what it waits for: its site's state, then the visitor's slot and a few
//! more, each wait as long as parsing the whole record. Waits of different events do not depend on each other. So a
//! caller that has several records at hand takes a glimpse of each, approaches them, and only then handles them in
//! order.

use std::borrow::Cow;

use super::Engine;
use crate::detect::keyed_hash::Hashes;
use crate::detect::redact::redact;
use crate::domain::event::Event;

/// What is known of an event before it is handled.
#[derive(Debug, Clone)]
pub(crate) struct Lookahead<'e> {
    /// Where the site's state is likely to be.
    pub(crate) place: Option<usize>,
    pub(crate) hashes: Hashes,
    /// The event's path as it may be told.
    pub(crate) page: Option<Cow<'e, str>>,
}

impl Engine {
    /// Looks at an event without handling it, and asks memory for its site's state.
    pub(crate) fn glimpse<'e>(&self, event: &'e Event<'_>) -> Lookahead<'e> {
        let place = self.places.guess(self.hasher.site(&event.site_id));
        if let Some(state) = place.and_then(|place| self.sites.get(place)) {
            state.prefetch();
        }
        let page = event.path.as_deref().map(redact);
        Lookahead {
            place,
            hashes: self.hasher.hashes(event, page.as_deref()),
            page,
        }
    }

    /// Goes on from glimpses taken a while ago: asks memory for what their sites' states lead to, and for what that leads to.
    pub(crate) fn approach<'g>(&self, glimpses: impl Iterator<Item = &'g Lookahead<'g>> + Clone) {
        let states = || {
            let near = glimpses.clone();
            near.filter_map(|glimpse| Some((self.sites.get(glimpse.place?)?, &glimpse.hashes)))
        };
        for (state, hashes) in states() {
            state.prefetch_deep(hashes);
        }
        for (state, hashes) in states() {
            state.prefetch_deepest(hashes);
        }
    }
}

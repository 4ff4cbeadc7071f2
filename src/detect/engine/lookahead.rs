//! A look ahead at events, which asks memory for what they need before it is needed.
//!
//! With many sites and visitors an event's cost is the wait for memory: for its site's state, then
//! for the visitor's slot and a few more lines, each of which takes as long as parsing the whole
//! record. The waits of different events do not depend on each other. So a caller with several
//! records at hand looks ahead at all of them, prefetches, and only then handles them in order.

use std::borrow::Cow;

use super::Engine;
use crate::detect::keyed_hash::EventHashes;
use crate::detect::redact::{redact, redact_source};
use crate::detect::site::canonical_path::canonical;
use crate::domain::event::Event;

/// Facts about an event that are found before it is handled.
#[derive(Debug, Clone)]
pub struct Lookahead<'e> {
    /// The likely index of the site's state.
    pub(super) index: Option<usize>,
    pub(super) hashes: EventHashes,
    /// The event's path, redacted.
    pub(super) page: Option<Cow<'e, str>>,
    /// The name of the event's source, redacted.
    pub(super) source: Option<Cow<'e, str>>,
}

impl Engine {
    /// Looks at an event without handling it, and asks memory for its site's state.
    pub fn look_ahead<'e>(&self, event: &'e Event<'_>) -> Lookahead<'e> {
        let index = self.index.guess(self.hasher.site(&event.site_id));
        if let Some(state) = index.and_then(|index| self.sites.get(index)) {
            state.prefetch();
        }
        let page = event.path.as_deref().map(redact);
        // Spellings of one page have one label, whose name is the first of them.
        let compared = page.as_deref().map(canonical);
        let source = event.source.as_deref().map(redact_source);
        Lookahead {
            index,
            hashes: self
                .hasher
                .hash_event(event, compared.as_deref(), source.as_deref()),
            page,
            source,
        }
    }

    /// Asks memory for the tables that the sites' states point to, and then for the lines that
    /// these point to. Meant for a while after [`Self::look_ahead`], when the states are there.
    pub fn prefetch<'l>(&self, lookaheads: impl Iterator<Item = &'l Lookahead<'l>> + Clone) {
        let states = || {
            let lookaheads = lookaheads.clone();
            lookaheads.filter_map(|ahead| Some((self.sites.get(ahead.index?)?, &ahead.hashes)))
        };
        for (state, hashes) in states() {
            state.prefetch_tables(hashes);
        }
        for (state, hashes) in states() {
            state.prefetch_second(hashes);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::tests::fixtures::*;
    use crate::domain::event::Event;

    #[test]
    fn spellings_of_a_page_are_one_named_by_the_first() {
        let mut fed = Fed::log([site("a", [spike(6, 300)])]);
        let mut decided = Vec::new();
        let paths = ["/%D8%B3", "/س", "/%d8%b3", "/caf%E9", "/caf%e9", "/caf%E9"];
        for (visitor, path) in paths.into_iter().enumerate() {
            decided.extend(fed.feed(&Event {
                path: Some(path.into()),
                ..view("a", &format!("v{visitor}"), 472_222 * 3_600)
            }));
        }
        let pages = &json(&decided[0])["data"]["top_pages"];
        let counts = serde_json::json!([
            {"path": "/%D8%B3", "visitors": 3},
            {"path": "/caf%E9", "visitors": 3},
        ]);
        assert_eq!(pages, &counts);
    }
}

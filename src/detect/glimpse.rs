//! A look ahead at events, so that memory is asked for what they need before it is needed.
//!
//! With many sites and visitors an event costs what it waits for: its site's state, then the visitor's slot and a few
//! more, each wait as long as parsing the whole record. Waits of different events do not depend on each other. So a
//! caller that has several records at hand takes a glimpse of each, approaches each, and only then handles them in
//! order.

use std::borrow::Cow;

use siphasher::sip::SipHasher13;

use super::engine::Engine;
use super::redact::redact;
use crate::domain::event::Event;

/// What is known of an event before it is handled.
#[derive(Debug, Clone)]
pub struct Glimpse<'e> {
    /// Where the site's state is likely to be.
    pub(super) place: Option<usize>,
    pub(super) hashes: Hashes,
    /// The event's path as it may be told.
    pub(super) page: Option<Cow<'e, str>>,
}

/// What an event's texts hash to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashes {
    pub(super) visitor: Option<u64>,
    /// Sources and pages share a table: their hashes are kept apart.
    pub(super) source: u64,
    pub(super) page: u64,
}

impl Hashes {
    fn new(hasher: &SipHasher13, event: &Event<'_>, page: Option<&str>) -> Self {
        let hash = |text: &str| hasher.hash(text.as_bytes());
        Self {
            visitor: event.visitor_id.as_deref().map(hash),
            source: event.source.as_deref().map_or(0, |source| !hash(source)),
            page: page.map_or(0, hash),
        }
    }
}

impl Engine {
    /// Looks at an event without handling it, and asks memory for its site's state.
    pub fn glimpse<'e>(&self, event: &'e Event<'_>) -> Glimpse<'e> {
        let place = self.places.guess(self.hasher.hash(event.site_id.as_bytes()));
        if let Some(state) = place.and_then(|place| self.sites.get(place)) {
            state.prefetch();
        }
        let page = event.path.as_deref().map(redact);
        Glimpse {
            place,
            hashes: Hashes::new(&self.hasher, event, page.as_deref()),
            page,
        }
    }

    /// Goes on from a glimpse taken a while ago: asks memory for what the site's state leads to.
    pub fn approach(&self, glimpse: &Glimpse<'_>) {
        if let Some(state) = glimpse.place.and_then(|place| self.sites.get(place)) {
            state.prefetch_deep(&glimpse.hashes);
        }
    }
}

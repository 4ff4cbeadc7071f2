//! What an event's texts hash to, with the deployment's key.
//!
//! A visitor's id is counted by its hash alone: that is SipHash, so that nobody can choose ids that collide. What is found by
//! the hash of a site, page or source is compared with it, or only shown: a faster one does.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use siphasher::sip::SipHasher13;

use crate::domain::event::Event;

/// Keyed.
#[derive(Debug)]
pub(crate) struct Hasher {
    visitors: SipHasher13,
    names: FixedState,
}

/// The hashes of an event's texts but its site's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hashes {
    pub(crate) visitor: Option<u64>,
    /// Sources and pages share a table: their hashes are kept apart.
    pub(crate) source: u64,
    pub(crate) page: u64,
}

impl Hasher {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        let visitors = SipHasher13::new_with_key(key);
        Self {
            visitors,
            names: FixedState::with_seed(visitors.hash(b"names")),
        }
    }

    pub(crate) fn site(&self, id: &str) -> u64 {
        self.names.hash_one(id.as_bytes())
    }

    /// `page` is the event's path as it may be told.
    pub(crate) fn hashes(&self, event: &Event<'_>, page: Option<&str>) -> Hashes {
        let name = |name: &str| self.names.hash_one(name.as_bytes());
        Hashes {
            visitor: event
                .visitor_id
                .as_deref()
                .map(|id| self.visitors.hash(id.as_bytes())),
            source: event.source.as_deref().map_or(0, |source| !name(source)),
            page: page.map_or(0, name),
        }
    }
}

//! Hashes of an event's texts, keyed by the deployment.
//!
//! A visitor is counted by the hash of the id alone: that is SipHash, so that nobody can choose ids
//! that collide. The hashes of sites, pages and sources only find entries, which are compared or
//! merely shown; a faster function is enough for them.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use siphasher::sip::SipHasher13;

use crate::domain::event::Event;

/// Hashes texts with the deployment's key.
#[derive(Debug)]
pub(crate) struct EventHasher {
    visitors: SipHasher13,
    names: FixedState,
}

/// Hashes of an event's texts, without the site's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventHashes {
    pub(crate) visitor: Option<u64>,
    /// Complement of the name's hash: sources and pages share a table and must differ.
    pub(crate) source: u64,
    pub(crate) page: u64,
}

impl EventHasher {
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

    /// Hashes an event's texts; `page` is its redacted path.
    pub(crate) fn hash_event(&self, event: &Event<'_>, page: Option<&str>) -> EventHashes {
        let name = |name: &str| self.names.hash_one(name.as_bytes());
        EventHashes {
            visitor: event
                .visitor_id
                .as_deref()
                .map(|id| self.visitors.hash(id.as_bytes())),
            source: event.source.as_deref().map_or(0, |source| !name(source)),
            page: page.map_or(0, name),
        }
    }
}

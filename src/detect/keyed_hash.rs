//! Hashes of an event's texts, keyed by the deployment.
//!
//! They are SipHash, so that nobody can choose ids that collide: a visitor is counted by the hash
//! alone.

use siphasher::sip::SipHasher13;

use crate::domain::event::Event;

/// Hashes texts with the deployment's key.
#[derive(Debug)]
pub(crate) struct EventHasher {
    hasher: SipHasher13,
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
        Self {
            hasher: SipHasher13::new_with_key(key),
        }
    }

    pub(crate) fn site(&self, id: &str) -> u64 {
        self.hasher.hash(id.as_bytes())
    }

    /// Hashes an event's texts; `page` is its redacted path.
    pub(crate) fn hash_event(&self, event: &Event<'_>, page: Option<&str>) -> EventHashes {
        let hash = |text: &str| self.hasher.hash(text.as_bytes());
        EventHashes {
            visitor: event.visitor_id.as_deref().map(hash),
            source: event.source.as_deref().map_or(0, |source| !hash(source)),
            page: page.map_or(0, hash),
        }
    }
}

//! Hashes of an event's texts, keyed by the deployment.

use crate::domain::event::Event;
use crate::ingest::visitor_hash::VisitorHasher;

/// Hashes texts with the deployment's key.
#[derive(Debug)]
pub(crate) struct EventHasher {
    hasher: VisitorHasher,
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
            hasher: VisitorHasher::new(key),
        }
    }

    pub(crate) fn site(&self, id: &str) -> u64 {
        self.hasher.hash(id)
    }

    /// Hashes the id of an event.
    pub(crate) fn event_id(&self, id: &str) -> u64 {
        self.hasher.hash(id)
    }

    /// Hashes an event's texts. `page` is its redacted path, in canonical form, and `source` its
    /// redacted source.
    pub(crate) fn hash_event(
        &self,
        event: &Event<'_>,
        page: Option<&str>,
        source: Option<&str>,
    ) -> EventHashes {
        let hash = |text: &str| self.hasher.hash(text);
        let routed = event.routed.and_then(|routed| routed.visitor_hash);
        EventHashes {
            visitor: routed.or_else(|| event.visitor_id.as_deref().map(hash)),
            source: source.map_or(0, |source| !hash(source)),
            page: page.map_or(0, hash),
        }
    }
}

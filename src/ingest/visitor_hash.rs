//! Hashes of visitors' ids, keyed by the deployment.
//!
//! They are SipHash, so that nobody can choose ids that collide: a visitor is counted by the hash
//! alone.

use siphasher::sip::SipHasher13;

/// Hashes texts with the deployment's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitorHasher(SipHasher13);

impl VisitorHasher {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    /// Hashes a text; the same text has the same hash in every process of the deployment.
    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.0.hash(text.as_bytes())
    }
}

//! Prefetching of what an event needs of its site's state.

use super::SiteState;
use crate::detect::keyed_hash::EventHashes;
use crate::prefetch::prefetch;

impl SiteState {
    /// Asks memory for the parts of the state that an event needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.window);
        prefetch(&self.labels);
        prefetch(&self.triggers);
        prefetch(&self.id);
    }

    /// Asks memory for the visitor's slot, the labels and the ends of the window, once the state is
    /// there.
    pub(crate) fn prefetch_tables(&self, hashes: &EventHashes) {
        if let Some(first) = self.id.as_str().as_bytes().first() {
            prefetch(first);
        }
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch(visitor);
            self.labels.prefetch(hashes.source);
            self.labels.prefetch(hashes.page);
            if self.triggers.needs.latest > 0 && !self.latest_is_behind {
                self.latest.prefetch(visitor);
            }
        }
    }

    /// Asks memory for the second of the visitor's latest event, once the visitor's slot is there.
    pub(crate) fn prefetch_second(&self, hashes: &EventHashes) {
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch_second(visitor);
        }
    }
}

//! Sites that wait for records that their loaded states account for.
//!
//! Each waits under the first of those records that is still to be read, so that a record costs
//! nothing for the sites that wait for later ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::domain::site::SiteId;

/// A site behind the offset that it waits for; the least offset comes first.
type WaitingSite = Reverse<(i64, SiteId)>;

/// Sites by the offset that they wait for, a heap for each source.
#[derive(Debug)]
pub(super) struct BehindSites {
    by_source: Box<[BinaryHeap<WaitingSite>]>,
}

impl BehindSites {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            by_source: (0..sources).map(|_| BinaryHeap::new()).collect(),
        }
    }

    /// Puts a site in until a record of a source has been read.
    pub(super) fn put(&mut self, source: usize, offset: i64, site_id: SiteId) {
        if let Some(heap) = self.by_source.get_mut(source) {
            heap.push(Reverse((offset, site_id)));
        }
    }

    /// Removes a site that waits for a record of a source before `next`.
    pub(super) fn take(&mut self, source: usize, next: i64) -> Option<SiteId> {
        let heap = self.by_source.get_mut(source)?;
        if heap.peek().is_none_or(|Reverse((offset, _))| *offset >= next) {
            return None;
        }
        heap.pop().map(|Reverse((_, site_id))| site_id)
    }

    /// Forgets all sites.
    pub(super) fn clear(&mut self) {
        for heap in &mut self.by_source {
            heap.clear();
        }
    }
}

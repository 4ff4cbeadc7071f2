//! Instants at which something falls due on the sites of logs.
//!
//! On a log nothing but the records tells the time. So what falls due is decided right after the
//! record that moved the clock past it, and has the same ids whenever the log is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::detect::site::SiteState;
use crate::domain::site::SiteId;

/// Sites by the instant of their next look.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(u32, SiteId)>>,
}

impl Timers {
    /// Puts a site in for its next look, unless it is in for an earlier one.
    pub(super) fn put(&mut self, state: &mut SiteState) {
        if state.live || state.next_due == 0 || state.next_due >= state.queued_at {
            return;
        }
        state.queued_at = state.next_due;
        self.heap.push(Reverse((state.next_due, state.id.clone())));
    }

    /// True if a site is to be looked at by `floor`.
    pub(super) fn is_due(&self, floor: u32) -> bool {
        self.heap.peek().is_some_and(|Reverse((at, _))| *at <= floor)
    }

    /// Removes the first site that is to be looked at by `floor`.
    pub(super) fn take(&mut self, floor: u32) -> Option<SiteId> {
        if !self.is_due(floor) {
            return None;
        }
        self.heap.pop().map(|Reverse((_, site_id))| site_id)
    }
}

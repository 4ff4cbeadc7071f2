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

    /// Removes the first site that is to be looked at by `floor`, with the instant for which it was
    /// put in. It is in for that look only if its state still says so: one that was put in again
    /// for an earlier look has an entry left over.
    pub(super) fn take(&mut self, floor: u32) -> Option<(u32, SiteId)> {
        if !self.is_due(floor) {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::tests::fixtures::site;
    use crate::detect::window::segments::Segments;

    #[test]
    fn an_entry_left_over_starts_no_look() {
        let mut segments = Segments::new(1);
        let mut state = SiteState::new(Arc::new(site("a", [])), false, 0, &mut segments);
        let mut timers = Timers::default();
        let put = |timers: &mut Timers, state: &mut SiteState, due| {
            state.next_due = due;
            timers.put(state);
        };
        put(&mut timers, &mut state, 1_000);
        for round in 0..100 {
            let due = 1_000 + round * 10;
            put(&mut timers, &mut state, due - 5);
            let (at, _) = timers.take(due - 5).expect("the earlier look");
            assert_eq!(at, state.queued_at);
            state.queued_at = u32::MAX;
            put(&mut timers, &mut state, due);
            while let Some((at, _)) = timers.take(due) {
                if state.queued_at == at {
                    state.queued_at = u32::MAX;
                    put(&mut timers, &mut state, due + 10);
                }
            }
            assert_eq!(timers.heap.len(), 1);
        }
    }
}

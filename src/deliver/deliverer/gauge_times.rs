//! Times of the gauges.

use std::time::Instant;

/// Times of the gauges, and the requests that ended within a second.
#[derive(Debug)]
pub(super) struct GaugeTimes {
    pub(super) next: Instant,
    pub(super) round: u32,
    pub(super) ended: usize,
    pub(super) ended_before: usize,
}

impl GaugeTimes {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            round: 0,
            ended: 0,
            ended_before: 0,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn count_end(&mut self) {
        self.ended += 1;
    }

    pub(super) fn ended_per_second(&self) -> usize {
        self.ended.max(self.ended_before)
    }
}

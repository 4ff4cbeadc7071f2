//! The count: fires on the event that makes so many of its kind within the window. It arms again
//! below half of the number, or, for rejected records, when there was none for a whole window.

use super::reading::{Level, SiteReading};
use crate::detect::window::occurrences::Occurrences;

/// The rule of `error_events`, `rejected_events` and `at_least`.
#[derive(Debug, Clone)]
pub(crate) struct CountRule {
    pub(crate) count: u32,
    pub(crate) window_seconds: u32,
    /// Arms below this count.
    pub(crate) rearm_below: u32,
    pub(crate) window: Occurrences,
}

impl CountRule {
    /// Makes a rule that arms again below half of the count.
    pub(crate) fn arming_below_half(count: u32, window_seconds: u32) -> Self {
        Self {
            count,
            window_seconds,
            rearm_below: count.div_ceil(2),
            window: Occurrences::new(window_seconds, count),
        }
    }

    /// Makes a rule that arms again when the window is empty.
    pub(crate) fn arming_when_empty(count: u32, window_seconds: u32) -> Self {
        Self {
            rearm_below: 1,
            ..Self::arming_below_half(count, window_seconds)
        }
    }

    pub(super) fn level(&self, reading: SiteReading<'_>) -> Level {
        let count = self.window.count();
        if count >= self.count {
            Level::Breach
        } else if count < self.rearm_below && reading.now() >= reading.complete_at(self.window_seconds) {
            Level::Calm { seconds: 0 }
        } else {
            Level::Between
        }
    }

    pub(super) fn next_change(&self, is_firing: bool, reading: SiteReading<'_>) -> Option<u32> {
        let expiry = self.window.next_expiry();
        if !is_firing {
            return expiry;
        }
        let falls = self.window.falls_below(self.rearm_below)?;
        let falls = falls.max(reading.complete_at(self.window_seconds));
        Some(expiry.map_or(falls, |expiry| expiry.min(falls)))
    }
}

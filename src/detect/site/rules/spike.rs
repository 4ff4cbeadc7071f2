//! The spike: fires on the event that brings the count to the threshold, and arms again when the
//! count has been at or below the re-arm level for a minute.

use super::reading::{Level, SiteReading};
use crate::domain::trigger::SpikeSettings;

/// Seconds for which the count must be at or below the re-arm level.
pub(crate) const CALM_SECONDS: u32 = 60;

/// The rule of `visitor_spike`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpikeRule {
    pub(crate) settings: SpikeSettings,
    /// Index of its window among the site's lengths.
    pub(crate) length: usize,
}

impl SpikeRule {
    pub(super) fn count(&self, reading: SiteReading<'_>) -> u32 {
        reading.window.count(self.length)
    }

    pub(super) fn level(&self, reading: SiteReading<'_>) -> Level {
        let count = self.count(reading);
        if count >= self.settings.threshold {
            return Level::Breach;
        }
        // A lower bound may be far from the count, and shows no calm.
        let is_exact = reading.now() >= reading.table_complete_at(self.settings.window_seconds);
        if count <= self.settings.rearm_level() && is_exact {
            Level::Calm {
                seconds: CALM_SECONDS,
            }
        } else {
            Level::Between
        }
    }

    pub(super) fn next_change(&self, is_firing: bool, reading: SiteReading<'_>) -> Option<u32> {
        if !is_firing || matches!(self.level(reading), Level::Calm { .. }) {
            return None;
        }
        let level = self.settings.rearm_level();
        let falls = reading.window.falls_below(self.length, level + 1)?;
        Some(falls.max(reading.table_complete_at(self.settings.window_seconds)))
    }
}

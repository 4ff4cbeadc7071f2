//! The drop: fires at the exact instant at which the count falls below the threshold, by a timer,
//! even when no event ever comes again. It arms again at once when the count is clearly back, and
//! after an hour when it is just back.
//!
//! Windows of up to an hour are counted by the table of visitors, longer ones by the latest
//! visitors. A drop is never seen in a count that may be too low: of a site or a trigger that is
//! too young, or of a partition whose records were not all read. While the site's source is
//! silent, the site's clock is held back (`Engine::moves_on_to`): a drop waits by that, and by
//! nothing here.

use super::reading::{Level, SiteReading};
use crate::domain::trigger::DropSettings;

/// Seconds for which the count must not be below the threshold, while it is below the re-arm level.
const CALM_SECONDS: u32 = 3_600;

/// The rule of `visitor_drop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DropRule {
    pub(crate) settings: DropSettings,
    /// Index of its window among the site's lengths; `None` if the window is long.
    pub(crate) length: Option<usize>,
    /// The site's second from which on its latest visitors are kept.
    pub(crate) known_since: u32,
    /// Second at which its first webhook was made or switched on.
    pub(crate) active_since: u32,
}

impl DropRule {
    pub(super) fn count(&self, reading: SiteReading<'_>) -> u32 {
        match self.length {
            Some(length) => reading.window.count(length),
            None => {
                let oldest = reading.now().saturating_sub(self.settings.window_seconds);
                // Everyone in the table counts too: its window is shorter. While it holds enough,
                // the latest visitors are not kept up.
                reading.latest.since(oldest).max(reading.window.live())
            }
        }
    }

    pub(super) fn level(&self, reading: SiteReading<'_>) -> Level {
        // Nobody else needs to be counted where the table holds enough, as at nearly every event.
        if self.length.is_none() && reading.window.live() >= self.settings.rearm_level() {
            return Level::Calm { seconds: 0 };
        }
        let count = self.count(reading);
        if count >= self.settings.rearm_level() {
            Level::Calm { seconds: 0 }
        } else if count >= self.settings.threshold {
            Level::Calm {
                seconds: CALM_SECONDS,
            }
        } else if self.knows_enough(reading) {
            Level::Breach
        } else {
            Level::Unknown
        }
    }

    pub(super) fn next_change(&self, is_firing: bool, reading: SiteReading<'_>) -> Option<u32> {
        if is_firing && self.count(reading) < self.settings.threshold {
            // Only an event can end it.
            return None;
        }
        let threshold = self.settings.threshold;
        let falls = match self.length {
            Some(length) => reading.window.falls_below(length, threshold)?,
            None => match reading.latest.nth_latest(threshold) {
                Some(second) => (second + self.settings.window_seconds + 1).max(reading.now()),
                None => reading.now(),
            },
        };
        if is_firing {
            return Some(falls);
        }
        Some(falls.max(self.exact_at(reading)?))
    }

    /// True if the count may be taken for what it is now.
    pub(super) fn knows_enough(&self, reading: SiteReading<'_>) -> bool {
        self.exact_at(reading).is_some_and(|at| at <= reading.now())
    }

    /// The instant from which on the count may be taken for what it is; `None` if that is not
    /// known.
    fn exact_at(&self, reading: SiteReading<'_>) -> Option<u32> {
        let window = self.settings.window_seconds;
        let history = match reading.first_event {
            Some(first) if self.settings.require_history => first.saturating_add(window).saturating_add(1),
            None if self.settings.require_history => return None,
            // Nothing came before the trigger was made, as far as anybody knows.
            None => self.active_since.saturating_add(window),
            Some(_) => 0,
        };
        Some(history.max(self.exact_from(reading)))
    }

    /// True if so many visitors are known that an older one changes no count up to the re-arm
    /// level.
    fn knows_latest(&self, reading: SiteReading<'_>) -> bool {
        let level = self.settings.rearm_level();
        reading.window.live() >= level || reading.latest.has(level)
    }

    /// The instant from which on the count is exact as far as records and visitors are known.
    pub(super) fn exact_from(&self, reading: SiteReading<'_>) -> u32 {
        let window = self.settings.window_seconds;
        match self.length {
            Some(_) => reading.table_complete_at(window),
            None if self.knows_latest(reading) => reading.complete_at(window),
            None => reading
                .complete_at(window)
                .max(self.known_since.saturating_add(window)),
        }
    }
}

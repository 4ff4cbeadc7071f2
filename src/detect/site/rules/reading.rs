//! The facts about a site on which its rules are judged, and the answers of the rules.

use crate::detect::usual::rates::ExpectedRate;
use crate::detect::window::SlidingWindow;
use crate::detect::window::latest::LatestVisitors;

/// The facts about a site on which its rules are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SiteReading<'a> {
    pub(crate) window: &'a SlidingWindow,
    pub(crate) latest: &'a LatestVisitors,
    /// Second of the site's earliest event; `None` before the first.
    pub(crate) first_event: Option<u32>,
    /// Second from which on every record of the partition has been seen: a count that reaches
    /// further back is a lower bound.
    pub(crate) complete_from: u32,
    pub(crate) rates: &'a dyn ExpectedRate,
    /// ⌊τ⌋ of the site; of a reject on a log, the second of its record.
    pub(crate) now: u32,
    /// True if the site goes by the clock of a log. Its rejects have times of their own.
    pub(crate) is_log: bool,
}

impl SiteReading<'_> {
    /// ⌊τ⌋ of the site.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// The instant from which on a count over so many seconds is exact.
    pub(super) fn complete_at(&self, window_seconds: u32) -> u32 {
        exact_at(self.complete_from, window_seconds)
    }

    /// The same for a count of the table of visitors.
    pub(crate) fn table_complete_at(&self, window_seconds: u32) -> u32 {
        let from = self.complete_from.max(self.window.kept_from());
        exact_at(from, window_seconds)
    }
}

/// The instant from which on a count over so many seconds is exact, where nothing is missing from
/// the second `from` on; 0 if nothing ever was.
fn exact_at(from: u32, window_seconds: u32) -> u32 {
    match from {
        0 => 0,
        from => from.saturating_add(window_seconds),
    }
}

/// A rule's view of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The condition is met.
    Breach,
    /// Neither met nor over.
    Between,
    /// Over, if it stays so for these seconds.
    Calm { seconds: u32 },
    /// Not to be told, because something may not have been seen.
    Unknown,
}

/// The cause of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// An event that was just counted.
    Event,
    /// An instant at which something fell due.
    Timer,
}

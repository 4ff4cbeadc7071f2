//! The facts by which the passing of time on a site is judged.

use super::rules::reading::SiteReading;
use super::triggers::trigger::Cause;
use crate::detect::usual::rates::ExpectedRate;
use crate::detect::window::SlidingWindow;
use crate::detect::window::latest::LatestVisitors;

/// The facts by which the passing of time is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing {
    pub(crate) clock: PassingClock,
    /// Second from which on every record of the partition has been seen.
    pub(crate) complete_from: u32,
    /// Source and offset of the record that moves the time, if one does.
    pub(crate) record: Option<(usize, i64)>,
    /// True after a batch: what only a timer decides and was due before is decided now, on a live
    /// site.
    pub(crate) includes_overdue: bool,
}

/// The clock that moves a site.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PassingClock {
    Live {
        now_ms: i64,
        /// Greatest age of what is notified, in milliseconds.
        stale_after_ms: i64,
        /// Last second at which the site's source was found silent, for which its sites are held
        /// back; 0 if it never was.
        silent_until: u32,
    },
    /// Nothing is too old.
    Log {
        /// Time of the record that moved the partition's clock, in milliseconds since the Unix
        /// epoch.
        record_ms: i64,
    },
}

impl Passing {
    /// True if a move from `now` to `to` decides what only a timer decides and was due before. On a
    /// log that is so when its clock leaves the second: how much of it is read between two looks at
    /// the wall clock must not matter.
    pub(super) const fn decides_overdue(&self, now: u32, to: u32) -> bool {
        match self.clock {
            PassingClock::Live { .. } => self.includes_overdue,
            PassingClock::Log { .. } => now > 0 && to > now,
        }
    }

    /// True if an instant is recent enough for a notification.
    pub(crate) fn is_fresh(&self, at: u32) -> bool {
        match self.clock {
            PassingClock::Log { .. } => true,
            PassingClock::Live {
                now_ms,
                stale_after_ms,
                ..
            } => now_ms.saturating_sub(i64::from(at) * 1_000) <= stale_after_ms,
        }
    }

    /// True if what falls due at an instant is to be notified: it is recent, or was held back for a
    /// silent source.
    pub(super) fn is_due_fresh(&self, at: u32) -> bool {
        self.is_held_back(at) || self.is_fresh(at)
    }

    /// True if the site's source was silent at an instant that its sites had not reached.
    fn is_held_back(&self, at: u32) -> bool {
        matches!(self.clock, PassingClock::Live { silent_until, .. } if (1..=silent_until).contains(&at))
    }

    /// The cause of what falls due at an instant.
    pub(super) fn cause(&self, at: u32) -> Cause<'static> {
        match self.clock {
            PassingClock::Live { .. } => Cause::Timer {
                at_ms: i64::from(at) * 1_000,
                is_source_silent: self.is_held_back(at),
            },
            PassingClock::Log { record_ms } => Cause::Timer {
                at_ms: record_ms,
                is_source_silent: false,
            },
        }
    }

    /// Time that becomes part of the ids of what falls due at an instant.
    pub(super) fn timer_ms(&self, at: u32) -> i64 {
        self.cause(at).at_ms()
    }

    /// The facts on which a site's rules are judged.
    pub(super) fn reading<'s>(
        &self,
        window: &'s SlidingWindow,
        latest: &'s LatestVisitors,
        first_event: Option<u32>,
        rates: &'s dyn ExpectedRate,
    ) -> SiteReading<'s> {
        SiteReading {
            window,
            latest,
            first_event,
            complete_from: self.complete_from,
            rates,
            now: window.now(),
            is_log: matches!(self.clock, PassingClock::Log { .. }),
        }
    }
}

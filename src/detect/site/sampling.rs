//! The samples of a site, taken as its clock moves.

use super::passing::Passing;
use super::site_outcome::SiteOutcome;
use super::{PartitionResources, SiteState};
use crate::detect::usual::samples::{end_of, minute_of};
use crate::domain::activity::SiteHour;
use crate::domain::site_now::{Baseline, SiteNow};
use crate::domain::time::{from_ms, from_second};
use crate::domain::trigger::DEFAULT_WINDOW_SECONDS;

/// Longest time in seconds without an event for which samples are taken: nothing looks back
/// further.
const LONGEST_GAP: u32 = 28 * 86_400;

/// Index of the window of current visitors among the lengths of a site.
const CURRENT: usize = 0;

impl SiteState {
    /// Moves the clock to `to`, if that is later, and samples the minutes that end on the way. With
    /// a `passing`, everything that falls due happens in order, at its own instant.
    pub(crate) fn move_to(
        &mut self,
        to: u32,
        passing: Option<&Passing>,
        resources: &mut PartitionResources,
    ) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        self.sample(to, passing, passing, resources, &mut outcome);
        self.move_between_samples(to, passing, resources, &mut outcome);
        if let Some(passing) = passing
            && self.next_due == 0
        {
            self.schedule(passing);
        }
        outcome
    }

    /// Moves the clock to `to`, over instants at which an earlier owner has decided what fell due.
    /// The minutes that end on the way are sampled, and nothing is decided again.
    pub(crate) fn pass_over(&mut self, to: u32, passing: &Passing, resources: &mut PartitionResources) {
        let mut nothing = SiteOutcome::default();
        self.sample(to, Some(passing), None, resources, &mut nothing);
        self.move_between_samples(to, None, resources, &mut nothing);
        self.note_peaks(passing, resources);
    }

    /// Samples the minutes that end by `to`, or leaves them out if by `knowledge` not all visitors
    /// are counted. What falls due on the way happens by `passing`.
    fn sample(
        &mut self,
        to: u32,
        knowledge: Option<&Passing>,
        passing: Option<&Passing>,
        resources: &mut PartitionResources,
        outcome: &mut SiteOutcome,
    ) {
        if to < self.next_sample {
            return;
        }
        let is_counted = self.next_sample > 0
            && to - self.next_sample <= LONGEST_GAP
            && knowledge.is_some_and(|knowledge| self.counts_all(knowledge));
        if !is_counted {
            self.skip_samples(to);
            return;
        }
        while to >= self.next_sample {
            self.move_between_samples(self.next_sample - 1, passing, resources, outcome);
            if self.take_sample() {
                // What fell due before may do so at another instant.
                self.next_due = 0;
            }
        }
    }

    /// True if the count of current visitors, now, lacks nobody.
    fn counts_all(&self, passing: &Passing) -> bool {
        let reading = self.reading(passing);
        reading.now() >= reading.table_complete_at(DEFAULT_WINDOW_SECONDS)
    }

    /// The hours that changed since the last call, as they are to be kept.
    pub(crate) fn hand_over_hours(&mut self, is_last: bool) -> Vec<(u32, SiteHour)> {
        let events = if is_last {
            std::mem::take(&mut self.events)
        } else {
            0
        };
        self.activity.hand_over(events, is_last)
    }

    /// The comparison of the current visitors with what is usual.
    pub(crate) fn baseline(&mut self) -> Option<Baseline> {
        let current = self.window.count(CURRENT);
        self.activity.compare(self.window.now(), current)
    }

    /// The present, if it changed since the last call. `silent_since_ms` is the time of the last
    /// record of the site's source, while that is silent.
    pub(crate) fn take_present(
        &mut self,
        passing: &Passing,
        silent_since_ms: Option<i64>,
    ) -> Option<SiteNow> {
        if self.next_sample == 0 {
            // Nothing was counted yet.
            return None;
        }
        let reading = self.reading(passing);
        let triggers = self.triggers.phases(reading);
        let present = SiteNow {
            site_id: self.id.clone(),
            current_visitors: self.window.count(CURRENT),
            as_of: from_second(self.window.now()),
            baseline: self.baseline(),
            triggers,
            source_silent_since: silent_since_ms.map(from_ms),
        };
        self.activity.shows(&present).then_some(present)
    }

    /// Adds the sample of the minute that ends. Returns true if something was learned by which
    /// silences are judged.
    fn take_sample(&mut self) -> bool {
        let minute = minute_of(self.next_sample - 1);
        self.next_sample = end_of(minute + 1);
        let events = std::mem::take(&mut self.events);
        let visitors = self.window.count(CURRENT);
        self.activity.take(minute, visitors, events) && self.triggers.watches_silence()
    }

    /// Passes over the minutes before `to`: their counts may lack visitors.
    fn skip_samples(&mut self, to: u32) {
        let minute = minute_of(to);
        self.next_sample = end_of(minute);
        let events = std::mem::take(&mut self.events);
        self.activity.skip_to(minute, events);
    }
}

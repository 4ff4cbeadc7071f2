//! The most extreme counts of the episodes going on.

use super::SiteTriggers;
use super::evaluation::EpisodeChange;
use super::trigger::Trigger;
use crate::detect::site::rules::reading::SiteReading;

impl Trigger {
    /// Notes the present count as the peak of the episode going on, if it is one. A count that is
    /// only a lower bound is no peak of a drop. Returns true if the peak changed.
    pub(super) fn note_peak(&mut self, reading: SiteReading<'_>) -> bool {
        if reading.now() < self.rule.exact_from(reading) {
            return false;
        }
        let Some(episode) = self.state.episode_mut() else {
            return false;
        };
        let peak = self.rule.peak(episode.peak, self.rule.count(reading));
        let grew = std::mem::replace(&mut episode.peak, peak) != peak;
        self.is_peak_untold |= grew;
        grew
    }
}

impl SiteTriggers {
    /// Notes the most extreme counts of the episodes going on. Returns true if one changed since
    /// the last call.
    pub(crate) fn note_peaks(&mut self, reading: SiteReading<'_>) -> bool {
        let mut grew = std::mem::take(&mut self.has_grown);
        if self.firing > 0 {
            for trigger in self.all_mut().filter(|trigger| !trigger.is_passed_on()) {
                grew |= trigger.note_peak(reading);
            }
        }
        grew
    }

    /// Takes the episodes going on whose peak grew since it was told. One that goes on under
    /// several settings is told with those under which it began.
    pub(crate) fn take_grown(&mut self) -> Vec<EpisodeChange> {
        let untold = self.all_mut().filter(|trigger| trigger.is_peak_untold);
        let changes = untold.filter_map(|trigger| {
            trigger.is_peak_untold = false;
            trigger.running().filter(|change| !change.episode.is_shared)
        });
        changes.collect()
    }
}

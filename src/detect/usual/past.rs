//! The past of one site, gathered as its clock goes on, and the comparison of the present with it.

use super::HOUR_SECONDS;
use super::baseline::Usual;
use super::samples::Samples;
use crate::domain::activity::{HourSummary, SiteHour};
use crate::domain::registry::Site;
use crate::domain::site_now::{Baseline, SiteNow};

/// Minutes after which the spread of a site is found out anew.
const SPREAD_MINUTES: u32 = 360;

/// The past of a site.
#[derive(Debug)]
pub(crate) struct SiteActivity {
    /// `None` until the site's clock is known.
    samples: Option<Samples>,
    usual: Usual,
    /// The minute at which the spread is found out anew.
    phase: u32,
    /// The hour for which it was asked what was learned before.
    asked_for: Option<u32>,
    /// The present as it was handed over last.
    shown: Option<SiteNow>,
}

impl SiteActivity {
    /// Nothing is known of the site.
    pub(crate) fn new(site: &Site) -> Self {
        Self {
            samples: None,
            usual: Usual::new(site.time_zone),
            phase: phase_of(site.id.as_str()),
            asked_for: None,
            shown: None,
        }
    }

    /// Adopts the site's settings.
    pub(crate) fn configure(&mut self, site: &Site) {
        self.usual.set_zone(site.time_zone);
    }

    /// The hour for which an earlier owner's history is to be asked for; `None` if that was done.
    pub(crate) fn asks_for(&mut self) -> Option<u32> {
        let hour = self.samples.as_ref()?.waits_for_earlier()?;
        (self.asked_for.replace(hour) != Some(hour)).then_some(hour)
    }

    /// Asks again: the question was not taken.
    pub(crate) fn ask_again(&mut self) {
        self.asked_for = None;
    }

    /// Adopts what was learned of the site before.
    pub(crate) fn take_up(
        &mut self,
        mut before: Usual,
        hour: u32,
        earlier: Option<&HourSummary>,
        site: &Site,
    ) {
        before.set_zone(site.time_zone);
        before.learn_all(&self.usual);
        self.usual = before;
        if let Some(samples) = &mut self.samples {
            samples.set_earlier(hour, earlier);
        }
    }

    /// The hours that changed since the last call, as they are to be kept. With the last call, the
    /// `events` since the last sample are among it.
    pub(crate) fn hand_over(&mut self, events: u32, is_last: bool) -> Vec<(u32, SiteHour)> {
        let Some(samples) = &mut self.samples else {
            return Vec::new();
        };
        samples.add_events(events);
        samples.hand_over(is_last)
    }

    /// Compares the current visitors at a second with what is usual.
    pub(crate) fn compare(&mut self, second: u32, current: u32) -> Option<Baseline> {
        self.usual.compare(second, current)
    }

    /// True if the present is another one than at the last call, whatever its clock.
    pub(crate) fn shows(&mut self, present: &SiteNow) -> bool {
        let is_same = self.shown.as_ref().is_some_and(|shown| {
            let unlike = |one: &SiteNow| (one.current_visitors, one.baseline);
            unlike(shown) == unlike(present) && shown.triggers == present.triggers
        });
        if !is_same {
            self.shown = Some(present.clone());
        }
        !is_same
    }

    /// Adds the sample of a minute, and the events since the one before.
    pub(crate) fn take(&mut self, minute: u32, visitors: u32, events: u32) {
        let Some(samples) = &mut self.samples else { return };
        samples.take(minute, Some(visitors), events);
        let hour = minute * 60 / HOUR_SECONDS;
        // Sites do so at different minutes, so that none waits for many.
        if minute % SPREAD_MINUTES == self.phase {
            self.usual.refresh_spread(hour);
        }
        if let Some(mean) = samples.mean()
            && let Some(z) = self.usual.z(hour, mean)
        {
            samples.note_z(z);
        }
        if let Some((hour, median)) = samples.end(minute) {
            self.usual.learn(hour, median);
        }
    }

    /// Passes over the minutes up to one: their counts may lack visitors. `events` came before.
    pub(crate) fn skip_to(&mut self, minute: u32, events: u32) {
        let samples = self.samples.get_or_insert_with(|| Samples::new(minute));
        samples.add_events(events);
        if let Some((hour, median)) = samples.skip_to(minute) {
            self.usual.learn(hour, median);
        }
    }
}

/// The minute at which the spread of a site is found out anew: another one for each site.
fn phase_of(site: &str) -> u32 {
    let mix = |sum: u32, byte: u8| sum.wrapping_mul(31).wrapping_add(u32::from(byte));
    site.bytes().fold(7, mix) % SPREAD_MINUTES
}

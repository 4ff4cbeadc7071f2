//! The past of one site, gathered as its clock goes on, and the comparison of the present with it.

use chrono::TimeDelta;

use super::HOUR_SECONDS;
use super::baseline::Usual;
use super::rates::Rates;
use super::samples::Samples;
use crate::domain::activity::{HourSummary, SiteHour};
use crate::domain::goal_renames::GoalRenames;
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::site_now::{Baseline, SiteNow};

/// Time after which a present that stays the same is handed over again: a row may have been lost
/// with its server, and shows as of when it holds.
const CONFIRMED_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Minutes after which the spread of a site is found out anew.
const SPREAD_MINUTES: u32 = 360;

/// The hours that were learned of a site before.
#[derive(Debug)]
pub(crate) struct LearnedPast {
    pub(crate) usual: Usual,
    /// The hour in which the site was when it was asked for.
    pub(crate) hour: u32,
    /// Counts of an earlier owner in that hour.
    pub(crate) earlier: Option<HourSummary>,
    /// The hours of which enough was covered, if rates are asked for.
    pub(crate) counted: Vec<(u32, HourSummary)>,
}

/// The answer to what was learned of a site before: hours.
#[derive(Debug)]
pub(crate) struct HistoryAnswer {
    pub(crate) partition: i32,
    pub(crate) site: SiteId,
    pub(crate) past: LearnedPast,
}

/// The past of a site.
#[derive(Debug)]
pub(crate) struct SiteActivity {
    /// `None` until the site's clock is known.
    samples: Option<Samples>,
    /// Counts that came with the site's state, until its clock is known, and their hour.
    carried: Option<(u32, HourSummary)>,
    /// The hour, and the events in it, of which the site's stored state knows.
    stored: Option<(u32, u64)>,
    usual: Usual,
    rates: Box<Rates>,
    /// True if hours before now are to be learned, for rates that were not asked for before.
    wants_rates: bool,
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
            carried: None,
            stored: None,
            usual: Usual::new(site.time_zone),
            rates: Box::new(Rates::new(site.time_zone)),
            wants_rates: false,
            phase: phase_of(site.id.as_str()),
            asked_for: None,
            shown: None,
        }
    }

    /// Adopts the site's settings.
    pub(crate) fn configure(&mut self, site: &Site) {
        self.usual.set_zone(site.time_zone);
        self.rates.set_zone(site.time_zone);
    }

    /// Adopts the goals of which rates are asked for; `None` is the site.
    pub(crate) fn watch(&mut self, subjects: impl IntoIterator<Item = Option<Box<str>>>) {
        self.wants_rates |= self.rates.watch(subjects);
    }

    /// Rates of events.
    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// True if the answer is to have what rates are learned from.
    pub(crate) fn wants_rates(&self) -> bool {
        self.rates.are_asked_for()
    }

    /// Counts an event that completed a goal. False if there is no room for its name.
    pub(crate) fn add_goal(&mut self, name: &str) -> bool {
        self.samples.as_mut().is_none_or(|samples| samples.add_goal(name))
    }

    /// Gives goals their new names.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames) {
        self.rates.rename_goals(renames);
        if let Some((_, counts)) = &mut self.carried {
            renames.apply_to_counts(&mut counts.goals);
        }
        if let Some(samples) = &mut self.samples {
            samples.rename_goals(renames);
        }
    }

    /// The hour for which an earlier owner's history is to be asked for; `None` if that was done.
    pub(crate) fn asks_for(&mut self) -> Option<u32> {
        let samples = self.samples.as_ref()?;
        if std::mem::take(&mut self.wants_rates) {
            self.asked_for = samples.waits_for_earlier();
            return Some(samples.hour());
        }
        let hour = samples.waits_for_earlier()?;
        (self.asked_for.replace(hour) != Some(hour)).then_some(hour)
    }

    /// Asks again: the question was not taken.
    pub(crate) fn ask_again(&mut self) {
        self.asked_for = None;
        self.wants_rates = self.rates.are_asked_for();
    }

    /// Adopts what was learned of the site before.
    pub(crate) fn adopt(&mut self, learned: LearnedPast, site: &Site) {
        let mut before = learned.usual;
        before.set_zone(site.time_zone);
        before.learn_all(&self.usual);
        self.usual = before;
        self.rates.learn(learned.counted.iter());
        self.rates.set_spread(self.usual.spread(learned.hour));
        if let Some(samples) = &mut self.samples {
            samples.set_earlier(learned.hour, learned.earlier.as_ref());
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

    /// Goes on from the counts of events that came with the site's stored state.
    pub(crate) fn carry(&mut self, hour: u32, counts: HourSummary) {
        self.stored = Some((hour, counts.events));
        self.carried = Some((hour, counts));
    }

    /// The hour that goes on, and the counts in it for the site's state, `events` since the last
    /// sample among them.
    pub(crate) fn counts(&self, events: u32) -> Option<(u32, HourSummary)> {
        let Some(samples) = &self.samples else {
            return self.carried.clone();
        };
        let (hour, mut counts) = samples.counts();
        counts.events = counts.events.saturating_add(u64::from(events));
        (counts.events > 0).then_some((hour, counts))
    }

    /// Notes that the site's stored state has these counts.
    pub(crate) fn note_stored(&mut self, counts: Option<&(u32, HourSummary)>) {
        self.stored = counts.map(|(hour, counts)| (*hour, counts.events));
    }

    /// True if the site's stored state has other counts than the present ones, `events` since the
    /// last sample among them.
    pub(crate) fn has_unstored(&self, events: u32) -> bool {
        let Some(samples) = &self.samples else {
            return false;
        };
        let (hour, counted) = samples.counted();
        let counted = counted.saturating_add(u64::from(events));
        counted > 0 && self.stored != Some((hour, counted))
    }

    /// Compares the current visitors at a second with what is usual.
    pub(crate) fn compare(&mut self, second: u32, current: u32) -> Option<Baseline> {
        self.usual.compare(second, current)
    }

    /// True if the present is another one than it last was true of, or that was a while ago by the
    /// site's clock.
    pub(crate) fn shows(&mut self, present: &SiteNow) -> bool {
        let is_same = self.shown.as_ref().is_some_and(|shown| {
            let unlike = |one: &SiteNow| (one.current_visitors, one.baseline, one.source_silent_since);
            unlike(shown) == unlike(present)
                && shown.triggers == present.triggers
                && present.as_of - shown.as_of < CONFIRMED_EVERY
        });
        if !is_same {
            self.shown = Some(present.clone());
        }
        !is_same
    }

    /// Adds the sample of a minute, and the events since the one before. Returns true if something
    /// was learned by which silences are judged.
    pub(crate) fn take(&mut self, minute: u32, visitors: u32, events: u32) -> bool {
        let Some(samples) = &mut self.samples else {
            return false;
        };
        samples.take(minute, Some(visitors), events);
        let hour = minute * 60 / HOUR_SECONDS;
        // Sites do so at different minutes, so that none waits for many.
        let refreshes = minute % SPREAD_MINUTES == self.phase;
        if refreshes {
            self.rates.set_spread(self.usual.refresh_spread(hour));
        }
        if let Some(mean) = samples.mean()
            && let Some(z) = self.usual.z(hour, mean)
        {
            samples.note_z(z);
        }
        let ended = samples.end(minute);
        self.learn(ended) || refreshes
    }

    /// Learns an hour. Returns false if there is none.
    fn learn(&mut self, ended: Option<(u32, HourSummary)>) -> bool {
        let Some(ended) = ended else { return false };
        if let (hour, Some(median)) = (ended.0, ended.1.median) {
            self.usual.learn(hour, median);
        }
        self.rates.learn(std::iter::once(&ended));
        true
    }

    /// Passes over the minutes up to one: their counts may lack visitors. `events` came before.
    pub(crate) fn skip_to(&mut self, minute: u32, events: u32) {
        let samples = self
            .samples
            .get_or_insert_with(|| Samples::new(minute).carrying(self.carried.take()));
        samples.add_events(events);
        let ended = samples.skip_to(minute);
        self.learn(ended);
    }
}

/// The minute at which the spread of a site is found out anew: another one for each site.
fn phase_of(site: &str) -> u32 {
    let mix = |sum: u32, byte: u8| sum.wrapping_mul(31).wrapping_add(u32::from(byte));
    site.bytes().fold(7, mix) % SPREAD_MINUTES
}

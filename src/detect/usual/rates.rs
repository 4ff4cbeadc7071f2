//! Events that are usual in an hour: of a site, and of its goals.
//!
//! A mean, not a median: of events that come a few times a day the median hour has none. It is that
//! of the hours before a silence began: what then does not come makes it no smaller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono_tz::Tz;

use super::HOUR_SECONDS;
use super::baseline::{KEPT_HOURS, Slot};
use crate::domain::activity::HourSummary;
use crate::domain::goal_renames::GoalRenames;

/// Hours of one kind from which a rate is known.
const MIN_HOURS: u32 = 3;

/// Longest silence that is looked for, in hours: by then the rate is not worth the name.
pub(crate) const MAX_SILENT_HOURS: u32 = 14 * 24;

/// Hours that are kept: those before the longest silence.
pub(crate) const KEPT_FOR_RATES: u32 = KEPT_HOURS + MAX_SILENT_HOURS;

/// Kinds of hours: the hours of a weekday, and those of a day at the weekend.
const KINDS: usize = 48;

/// Rates of a site's events.
pub(crate) trait ExpectedRate: fmt::Debug {
    /// The rate in the hour of `second`, of the site's events or of a goal's, as it was known in
    /// the hour of `began`, the beginning of a silence; `None` if it was not known.
    fn in_hour_of(&self, goal: Option<&str>, began: u32, second: u32) -> Option<HourlyRate>;
}

/// A rate in one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HourlyRate {
    pub(crate) events: f64,
    /// Deviations of the site that chance would make one, at least 1.
    pub(crate) spread: f64,
    /// First second of the next hour.
    pub(crate) until: u32,
}

/// The rates of a site of which somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    zone: Tz,
    spread: f64,
    /// By name of the goal; `None` is the site.
    subjects: BTreeMap<Option<Box<str>>, WatchedEvents>,
}

/// The hours of one subject.
#[derive(Debug, Clone)]
struct WatchedEvents {
    /// By the kind of hour, each in the order of time.
    kinds: Vec<Vec<CountedHour>>,
    /// Hours with any events, of a goal: it was not counted before somebody asked for it, so its
    /// hours begin with the first one of these.
    with_events: Option<BTreeSet<u32>>,
}

/// An hour that was counted.
#[derive(Debug, Clone, Copy)]
struct CountedHour {
    /// Whole hours since the Unix epoch.
    at: u32,
    /// Events, as if all its minutes had been counted.
    events: f32,
}

impl Rates {
    /// Makes rates of which nobody asks.
    pub(crate) fn new(zone: Tz) -> Self {
        Self {
            zone,
            spread: 1.0,
            subjects: BTreeMap::new(),
        }
    }

    /// Adopts the subjects that are asked for, of which nothing else is kept. Returns true if there
    /// are new ones, so that hours before now are to be learned.
    pub(crate) fn watch(&mut self, subjects: impl IntoIterator<Item = Option<Box<str>>>) -> bool {
        let mut old = std::mem::take(&mut self.subjects);
        let mut are_new = false;
        for subject in subjects {
            let known = old.remove(&subject);
            are_new |= known.is_none() && !self.subjects.contains_key(&subject);
            let is_goal = subject.is_some();
            self.subjects
                .entry(subject)
                .or_insert_with(|| known.unwrap_or_else(|| WatchedEvents::new(is_goal)));
        }
        are_new
    }

    /// True if somebody asks for a rate.
    pub(crate) fn are_asked_for(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// Gives goals their new names, with what is known of them.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames) {
        let before = std::mem::take(&mut self.subjects).into_iter();
        self.subjects = before
            .map(|(goal, events)| (goal.map(|goal| renames.after(&goal).into()), events))
            .collect();
    }

    /// Adopts another time zone.
    pub(crate) fn set_zone(&mut self, zone: Tz) {
        if zone == self.zone {
            return;
        }
        self.zone = zone;
        for subject in self.subjects.values_mut() {
            let hours = std::mem::replace(&mut subject.kinds, vec![Vec::new(); KINDS]);
            for hour in hours.into_iter().flatten() {
                subject.put(hour, kind_of(hour.at, zone));
            }
        }
    }

    /// Adopts how much more than chance the site's traffic varies.
    pub(crate) fn set_spread(&mut self, spread: f64) {
        self.spread = spread;
    }

    /// Learns hours of which enough was covered; those that are known are replaced.
    pub(crate) fn learn<'a>(&mut self, hours: impl Iterator<Item = &'a (u32, HourSummary)>) {
        for (at, summary) in hours {
            let kind = kind_of(*at, self.zone);
            for (goal, subject) in &mut self.subjects {
                let events = match goal {
                    None => summary.events,
                    Some(goal) => summary.goals.get(goal).copied().unwrap_or(0),
                };
                let hour = CountedHour {
                    at: *at,
                    events: summary.in_whole_hour(events) as f32,
                };
                subject.put(hour, kind);
            }
        }
    }
}

impl ExpectedRate for Rates {
    fn in_hour_of(&self, goal: Option<&str>, began: u32, second: u32) -> Option<HourlyRate> {
        let subject = self.subjects.get(&goal.map(Into::into))?;
        let hour = second / HOUR_SECONDS;
        Some(HourlyRate {
            events: subject.mean(kind_of(hour, self.zone), began / HOUR_SECONDS)?,
            spread: self.spread,
            until: (hour + 1).saturating_mul(HOUR_SECONDS),
        })
    }
}

impl WatchedEvents {
    fn new(is_goal: bool) -> Self {
        Self {
            kinds: vec![Vec::new(); KINDS],
            with_events: is_goal.then(BTreeSet::new),
        }
    }

    /// Puts an hour of a kind in its place, and forgets those of its kind that are too old.
    fn put(&mut self, hour: CountedHour, kind: usize) {
        let hours = &mut self.kinds[kind];
        match hours.binary_search_by_key(&hour.at, |one| one.at) {
            Ok(index) => hours[index] = hour,
            Err(index) => hours.insert(index, hour),
        }
        let last = hours.last().map_or(hour.at, |last| last.at);
        let oldest = last.saturating_sub(KEPT_FOR_RATES);
        hours.drain(..hours.partition_point(|one| one.at < oldest));
        let Some(with_events) = &mut self.with_events else {
            return;
        };
        if hour.events > 0.0 {
            with_events.insert(hour.at);
        } else {
            with_events.remove(&hour.at);
        }
        while with_events.first().is_some_and(|first| *first < oldest) {
            with_events.pop_first();
        }
    }

    /// The mean over the hours of a kind in the 28 days before an hour; `None` if they are too few.
    fn mean(&self, kind: usize, before: u32) -> Option<f64> {
        let mut from = before.saturating_sub(KEPT_HOURS);
        if let Some(with_events) = &self.with_events {
            from = *with_events.range(from..before).next()?;
        }
        let hours = self.kinds[kind].iter();
        let (mut sum, mut count) = (0.0, 0_u32);
        for hour in hours.filter(|hour| (from..before).contains(&hour.at)) {
            sum += f64::from(hour.events);
            count += 1;
        }
        (count >= MIN_HOURS).then(|| sum / f64::from(count))
    }
}

/// The kind of an hour, below [`KINDS`].
fn kind_of(hour: u32, zone: Tz) -> usize {
    let slot = Slot::of(hour, zone);
    let weekend = if slot.is_weekend() { KINDS / 2 } else { 0 };
    slot.hour_of_day() + weekend
}

#[cfg(test)]
mod tests;

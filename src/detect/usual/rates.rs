//! Events that are usual in an hour: of a site, and of its goals.
//!
//! A mean, not a median: of events that come a few times a day the median hour has none.

use std::collections::BTreeMap;
use std::fmt;

use chrono_tz::Tz;

use super::HOUR_SECONDS;
use super::baseline::{KEPT_HOURS, Slot};
use crate::domain::activity::HourSummary;

/// Hours of one kind from which a rate is known.
const MIN_HOURS: u32 = 3;

/// Kinds of hours: the hours of a weekday, and those of a day at the weekend.
const KINDS: usize = 48;

/// Rates of a site's events.
pub(crate) trait ExpectedRate: fmt::Debug {
    /// The rate in the hour of `second`, of the site's events or of a goal's; `None` if it is not
    /// known.
    fn in_hour_of(&self, goal: Option<&str>, second: u32) -> Option<HourlyRate>;
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
    /// Events by hour, as if all its minutes had been counted.
    hours: BTreeMap<u32, f64>,
    /// Rates by the kind of hour.
    rates: [Option<f32>; KINDS],
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
            self.subjects
                .entry(subject)
                .or_insert_with(|| known.unwrap_or_default());
        }
        are_new
    }

    /// True if somebody asks for a rate.
    pub(crate) fn are_asked_for(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// Adopts another time zone.
    pub(crate) fn set_zone(&mut self, zone: Tz) {
        if zone != self.zone {
            self.zone = zone;
            self.find_out();
        }
    }

    /// Adopts how much more than chance the site's traffic varies.
    pub(crate) fn set_spread(&mut self, spread: f64) {
        self.spread = spread;
    }

    /// Learns hours of which enough was covered; those that are known are replaced.
    pub(crate) fn learn<'a>(&mut self, hours: impl Iterator<Item = &'a (u32, HourSummary)>) {
        for (at, summary) in hours {
            for (goal, subject) in &mut self.subjects {
                let events = match goal {
                    None => summary.events,
                    Some(goal) => summary.goals.get(goal).copied().unwrap_or(0),
                };
                subject.hours.insert(*at, summary.in_whole_hour(events));
            }
        }
        self.find_out();
    }

    fn find_out(&mut self) {
        for (goal, subject) in &mut self.subjects {
            subject.forget_old();
            subject.find_out(self.zone, goal.is_some());
        }
    }
}

impl ExpectedRate for Rates {
    fn in_hour_of(&self, goal: Option<&str>, second: u32) -> Option<HourlyRate> {
        let subject = self.subjects.get(&goal.map(Into::into))?;
        let hour = second / HOUR_SECONDS;
        let events = subject.rates[kind_of(hour, self.zone)]?;
        Some(HourlyRate {
            events: f64::from(events),
            spread: self.spread,
            until: (hour + 1).saturating_mul(HOUR_SECONDS),
        })
    }
}

impl Default for WatchedEvents {
    fn default() -> Self {
        Self {
            hours: BTreeMap::new(),
            rates: [None; KINDS],
        }
    }
}

impl WatchedEvents {
    fn forget_old(&mut self) {
        if let Some((last, _)) = self.hours.last_key_value() {
            let oldest = last.saturating_sub(KEPT_HOURS);
            self.hours = self.hours.split_off(&oldest);
        }
    }

    /// Finds out the rates. A goal was not counted before somebody asked for it, so its hours begin
    /// with the first one that has any.
    fn find_out(&mut self, zone: Tz, begins_with_some: bool) {
        let mut sums = [(0_f64, 0_u32); KINDS];
        let hours = self
            .hours
            .iter()
            .skip_while(|(_, events)| begins_with_some && **events <= 0.0);
        for (at, events) in hours {
            let (sum, count) = &mut sums[kind_of(*at, zone)];
            *sum += events;
            *count += 1;
        }
        for (rate, (sum, count)) in self.rates.iter_mut().zip(sums) {
            *rate = (count >= MIN_HOURS).then(|| (sum / f64::from(count)) as f32);
        }
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

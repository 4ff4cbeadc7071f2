//! Visitors that are usual at an hour of the week.
//!
//! Hours are compared in square-root space, y = 2·√(h + 3/8) of an hour's median h (Anscombe's
//! transform of Poisson counts): there one deviation is the same at every level of traffic. The
//! expectation at a slot, an hour of the week in the site's time zone, is a median, so a few
//! unusual hours do not move it.

use chrono::{Datelike, Timelike};
use chrono_tz::Tz;

use super::HOUR_SECONDS;
use crate::domain::site_now::{Baseline, BaselineStatus};
use crate::domain::time::from_ms;

/// Hours that are learned from: 28 days, and one more, as a day in autumn has 25.
pub(crate) const KEPT_HOURS: u32 = 28 * 24 + 1;

/// Values of the slot that count, the latest ones.
const SLOT_VALUES: usize = 4;

/// Values from which something is known to be usual.
const MIN_VALUES: usize = 3;

/// Factor from the median absolute deviation to the standard deviation, for a normal distribution.
const NORMAL: f64 = 1.482_6;

/// The transform of a count: its deviation is 1 whatever the count, if visitors come at random.
fn to_root(count: f64) -> f64 {
    2.0 * (count + 0.375).sqrt()
}

/// The count that a value of [`to_root`] stands for.
fn from_root(root: f64) -> f64 {
    ((root / 2.0).powi(2) - 0.375).max(0.0)
}

/// An hour that was learned.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LearnedHour {
    /// Whole hours since the Unix epoch.
    at: u32,
    slot: Slot,
    /// The transformed median.
    root: f32,
}

/// An hour of the week in the site's time zone, from Monday's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u8);

impl Slot {
    const COUNT: u8 = 7 * 24;

    /// The slot of an hour: that of the hour's first second, where offsets are no whole hours.
    pub(super) fn of(hour: u32, zone: Tz) -> Self {
        let local = from_ms(i64::from(hour) * 3_600_000).with_timezone(&zone);
        // Both are small.
        let day = local.weekday().num_days_from_monday() as u8;
        Self(day * 24 + local.hour() as u8)
    }

    pub(super) fn hour_of_day(self) -> usize {
        usize::from(self.0 % 24)
    }

    fn is_same_hour_of_day(self, other: Self) -> bool {
        self.hour_of_day() == other.hour_of_day()
    }

    pub(super) fn is_weekend(self) -> bool {
        self.0 / 24 >= 5
    }
}

/// Visitors that are usual at an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Expectation {
    pub(crate) status: BaselineStatus,
    /// The transformed count.
    pub(crate) root: f64,
    /// Number of hours from which it is known.
    pub(crate) samples: u32,
}

/// The hours of a site's last 28 days, and what follows from them.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    zone: Tz,
    /// In the order of time, each once.
    hours: Vec<LearnedHour>,
    /// The hour last asked for, with its expectation.
    present: Option<(u32, Option<Expectation>)>,
    spread: Option<f64>,
}

impl Usual {
    /// Nothing is known.
    pub(crate) fn new(zone: Tz) -> Self {
        Self {
            zone,
            hours: Vec::new(),
            present: None,
            spread: None,
        }
    }

    /// Adopts another time zone.
    pub(crate) fn set_zone(&mut self, zone: Tz) {
        if zone == self.zone {
            return;
        }
        self.zone = zone;
        for hour in &mut self.hours {
            hour.slot = Slot::of(hour.at, zone);
        }
        (self.present, self.spread) = (None, None);
    }

    /// Learns the median of an hour of which enough was covered; one that is known is replaced.
    pub(crate) fn learn(&mut self, at: u32, median: f32) {
        self.insert(LearnedHour {
            at,
            slot: Slot::of(at, self.zone),
            root: to_root(f64::from(median)) as f32,
        });
    }

    /// Learns the hours that another one knows, which has the same time zone.
    pub(crate) fn learn_all(&mut self, other: &Self) {
        for hour in &other.hours {
            self.insert(*hour);
        }
    }

    fn insert(&mut self, learned: LearnedHour) {
        match self.hours.binary_search_by_key(&learned.at, |hour| hour.at) {
            Ok(index) => self.hours[index] = learned,
            Err(index) => self.hours.insert(index, learned),
        }
        if let Some(last) = self.hours.last() {
            let oldest = last.at.saturating_sub(KEPT_HOURS);
            let expired = self.hours.partition_point(|hour| hour.at < oldest);
            self.hours.drain(..expired);
        }
        self.present = None;
    }

    /// The expectation at an hour, from the hours before it; `None` if too little is known.
    pub(crate) fn expectation(&mut self, hour: u32) -> Option<Expectation> {
        if let Some((at, expectation)) = self.present
            && at == hour
        {
            return expectation;
        }
        let expectation = self.find(Slot::of(hour, self.zone), hour);
        self.present = Some((hour, expectation));
        expectation
    }

    fn find(&self, slot: Slot, hour: u32) -> Option<Expectation> {
        let known = |is_alike: &dyn Fn(Slot) -> bool| -> Vec<f64> {
            let hours = self.hours_before(hour).iter();
            let alike = hours.filter(|hour| is_alike(hour.slot));
            alike.map(|hour| f64::from(hour.root)).collect()
        };
        let expectation = |status: BaselineStatus, mut values: Vec<f64>| {
            let is_known = values.len() >= MIN_VALUES;
            is_known.then(|| Expectation {
                status,
                // Some hundreds at most.
                samples: values.len() as u32,
                root: median(&mut values),
            })
        };
        let mut own = known(&|other| other == slot);
        own.drain(..own.len().saturating_sub(SLOT_VALUES));
        expectation(BaselineStatus::Ready, own)
            .or_else(|| {
                let alike =
                    |other: Slot| other.is_same_hour_of_day(slot) && other.is_weekend() == slot.is_weekend();
                expectation(BaselineStatus::Warming, known(&alike))
            })
            .or_else(|| {
                let alike = |other: Slot| other.is_same_hour_of_day(slot);
                expectation(BaselineStatus::Warming, known(&alike))
            })
    }

    /// The hours of the 28 days before an hour.
    fn hours_before(&self, hour: u32) -> &[LearnedHour] {
        let oldest = hour.saturating_sub(KEPT_HOURS);
        let first = self.hours.partition_point(|one| one.at < oldest);
        let end = self.hours.partition_point(|one| one.at < hour);
        &self.hours[first..end]
    }

    /// The deviation that is usual around the expectations, at least 1, as it was found out last.
    pub(crate) fn spread(&mut self, hour: u32) -> f64 {
        match self.spread {
            Some(spread) => spread,
            None => self.refresh_spread(hour),
        }
    }

    /// Finds out the spread from the hours before one. Once every 6 hours is enough.
    pub(crate) fn refresh_spread(&mut self, hour: u32) -> f64 {
        let slots: Vec<Option<f64>> = (0..Slot::COUNT)
            .map(|slot| Some(self.find(Slot(slot), hour)?.root))
            .collect();
        let mut distances: Vec<f64> = self
            .hours_before(hour)
            .iter()
            .filter_map(|hour| Some((f64::from(hour.root) - slots[usize::from(hour.slot.0)]?).abs()))
            .collect();
        let spread = match distances.is_empty() {
            true => 1.0,
            false => (NORMAL * median(&mut distances)).max(1.0),
        };
        self.spread = Some(spread);
        spread
    }

    /// The distance of a mean count from what is usual, in deviations; `None` if too little is
    /// known.
    pub(crate) fn z(&mut self, hour: u32, mean: f64) -> Option<f64> {
        let expectation = self.expectation(hour)?;
        Some((to_root(mean) - expectation.root) / self.spread(hour))
    }

    /// Compares the current visitors at a second with what is usual.
    pub(crate) fn compare(&mut self, second: u32, current: u32) -> Option<Baseline> {
        let Expectation {
            status,
            root,
            samples,
        } = self.expectation(second / HOUR_SECONDS)?;
        let usual = from_root(root);
        let expected = (usual * 10.0).round() / 10.0;
        let change = (f64::from(current) - usual) / usual * 100.0;
        Some(Baseline {
            status,
            current,
            expected,
            change_percent: (expected > 0.0).then_some(change.round() as i64),
            score: None,
            samples,
        })
    }
}

/// The middle of the sorted values, the mean of the two in the middle of an even number.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (
        values.get((values.len().max(1) - 1) / 2),
        values.get(values.len() / 2),
    ) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;

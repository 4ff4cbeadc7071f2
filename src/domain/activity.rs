//! The activity of a site in an hour: visitors by the minute, and counts of events.

use std::collections::BTreeMap;

use super::site::SiteId;

/// Minutes of an hour.
pub const MINUTES: usize = 60;

/// Minutes that must have been counted for an hour to be learned from.
const LEARNED_MINUTES: u32 = 45;

/// Most names of goals whose events are counted in an hour.
const MAX_GOALS: usize = 1_000;

/// A site, and an hour in whole hours since the Unix epoch.
pub type HourKey = (SiteId, u32);

/// One hour of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteHour {
    /// Visitors at the end of each minute; 0 where it was not counted.
    minutes: [u32; MINUTES],
    /// Bit i is set if minute i was counted.
    covered: u64,
    /// Events of any type.
    pub events: u64,
    /// Events that completed a goal, by its name.
    pub goals: BTreeMap<Box<str>, u64>,
    /// The greatest distance from what was usual, in deviations.
    pub peak_z: Option<f32>,
}

/// The part of an hour from which is learned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HourSummary {
    /// The bits of the minutes that were counted.
    pub covered: u64,
    pub median: Option<f32>,
    pub events: u64,
    pub goals: BTreeMap<Box<str>, u64>,
}

impl HourSummary {
    /// The median, if enough minutes were counted for the hour to tell what is usual.
    pub(crate) fn learned_median(&self) -> Option<f32> {
        self.median.filter(|_| is_learned(self.covered))
    }

    /// Takes the greater of two counts of the same events, made at two times.
    pub(crate) fn take_greater(&mut self, other: &Self) {
        self.events = self.events.max(other.events);
        for (name, count) in &other.goals {
            let most = self.goals.entry(name.clone()).or_default();
            *most = (*most).max(*count);
        }
    }

    /// The events that a whole hour would have, if so many came in the minutes that were counted.
    pub(crate) fn in_whole_hour(&self, events: u64) -> f64 {
        match self.covered.count_ones() {
            0 => events as f64,
            counted => events as f64 * MINUTES as f64 / f64::from(counted),
        }
    }
}

impl Default for SiteHour {
    fn default() -> Self {
        Self {
            minutes: [0; MINUTES],
            covered: 0,
            events: 0,
            goals: BTreeMap::new(),
            peak_z: None,
        }
    }
}

impl SiteHour {
    /// Sets the visitors of a minute, which counts as covered from now on.
    pub fn set(&mut self, minute: usize, visitors: u32) {
        if let Some(slot) = self.minutes.get_mut(minute) {
            *slot = visitors;
            self.covered |= 1 << minute;
        }
    }

    /// The visitors of a minute; `None` if it was not counted.
    pub fn minute(&self, minute: usize) -> Option<u32> {
        let visitors = *self.minutes.get(minute)?;
        (self.covered >> minute & 1 == 1).then_some(visitors)
    }

    /// The bits of the minutes that were counted.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// True if enough minutes were counted for the hour to tell what is usual.
    pub fn is_learned(&self) -> bool {
        is_learned(self.covered)
    }

    /// The median over the minutes that were counted, the mean of the two in the middle of an even
    /// number.
    pub fn median(&self) -> Option<f32> {
        let mut counted: Vec<u32> = (0..MINUTES).filter_map(|minute| self.minute(minute)).collect();
        counted.sort_unstable();
        let upper = *counted.get(counted.len() / 2)?;
        let lower = counted[(counted.len() - 1) / 2];
        Some(((f64::from(lower) + f64::from(upper)) / 2.0) as f32)
    }

    /// The part of it from which is learned.
    pub(crate) fn summary(&self) -> HourSummary {
        HourSummary {
            covered: self.covered,
            median: self.median(),
            events: self.events,
            goals: self.goals.clone(),
        }
    }

    /// Counts an event that completed a goal. False if the hour has no room for another name, or
    /// the name has a NUL, which Postgres does not store.
    pub fn add_goal(&mut self, name: &str) -> bool {
        if let Some(count) = self.goals.get_mut(name) {
            *count += 1;
            return true;
        }
        let has_room = self.goals.len() < MAX_GOALS && !name.contains('\0');
        if has_room {
            self.goals.insert(name.into(), 1);
        }
        has_room
    }

    /// Adds the counts of events that an earlier owner of the site left in the same hour.
    pub(crate) fn add_counts(&mut self, earlier: &HourSummary) {
        self.events = self.events.saturating_add(earlier.events);
        for (name, count) in &earlier.goals {
            if self.goals.len() < MAX_GOALS || self.goals.contains_key(name) {
                let sum = self.goals.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }

    /// Merges what another owner saw of the same hour: the minutes that either counted, and of two
    /// counts the greater one. Neither the order nor a repetition matters.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.minutes.iter_mut().zip(other.minutes) {
            *mine = (*mine).max(theirs);
        }
        self.covered |= other.covered;
        self.events = self.events.max(other.events);
        for (name, count) in &other.goals {
            let most = self.goals.entry(name.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.peak_z = match (self.peak_z, other.peak_z) {
            (Some(mine), Some(theirs)) => Some(mine.max(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// The minutes as they are stored: variable-length numbers, 7 bits a byte, lowest first.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MINUTES);
        for mut rest in self.minutes {
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    }

    /// Reads what [`pack`](Self::pack) wrote, with the bits of the minutes that were counted.
    /// `None` if it is something else.
    pub(crate) fn unpack(bytes: &[u8], covered: u64) -> Option<Self> {
        let mut hour = Self {
            covered,
            ..Self::default()
        };
        let mut bytes = bytes.iter();
        for minute in &mut hour.minutes {
            let mut number = 0_u64;
            for shift in (0..35).step_by(7) {
                let byte = *bytes.next()?;
                number |= u64::from(byte & 0x7F) << shift;
                if byte < 0x80 {
                    break;
                }
                if shift == 28 {
                    return None;
                }
            }
            *minute = u32::try_from(number).ok()?;
        }
        bytes.next().is_none().then_some(hour)
    }
}

/// True if an hour with these minutes tells what is usual.
fn is_learned(covered: u64) -> bool {
    covered.count_ones() >= LEARNED_MINUTES
}

#[cfg(test)]
mod tests;

//! The silence: fires when so many events were expected since the last one that their absence is no
//! chance, and arms again five minutes after the first event.
//!
//! If events come at random, none comes where Λ were expected with a probability of e^−Λ; Λ ≥ 13.8
//! is one in a million. A site whose traffic varies more than chance allows needs more, by the
//! square of its spread.

use super::reading::{Level, SiteReading};
use crate::detect::usual::HOUR_SECONDS;
use crate::detect::usual::rates::MAX_SILENT_HOURS;

/// Expected events without one, for a spread of 1, at which there is a silence.
const SILENT_EVENTS: f64 = 13.8;
/// Shortest silence, in seconds.
const MIN_SECONDS: u32 = 600;
/// Seconds after the first event at which the trigger arms again.
const CALM_SECONDS: u32 = 300;

/// Events by which a sum over hours may fall short of what it stands for.
const ROUNDING: f64 = 1e-9;

/// The rule of `silence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SilenceRule {
    pub(crate) goal: Option<String>,
    /// Second of the latest event.
    pub(crate) last: Option<u32>,
    /// The site's second from which on events are watched for, where none came yet.
    pub(crate) watched_from: Option<u32>,
}

impl SilenceRule {
    /// Notes an event. Returns true if there may be a silence sooner by it: rates are those known
    /// in the hour of the last event.
    pub(crate) fn note(&mut self, second: u32) -> bool {
        let hour = |at: Option<u32>| at.map(|second| second / HOUR_SECONDS);
        let before = self.last;
        self.last = before.max(Some(second));
        hour(before) != hour(self.last)
    }

    /// Begins to watch at a second, unless it did or events came. Returns true if it did not.
    pub(crate) fn watch_from(&mut self, second: u32) -> bool {
        let begins = self.last.is_none() && self.watched_from.is_none();
        if begins {
            self.watched_from = Some(second);
        }
        begins
    }

    /// The second from which on it is known that no event came.
    pub(crate) fn silent_from(&self, reading: SiteReading<'_>) -> Option<u32> {
        // Before that, records that were not seen may have held events.
        let from = self.last.or(self.watched_from)?.max(reading.complete_from);
        (from < u32::MAX).then_some(from)
    }

    /// Events expected since the last one until now, in the hours whose rates are known; `None` if
    /// there are none.
    pub(crate) fn expected(&self, reading: SiteReading<'_>) -> Option<f64> {
        let goal = self.goal.as_deref();
        let (began, now) = (self.silent_from(reading)?, reading.now());
        let (mut from, mut expected) = (began, None);
        while from < now {
            let next = (from / HOUR_SECONDS + 1).saturating_mul(HOUR_SECONDS);
            let until = next.clamp(from + 1, now);
            if let Some(rate) = reading.rates.in_hour_of(goal, began, from) {
                let in_hour = rate.events * f64::from(until - from) / 3_600.0;
                expected = Some(expected.unwrap_or(0.0) + in_hour);
            }
            from = until;
        }
        expected
    }

    /// True if a rate is known at present.
    pub(super) fn knows_enough(&self, reading: SiteReading<'_>) -> bool {
        let now = reading.now();
        let began = self.silent_from(reading).unwrap_or(now);
        let rate = reading.rates.in_hour_of(self.goal.as_deref(), began, now);
        rate.is_some()
    }

    pub(super) fn level(&self, started_at: Option<u32>, reading: SiteReading<'_>) -> Level {
        if let Some(started_at) = started_at {
            return match self.last {
                Some(last) if last >= started_at => Level::Calm {
                    seconds: CALM_SECONDS,
                },
                _ => Level::Breach,
            };
        }
        match self.silent_at(reading) {
            Some(at) if at <= reading.now() => Level::Breach,
            _ => Level::Between,
        }
    }

    pub(super) fn next_change(&self, is_firing: bool, reading: SiteReading<'_>) -> Option<u32> {
        if is_firing {
            return None;
        }
        self.silent_at(reading)
    }

    /// The instant at which there is a silence if no event comes.
    fn silent_at(&self, reading: SiteReading<'_>) -> Option<u32> {
        let goal = self.goal.as_deref();
        let last = self.silent_from(reading)?;
        let (mut from, mut expected) = (last, 0.0);
        for _ in 0..MAX_SILENT_HOURS {
            let rate = reading.rates.in_hour_of(goal, last, from)?;
            let until = rate.until.max(from + 1);
            let wanted = SILENT_EVENTS * rate.spread.max(1.0).powi(2);
            let in_hour = rate.events * f64::from(until - from) / 3_600.0;
            if expected + in_hour >= wanted - ROUNDING {
                let seconds = (wanted - expected - ROUNDING) * 3_600.0 / rate.events;
                let seconds = seconds.ceil().max(0.0);
                // At most an hour.
                let at = from + seconds as u32;
                return Some(at.max(last.saturating_add(MIN_SECONDS)));
            }
            expected += in_hour;
            from = until;
        }
        None
    }
}

#[cfg(test)]
mod tests;

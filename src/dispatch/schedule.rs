//! Retry schedules: the delays between the attempts of a delivery.

use std::collections::BTreeMap;

use super::tier::{InvalidDelay, Tier, Tiers};
use crate::config::DEFAULT_SCHEDULE;

/// Most delays of a schedule.
pub(crate) const MAX_DELAYS: usize = 32;

/// The delays between the attempts of a delivery; `n` delays make `n + 1` attempts. May be empty:
/// one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetrySchedule(Vec<Tier>);

/// The error of delays that make no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSchedule {
    #[error(transparent)]
    Delay(#[from] InvalidDelay),
    #[error("a schedule has at most {MAX_DELAYS} delays, this one has {0}")]
    TooMany(usize),
}

impl RetrySchedule {
    /// Reads delays such as `["1s", "2s", "4s"]`, in order. They need not grow.
    pub(crate) fn parse<T: AsRef<str>>(delays: &[T]) -> Result<Self, InvalidSchedule> {
        if delays.len() > MAX_DELAYS {
            return Err(InvalidSchedule::TooMany(delays.len()));
        }
        let tiers: Result<_, InvalidDelay> = delays.iter().map(|text| text.as_ref().parse()).collect();
        Ok(Self(tiers?))
    }

    /// Returns the delay that comes next at `step`, of which so many lie behind; none at the end.
    pub(crate) fn delay_at(&self, step: u32) -> Option<Tier> {
        self.0.get(usize::try_from(step).ok()?).copied()
    }

    /// Returns the delay that led to `step`, and the first one at step 0; none when there is none.
    pub(crate) fn current_delay(&self, step: u32) -> Option<Tier> {
        let last = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.delay_at(step.min(last).saturating_sub(1))
    }

    /// Returns the tiers of the delays, in the schedule's order.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = Tier> + '_ {
        self.0.iter().copied()
    }
}

impl Default for RetrySchedule {
    /// 1 s, 2 s, 4 s.
    fn default() -> Self {
        Self([1, 2, 4].map(Tier::from_secs).to_vec())
    }
}

/// Every schedule that a webhook may choose, and the tiers that all of them need.
#[derive(Debug, Clone)]
pub(crate) struct Schedules {
    by_name: BTreeMap<String, RetrySchedule>,
    tiers: Tiers,
}

impl Schedules {
    /// Reads `webhooks.retry_schedules`.
    pub(crate) fn parse(configured: &BTreeMap<String, Vec<String>>) -> Result<Self, InvalidSchedule> {
        let mut by_name = BTreeMap::new();
        for (name, delays) in configured {
            by_name.insert(name.clone(), RetrySchedule::parse(delays)?);
        }
        by_name.entry(DEFAULT_SCHEDULE.to_owned()).or_default();
        let tiers = by_name.values().flat_map(RetrySchedule::tiers).collect();
        Ok(Self { by_name, tiers })
    }

    /// Returns the schedule of this name, or the default one when the name is no longer configured.
    pub(crate) fn get(&self, name: &str) -> &RetrySchedule {
        // `default` is always there: `parse` sees to it.
        self.by_name
            .get(name)
            .unwrap_or_else(|| &self.by_name[DEFAULT_SCHEDULE])
    }

    /// True if a schedule has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns the names that a webhook may choose from.
    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Returns the tiers that records are published to.
    pub(crate) fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Returns the names of the tiers, such as `1s`.
    pub(crate) fn tier_names(&self) -> Vec<String> {
        self.tiers.iter().map(|tier| tier.to_string()).collect()
    }
}

#[cfg(test)]
mod tests;

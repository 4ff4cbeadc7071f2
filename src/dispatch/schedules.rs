//! The configured retry schedules by name, and the tiers they need.

use std::collections::BTreeMap;

use super::schedule::{InvalidSchedule, RetrySchedule, Tiers};
use crate::config::DEFAULT_SCHEDULE;

/// Every schedule a webhook may choose.
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
        let tiers = Tiers::of(by_name.values());
        Ok(Self { by_name, tiers })
    }

    /// The schedule of this name; the default one when it is no longer configured.
    pub(crate) fn get(&self, name: &str) -> &RetrySchedule {
        // `default` is always there: `parse` sees to it.
        self.by_name
            .get(name)
            .unwrap_or_else(|| &self.by_name[DEFAULT_SCHEDULE])
    }

    /// The names a webhook may choose from.
    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// The tiers records are published to.
    pub(crate) fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Their names, such as `1s`.
    pub(crate) fn tier_names(&self) -> Vec<String> {
        self.tiers.iter().map(|tier| tier.to_string()).collect()
    }
}

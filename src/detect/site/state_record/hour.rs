//! The stored form of what was counted in a site's hour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::activity::HourSummary;

/// Events that all owners of a site have counted in the hour that goes on: those of the records
/// that the state accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredHour {
    /// Whole hours since the Unix epoch.
    pub(crate) at: u32,
    pub(crate) events: u64,
    /// Events that completed a goal, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) goals: BTreeMap<Box<str>, u64>,
}

impl StoredHour {
    /// The counts of events of an hour's summary.
    pub(crate) fn of(at: u32, summary: &HourSummary) -> Self {
        Self {
            at,
            events: summary.events,
            goals: summary.goals.clone(),
        }
    }

    /// The summary of an hour of which only its counts of events are known.
    pub(crate) fn to_summary(&self) -> HourSummary {
        HourSummary {
            events: self.events,
            goals: self.goals.clone(),
            ..HourSummary::default()
        }
    }
}

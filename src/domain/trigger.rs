//! Triggers: the rules on a webhook that decide when an event type fires.

use serde::{Deserialize, Serialize};

/// Default window of current visitors, in seconds: what Plausible and Umami both call current visitors.
pub const DEFAULT_WINDOW_SECONDS: u32 = 300;

/// `visitor_spike`: fires when the current visitors reach `threshold`.
///
/// Two triggers of one site with equal settings are one: they share their state and their episodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpikeSettings {
    /// Distinct visitors, at least 1.
    pub threshold: u32,
    /// 60 to 3,600.
    pub window_seconds: u32,
}

impl SpikeSettings {
    /// The count at or below which the trigger may arm again: min(T − 1, ⌊0.8·T⌋).
    pub fn rearm_level(self) -> u32 {
        // In u64, since 4·T leaves u32 for absurd thresholds.
        let four_fifths = u64::from(self.threshold) * 4 / 5;
        self.threshold
            .saturating_sub(1)
            .min(u32::try_from(four_fifths).unwrap_or(u32::MAX))
    }
}

/// Which names a `goal_completion` or `custom_event` trigger takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NameFilter {
    /// Every name.
    #[default]
    All,
    /// These names only, compared case-sensitively.
    Only(Vec<String>),
}

impl NameFilter {
    /// Whether the filter takes `name`.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|one| one == name),
        }
    }
}

/// The triggers of one webhook; `None` means that it does not subscribe to that event type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    pub visitor_spike: Option<SpikeSettings>,
    pub goal_completion: Option<NameFilter>,
    pub custom_event: Option<NameFilter>,
}

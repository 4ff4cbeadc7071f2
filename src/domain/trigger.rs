//! Triggers: the rules on a webhook that decide when an event type fires.

/// Triggers as JSON.
mod json;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::EventType;

/// Default window of current visitors, in seconds: what Plausible and Umami both call current
/// visitors.
pub(crate) const DEFAULT_WINDOW_SECONDS: u32 = 300;
/// Default window of a drop, in seconds: 12 hours.
pub(crate) const DEFAULT_DROP_WINDOW_SECONDS: u32 = 12 * 3_600;
/// Longest window that is counted from every visitor in it, in seconds. Longer ones are counted
/// from the latest visitors.
pub(crate) const LONGEST_SHORT_WINDOW_SECONDS: u32 = 3_600;
/// Default number of `error_events` that is too many.
pub(crate) const DEFAULT_ERROR_EVENTS: u32 = 50;
/// Default number of `rejected_events` that is too many.
pub(crate) const DEFAULT_REJECTED_EVENTS: u32 = 100;

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
    /// The count at or below which the trigger may arm again.
    pub(crate) fn rearm_level(self) -> u32 {
        let level = spike_rearm_level(self.threshold.into());
        u32::try_from(level).unwrap_or(u32::MAX)
    }
}

/// The count at or below which a spike of threshold T may arm again: min(T − 1, ⌊0.8·T⌋), which is
/// T − ⌈T/5⌉.
pub(crate) fn spike_rearm_level(threshold: u64) -> u64 {
    threshold - threshold.div_ceil(5)
}

/// `visitor_drop`: fires when the visitors within the window fall below `threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DropSettings {
    /// Distinct visitors, 1 to 4,000.
    pub threshold: u32,
    /// 300 to 86,400.
    pub window_seconds: u32,
    /// True if the trigger waits until the site's first event is older than the window.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub require_history: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl DropSettings {
    /// The count at which the trigger arms again at once: T + max(1, ⌈0.2·T⌉).
    pub(crate) fn rearm_level(self) -> u32 {
        self.threshold.saturating_add(self.threshold.div_ceil(5).max(1))
    }

    /// True if the window is too long for the table of visitors, and is counted from the latest
    /// ones.
    pub(crate) fn is_long(self) -> bool {
        self.window_seconds > LONGEST_SHORT_WINDOW_SECONDS
    }
}

/// One condition of `error_condition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ErrorSettings {
    /// So many `error` events, or custom events of a name, within the window.
    ErrorEvents {
        count: u32,
        /// Name of the custom event that is counted instead of `error` events. A condition has its
        /// type under `event`, and stands beside this in stored states.
        #[serde(default, rename = "error_event", skip_serializing_if = "Option::is_none")]
        event: Option<String>,
        window_seconds: u32,
    },
    /// So many rejected records of the site within the window.
    RejectedEvents { count: u32, window_seconds: u32 },
    /// No event of the site, or of one of its goals, for longer than is plausible.
    Silence {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        goal: Option<String>,
    },
}

impl ErrorSettings {
    /// True for rejected records.
    pub(crate) fn is_of_rejects(&self) -> bool {
        matches!(self, Self::RejectedEvents { .. })
    }

    /// The number that is reached; `None` for a silence.
    pub(crate) fn count(&self) -> Option<u32> {
        match self {
            Self::ErrorEvents { count, .. } | Self::RejectedEvents { count, .. } => Some(*count),
            Self::Silence { .. } => None,
        }
    }

    /// The word for it in payloads.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::ErrorEvents { .. } => "error_events",
            Self::RejectedEvents { .. } => "rejected_events",
            Self::Silence { .. } => "silence",
        }
    }
}

/// Options of a webhook for the episodes of one trigger. They are no part of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoticeOptions {
    /// Seconds between reminders while an episode lasts; `None` for no reminders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_after_seconds: Option<u32>,
    /// Least seconds between the beginnings of two episodes that are notified.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_interval_seconds: u32,
    /// True if the end of an episode is notified too.
    #[serde(default, skip_serializing_if = "is_no")]
    pub notify_resolved: bool,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_no(value: &bool) -> bool {
    !*value
}

/// A condition whose breaches are episodes, and a webhook's options for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeTrigger<C> {
    #[serde(flatten)]
    pub condition: C,
    #[serde(flatten)]
    pub options: NoticeOptions,
}

impl<C> From<C> for EpisodeTrigger<C> {
    fn from(condition: C) -> Self {
        Self {
            condition,
            options: NoticeOptions::default(),
        }
    }
}

/// `error_condition`: each of its conditions has episodes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorTrigger {
    /// At least one, each kind at most once.
    pub conditions: Vec<ErrorSettings>,
    pub options: NoticeOptions,
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
    /// True if the filter takes `name`.
    pub(crate) fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|one| one == name),
        }
    }
}

/// Which of the matching events are notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum NoticePace {
    #[default]
    Each,
    /// The one that makes so many of its name within so many seconds.
    AtLeast { at_least: u32, within_seconds: u32 },
    /// Each k-th of its name.
    Every(u32),
}

/// `goal_completion` and `custom_event`: fire on matching events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameTrigger {
    pub names: NameFilter,
    pub pace: NoticePace,
}

impl fmt::Display for NoticePace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each => f.write_str("of each"),
            Self::AtLeast {
                at_least,
                within_seconds,
            } => write!(f, "at {at_least} of a name within {within_seconds} s"),
            Self::Every(every) => write!(f, "of one in {every} of a name"),
        }
    }
}

impl From<NameFilter> for NameTrigger {
    fn from(names: NameFilter) -> Self {
        Self {
            names,
            pace: NoticePace::Each,
        }
    }
}

/// The triggers of one webhook; `None` means that it does not subscribe to that event type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    pub visitor_spike: Option<EpisodeTrigger<SpikeSettings>>,
    pub visitor_drop: Option<EpisodeTrigger<DropSettings>>,
    pub error_condition: Option<ErrorTrigger>,
    pub goal_completion: Option<NameTrigger>,
    pub custom_event: Option<NameTrigger>,
    /// Event types about the health of the site's other webhooks, in the order of their owner.
    pub health: Vec<EventType>,
}

impl Triggers {
    /// True if single events are counted, by `at_least` or `every`.
    pub(crate) fn count_names(&self) -> bool {
        let names = [&self.goal_completion, &self.custom_event];
        let mut paces = names.into_iter().flatten().map(|trigger| trigger.pace);
        paces.any(|pace| pace != NoticePace::Each)
    }

    /// The goal whose silence is waited for.
    pub(crate) fn silent_goal(&self) -> Option<&str> {
        let conditions = &self.error_condition.as_ref()?.conditions;
        conditions.iter().find_map(|condition| match condition {
            ErrorSettings::Silence { goal } => goal.as_deref(),
            _ => None,
        })
    }

    /// The longest window that is counted from every event in it, in seconds.
    pub(crate) fn longest_window_seconds(&self) -> u32 {
        let spike = self.visitor_spike.map(|spike| spike.condition.window_seconds);
        let drop = self.visitor_drop.map(|drop| drop.condition);
        let drop = drop
            .filter(|drop| !drop.is_long())
            .map(|drop| drop.window_seconds);
        let errors = self.error_condition.iter().flat_map(|errors| &errors.conditions);
        let errors = errors.map(|errors| match errors {
            ErrorSettings::ErrorEvents { window_seconds, .. }
            | ErrorSettings::RejectedEvents { window_seconds, .. } => *window_seconds,
            ErrorSettings::Silence { .. } => 0,
        });
        let names = [&self.goal_completion, &self.custom_event];
        let names = names.into_iter().flatten().map(|trigger| match trigger.pace {
            NoticePace::AtLeast { within_seconds, .. } => within_seconds,
            NoticePace::Each | NoticePace::Every(_) => 0,
        });
        let all = spike.into_iter().chain(drop).chain(errors).chain(names);
        all.max().unwrap_or(0)
    }
}

/// The key of the names in the settings of `goal_completion`.
pub(crate) const GOAL_NAMES: &str = "goals";
/// The key of the names in the settings of `custom_event`.
pub(crate) const EVENT_NAMES: &str = "names";

impl fmt::Display for SpikeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} visitors within {} s", self.threshold, self.window_seconds)
    }
}

impl fmt::Display for DropSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fewer than {} visitors within {} s",
            self.threshold, self.window_seconds
        )
    }
}

#[cfg(test)]
mod tests;

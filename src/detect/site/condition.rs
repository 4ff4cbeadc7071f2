//! The condition of a trigger: its identity on a site.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::event::EventType;
use crate::domain::trigger::{DropSettings, EVENT_NAMES, ErrorSettings, GOAL_NAMES, SpikeSettings};

/// A condition whose breaches are episodes. Equal conditions of several webhooks on a site are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Condition {
    VisitorSpike(SpikeSettings),
    VisitorDrop(DropSettings),
    #[serde(rename = "error_condition")]
    Errors(ErrorSettings),
    /// So many completions of a goal.
    GoalCompletion(CountSettings),
    /// So many custom events of a name.
    CustomEvent(CountSettings),
}

/// So many single events of one name within the window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct CountSettings {
    pub(crate) name: String,
    pub(crate) at_least: u32,
    pub(crate) within_seconds: u32,
}

impl CountSettings {
    fn to_json(&self, names: &str) -> Value {
        json!({names: [self.name], "at_least": self.at_least, "within_seconds": self.within_seconds})
    }
}

impl Condition {
    /// The type of the notification at the beginning of an episode.
    pub(crate) fn event(&self) -> EventType {
        match self {
            Self::VisitorSpike(_) => EventType::VisitorSpike,
            Self::VisitorDrop(_) => EventType::VisitorDrop,
            Self::Errors(_) => EventType::ErrorCondition,
            Self::GoalCompletion(_) => EventType::GoalCompletion,
            Self::CustomEvent(_) => EventType::CustomEvent,
        }
    }

    /// The type of the notification at the end of an episode; `None` if its end is not notified.
    pub(crate) fn resolved_event(&self) -> Option<EventType> {
        match self {
            Self::VisitorSpike(_) => Some(EventType::VisitorSpikeResolved),
            Self::VisitorDrop(_) => Some(EventType::VisitorDropResolved),
            Self::Errors(_) | Self::GoalCompletion(_) | Self::CustomEvent(_) => None,
        }
    }

    /// The number that is reached, or fallen below; `None` for a silence.
    pub(crate) fn threshold(&self) -> Option<u32> {
        match self {
            Self::VisitorSpike(spike) => Some(spike.threshold),
            Self::VisitorDrop(drop) => Some(drop.threshold),
            Self::Errors(errors) => errors.count(),
            Self::GoalCompletion(settings) | Self::CustomEvent(settings) => Some(settings.at_least),
        }
    }

    /// Its settings, as the API shows them.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::VisitorSpike(spike) => json!(spike),
            Self::VisitorDrop(drop) => json!(drop),
            Self::Errors(errors) => Value::Object(errors.to_json()),
            Self::GoalCompletion(settings) => settings.to_json(GOAL_NAMES),
            Self::CustomEvent(settings) => settings.to_json(EVENT_NAMES),
        }
    }

    /// The facts by which it differs from others of the same type, for ids.
    pub(crate) fn facts(&self) -> Vec<u8> {
        match self {
            Self::VisitorSpike(spike) => pair(spike.threshold, spike.window_seconds),
            Self::VisitorDrop(drop) => {
                let mut facts = pair(drop.threshold, drop.window_seconds);
                facts.push(u8::from(drop.require_history));
                facts
            }
            Self::Errors(_) | Self::GoalCompletion(_) | Self::CustomEvent(_) => {
                serde_json::to_vec(self).expect("plain data always becomes JSON")
            }
        }
    }

    /// True if it counts rejected records.
    pub(crate) fn is_of_rejects(&self) -> bool {
        matches!(self, Self::Errors(errors) if errors.is_of_rejects())
    }

    /// The settings that an edit of this condition keeps: an episode goes on under others of the
    /// same slot.
    pub(crate) fn is_edit_of(&self, other: &Self) -> bool {
        match (self, other) {
            // Another goal's silence, or the number of other errors, is another condition.
            (
                Self::Errors(ErrorSettings::Silence { goal: one }),
                Self::Errors(ErrorSettings::Silence { goal: other }),
            ) => one == other,
            (
                Self::Errors(ErrorSettings::ErrorEvents { event: one, .. }),
                Self::Errors(ErrorSettings::ErrorEvents { event: other, .. }),
            ) => one == other,
            (Self::Errors(one), Self::Errors(other)) => one.kind() == other.kind(),
            (Self::GoalCompletion(one), Self::GoalCompletion(other))
            | (Self::CustomEvent(one), Self::CustomEvent(other)) => one.name == other.name,
            _ => self.event() == other.event(),
        }
    }
}

fn pair(threshold: u32, window_seconds: u32) -> Vec<u8> {
    [threshold.to_be_bytes(), window_seconds.to_be_bytes()].concat()
}

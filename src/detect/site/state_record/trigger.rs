//! The stored form of one trigger.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::detect::site::condition::Condition;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::trigger::SpikeSettings;

/// A trigger's state of this build or of a newer one.
#[derive(Debug, Clone)]
pub(crate) enum AnyTrigger {
    Known(StoredTrigger),
    /// Kept byte for byte.
    Foreign {
        /// `None` for a condition that this build does not know.
        condition: Option<Condition>,
        /// The type of its notification, if this build knows that.
        event: Option<EventType>,
        raw: Box<RawValue>,
    },
}

/// A trigger of which there is something to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredTrigger {
    pub(crate) condition: Condition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) episode: Option<StoredEpisode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calm_since: Option<u32>,
    /// Since when the latest visitors are kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) known_since: Option<u32>,
    /// Second of the latest event whose absence it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscribers: Vec<StoredSubscriber>,
}

/// An episode that is going on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredEpisode {
    pub(crate) id: Uuid,
    pub(crate) started_at: u32,
    pub(crate) peak: u32,
    /// Events that were expected during a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<f64>,
    pub(crate) notice: StoredNotice,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_shared: bool,
}

/// The notification of an episode's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoredNotice {
    Withheld,
    Suppressed,
    Decided { at_ms: i64, at: u32 },
}

/// A webhook, and what it was notified of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSubscriber {
    pub(crate) webhook: WebhookId,
    #[serde(rename = "notified")]
    pub(crate) is_notified: bool,
    #[serde(default)]
    pub(crate) reminders: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notified_at: Option<u32>,
}

impl StoredTrigger {
    /// Makes the state of a trigger that never fired.
    pub(crate) fn armed(condition: Condition) -> Self {
        Self {
            condition,
            episode: None,
            calm_since: None,
            known_since: None,
            last: None,
            subscribers: Vec::new(),
        }
    }
}

impl AnyTrigger {
    /// Reads a trigger's state; what only a newer version knows is kept as it is.
    pub(super) fn read(raw: Box<RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Identity {
            condition: Value,
        }
        let identity = serde_json::from_str::<Identity>(raw.get());
        let settings = identity.map(|identity| identity.condition).unwrap_or_default();
        let condition = whole_condition(&settings);
        match serde_json::from_str(raw.get()) {
            Ok(known) if condition.is_some() => Self::Known(known),
            _ => Self::Foreign {
                condition,
                event: settings["event"].as_str().and_then(|event| event.parse().ok()),
                raw,
            },
        }
    }

    /// Writes a trigger's state.
    pub(super) fn write(&self) -> Box<RawValue> {
        match self {
            Self::Known(stored) => {
                serde_json::value::to_raw_value(stored).expect("plain data always becomes JSON")
            }
            Self::Foreign { raw, .. } => raw.clone(),
        }
    }

    /// True for the state of a newer version.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }
}

/// The condition with these settings; `None` if this build does not know all of them. What it does
/// not know would be lost in silence, and two conditions would be taken for one.
fn whole_condition(settings: &Value) -> Option<Condition> {
    let condition = Condition::deserialize(settings).ok()?;
    let again = serde_json::to_value(&condition).ok()?;
    (again == *settings).then_some(condition)
}

/// A firing trigger as the first build wrote it, which knew spikes only.
#[derive(Debug, Deserialize)]
pub(super) struct FirstTrigger {
    threshold: u32,
    window_seconds: u32,
    webhooks: Vec<WebhookId>,
    calm_since: Option<u32>,
    episode: FirstEpisode,
}

#[derive(Debug, Deserialize)]
struct FirstEpisode {
    id: Uuid,
    started_at: u32,
    decided_at_ms: Option<i64>,
}

impl From<FirstTrigger> for StoredTrigger {
    fn from(first: FirstTrigger) -> Self {
        let episode = first.episode;
        let notice = episode
            .decided_at_ms
            .map_or(StoredNotice::Withheld, |at_ms| StoredNotice::Decided {
                at_ms,
                at: episode.started_at,
            });
        let subscribers = first.webhooks.into_iter().map(|webhook| StoredSubscriber {
            webhook,
            is_notified: episode.decided_at_ms.is_some(),
            reminders: 0,
            notified_at: None,
        });
        Self {
            condition: Condition::VisitorSpike(SpikeSettings {
                threshold: first.threshold,
                window_seconds: first.window_seconds,
            }),
            episode: Some(StoredEpisode {
                id: episode.id,
                started_at: episode.started_at,
                peak: first.threshold,
                expected: None,
                notice,
                is_shared: false,
            }),
            calm_since: first.calm_since,
            known_since: None,
            last: None,
            subscribers: subscribers.collect(),
        }
    }
}

//! Triggers: the rules on a webhook that decide when an event type fires.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event::EventType;

/// Default window of current visitors, in seconds: what Plausible and Umami both call current
/// visitors.
pub(crate) const DEFAULT_WINDOW_SECONDS: u32 = 300;

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
    pub(crate) fn rearm_level(self) -> u32 {
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
    /// True if the filter takes `name`.
    pub(crate) fn takes(&self, name: &str) -> bool {
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
    /// Event types about the health of the site's other webhooks, in the order of their owner.
    pub health: Vec<EventType>,
}

impl Triggers {
    /// Settings by event type, as the API shows them and Postgres keeps them; types without any
    /// have no key.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(spike) = self.visitor_spike {
            let settings = json!({"threshold": spike.threshold, "window_seconds": spike.window_seconds});
            map.insert(EventType::VisitorSpike.as_str().to_owned(), settings);
        }
        let filters = [
            (EventType::GoalCompletion, GOAL_NAMES, &self.goal_completion),
            (EventType::CustomEvent, EVENT_NAMES, &self.custom_event),
        ];
        for (event, key, filter) in filters {
            if let Some(NameFilter::Only(names)) = filter {
                map.insert(event.as_str().to_owned(), json!({key: names}));
            }
        }
        map
    }

    /// Reads what [`to_json`](Self::to_json) wrote, for these event types. `None` when it holds
    /// less than they need.
    pub(crate) fn from_json(events: &[EventType], json: &Value) -> Option<Self> {
        let mut triggers = Self::default();
        for event in events {
            let settings = json.get(event.as_str());
            match event {
                EventType::VisitorSpike => {
                    triggers.visitor_spike = Some(SpikeSettings::deserialize(settings?).ok()?)
                }
                EventType::GoalCompletion => triggers.goal_completion = Some(names_in(settings, GOAL_NAMES)?),
                EventType::CustomEvent => triggers.custom_event = Some(names_in(settings, EVENT_NAMES)?),
                EventType::WebhookFailing | EventType::WebhookRecovered | EventType::WebhookDisabled => {
                    triggers.health.push(*event);
                }
                EventType::Test => return None,
            }
        }
        Some(triggers)
    }
}

/// The key of the names in the settings of `goal_completion`.
pub(crate) const GOAL_NAMES: &str = "goals";
/// The key of the names in the settings of `custom_event`.
pub(crate) const EVENT_NAMES: &str = "names";

fn names_in(settings: Option<&Value>, key: &str) -> Option<NameFilter> {
    match settings.and_then(|settings| settings.get(key)) {
        None => Some(NameFilter::All),
        Some(names) => Vec::deserialize(names).ok().map(NameFilter::Only),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_read_as_they_were_written() {
        let spike = SpikeSettings {
            threshold: 5,
            window_seconds: 300,
        };
        let only = |name: &str| Some(NameFilter::Only(vec![name.to_owned()]));
        for (events, triggers) in [
            (
                vec![EventType::VisitorSpike],
                Triggers {
                    visitor_spike: Some(spike),
                    ..Triggers::default()
                },
            ),
            (
                EventType::SUBSCRIBABLE.to_vec(),
                Triggers {
                    visitor_spike: Some(spike),
                    goal_completion: only("Signup"),
                    custom_event: only("404"),
                    health: vec![
                        EventType::WebhookFailing,
                        EventType::WebhookRecovered,
                        EventType::WebhookDisabled,
                    ],
                },
            ),
            (
                vec![EventType::CustomEvent, EventType::GoalCompletion],
                Triggers {
                    goal_completion: Some(NameFilter::All),
                    custom_event: Some(NameFilter::All),
                    ..Triggers::default()
                },
            ),
        ] {
            let json = Value::Object(triggers.to_json());
            assert_eq!(Triggers::from_json(&events, &json), Some(triggers), "{json}");
        }
    }

    #[test]
    fn a_spike_without_a_threshold_cannot_be_read() {
        assert_eq!(Triggers::from_json(&[EventType::VisitorSpike], &json!({})), None);
        assert_eq!(
            Triggers::from_json(&[EventType::VisitorSpike], &json!({"visitor_spike": {}})),
            None
        );
    }
}

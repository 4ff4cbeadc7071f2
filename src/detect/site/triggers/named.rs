//! Triggers that count the single events of a name.

use super::asked::{count_subscribers, new_rule};
use super::evaluation::Evaluation;
use super::trigger::{Trigger, TriggerInput};
use super::{CountedEvent, SiteTriggers};
use crate::detect::site::condition::{Condition, CountSettings};
use crate::detect::site::rules::machine::TriggerState;
use crate::detect::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::registry::Site;

/// Most names of goals that a site counts at one time, and of custom events.
const MAX_NAMED: usize = 1_000;

/// The result of counting an event of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountResult {
    Counted {
        /// The next instant at which something may fall due by it.
        due: Option<u32>,
    },
    /// There is no room for the name.
    Refused,
}

impl SiteTriggers {
    /// Counts a single event of a name.
    pub(crate) fn count_named(
        &mut self,
        site: &Site,
        condition: &Condition,
        counted: CountedEvent,
        segments: &mut Segments,
    ) -> CountResult {
        let (event, settings) = match condition {
            Condition::GoalCompletion(settings) => (EventType::GoalCompletion, settings),
            Condition::CustomEvent(settings) => (EventType::CustomEvent, settings),
            _ => return CountResult::Refused,
        };
        if !self.named.contains_key(condition) {
            if self.named.len() >= MAX_NAMED && self.count_names(event) >= MAX_NAMED {
                return CountResult::Refused;
            }
            let trigger = named_trigger(site, event, condition, settings);
            self.named.insert(condition.clone(), trigger);
            self.hold_foreign();
        }
        let trigger = self.named.get_mut(condition);
        CountResult::Counted {
            due: trigger.and_then(|trigger| trigger.add(counted, segments)),
        }
    }

    /// Number of the names of a type that are counted: whoever sends custom events by the thousand
    /// must not keep a goal from being counted.
    fn count_names(&self, event: EventType) -> usize {
        let of_type = self.named.keys().filter(|condition| condition.event() == event);
        of_type.count()
    }

    /// Judges the trigger that counts a name, after an event of it was counted.
    pub(crate) fn judge_named(
        &mut self,
        condition: &Condition,
        input: &TriggerInput<'_>,
        evaluation: &mut Evaluation,
    ) {
        if let Some(trigger) = self.named.get_mut(condition) {
            trigger.judge(input, evaluation);
        }
        self.settle(evaluation);
    }
}

/// Makes the trigger that counts a name.
fn named_trigger(site: &Site, event: EventType, condition: &Condition, settings: &CountSettings) -> Trigger {
    let mut trigger = Trigger {
        condition: condition.clone(),
        rule: new_rule(condition, 0),
        state: TriggerState::Armed,
        subscribers: Vec::new(),
        is_due: false,
        is_peak_untold: false,
        is_held: false,
        foreign: None,
    };
    trigger.subscribe(count_subscribers(site, event, settings), 0);
    trigger
}

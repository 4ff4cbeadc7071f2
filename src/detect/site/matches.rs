//! Meanings of a single event on its site, and the webhooks that are notified of each.
//!
//! The engine asks for every record, `sources inspect` for those that it shows: so both understand
//! an event alike.

use super::goals::GoalIndex;
use crate::domain::event::{Event, EventKind, EventType};
use crate::domain::goal::Goal;
use crate::domain::trigger::{NameTrigger, Triggers};

/// One thing that a single event is on its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// The completion of a goal that the site has configured.
    Goal(&'a Goal),
    /// The same of a goal that was configured after the record was written: nobody is notified.
    LaterGoal(&'a Goal),
    /// The completion of a goal that only the event names.
    PublishedGoal(&'a str),
    /// A custom event of this name.
    CustomEvent(&'a str),
}

impl Meaning<'_> {
    /// The type and name that webhooks subscribe to; `None` if nobody is notified.
    pub(crate) fn subscription(&self) -> Option<(EventType, &str)> {
        match self {
            Self::Goal(goal) => Some((EventType::GoalCompletion, &goal.name)),
            Self::LaterGoal(_) => None,
            Self::PublishedGoal(name) => Some((EventType::GoalCompletion, name)),
            Self::CustomEvent(name) => Some((EventType::CustomEvent, name)),
        }
    }
}

/// Hands every meaning of `event`, whose record was written at `record_ms`, to `each`. `found` is
/// scratch space.
pub(crate) fn matches(
    goals: &GoalIndex,
    event: &Event<'_>,
    record_ms: i64,
    found: &mut Vec<u32>,
    mut each: impl FnMut(Meaning<'_>),
) {
    let name = event.name.as_deref().unwrap_or_default();
    let mut has_same_name = false;
    goals.find(event, found);
    for number in found.iter() {
        let goal = goals.goal(*number);
        if goal.active_since_ms > record_ms {
            each(Meaning::LaterGoal(goal));
            continue;
        }
        has_same_name |= goal.name == name;
        each(Meaning::Goal(goal));
    }
    match event.kind {
        // Published and configured under one name, it is one completion.
        EventKind::Goal if !has_same_name => each(Meaning::PublishedGoal(name)),
        EventKind::Custom => each(Meaning::CustomEvent(name)),
        EventKind::Goal | EventKind::Pageview | EventKind::Engagement | EventKind::Error => {}
    }
}

/// The trigger that asks for single events of this type and name.
pub(crate) fn subscription<'t>(
    triggers: &'t Triggers,
    event: EventType,
    name: &str,
) -> Option<&'t NameTrigger> {
    let trigger = match event {
        EventType::GoalCompletion => triggers.goal_completion.as_ref(),
        EventType::CustomEvent => triggers.custom_event.as_ref(),
        _ => None,
    };
    trigger.filter(|trigger| trigger.names.takes(name))
}

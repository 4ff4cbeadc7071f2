//! Notifications of single events: completed goals and custom events.
//!
//! They need no state, so they are decided again whenever an uncommitted record is read again, with the same ids.

use super::goals::{GoalIndex, Heads};
use crate::detect::notification::{CompletedGoal, Decision, Origin, custom_event, goal_completion, takers};
use crate::domain::event::{Event, EventKind, EventType};
use crate::domain::registry::Site;

/// A site's configuration as far as single events need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes<'a> {
    pub(crate) site: &'a Site,
    /// Those that some webhook takes.
    pub(crate) goals: &'a GoalIndex,
    /// Which paths may complete a page goal: it spares most pageviews the look-up.
    pub(crate) page_heads: Heads,
    /// Whether some webhook takes goals.
    pub(crate) goal_completion: bool,
    /// Whether some webhook takes custom events.
    pub(crate) custom_event: bool,
}

/// Decides what `event` means to those who take single events. What is not `fresh` is not told, and its
/// type is added to `stale`. `found` is scratch space.
pub(crate) fn decide(
    takes: Takes<'_>,
    event: &Event<'_>,
    origin: Origin<'_>,
    fresh: bool,
    found: &mut Vec<u32>,
    stale: &mut Vec<EventType>,
    out: &mut Vec<Decision>,
) {
    let Takes { site, goals, .. } = takes;
    let name = event.name.as_deref().unwrap_or_default();
    let may_complete = event.kind != EventKind::Pageview
        || event
            .path
            .as_deref()
            .is_some_and(|path| takes.page_heads.may_match(path));
    if takes.goal_completion && may_complete {
        let mut told_by_name = false;
        goals.find(event, found);
        for number in found.iter() {
            let goal = goals.goal(*number);
            // A goal counts from its creation on.
            if goal.active_since_ms > origin.record_ms {
                continue;
            }
            told_by_name |= goal.name == name;
            let webhooks = takers(site, EventType::GoalCompletion, &goal.name, origin.record_ms);
            if webhooks.is_empty() {
                continue;
            }
            if fresh {
                let goal = CompletedGoal::Configured(goal);
                out.push(goal_completion(site, event, goal, origin, webhooks));
            } else {
                stale.push(EventType::GoalCompletion);
            }
        }
        // Published and configured under one name, it is one completion.
        if event.kind == EventKind::Goal && !told_by_name {
            let webhooks = takers(site, EventType::GoalCompletion, name, origin.record_ms);
            if webhooks.is_empty() {
                // Nobody takes it.
            } else if fresh {
                let goal = CompletedGoal::Published(name);
                out.push(goal_completion(site, event, goal, origin, webhooks));
            } else {
                stale.push(EventType::GoalCompletion);
            }
        }
    }
    if takes.custom_event && event.kind == EventKind::Custom {
        let webhooks = takers(site, EventType::CustomEvent, name, origin.record_ms);
        if webhooks.is_empty() {
            // Nobody takes it.
        } else if fresh {
            out.push(custom_event(site, event, name, origin, webhooks));
        } else {
            stale.push(EventType::CustomEvent);
        }
    }
}

#[cfg(test)]
mod tests;

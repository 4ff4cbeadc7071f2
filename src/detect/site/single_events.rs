//! Notifications of single events: completed goals and custom events.
//!
//! They need no state, so they are decided again whenever an uncommitted record is read again, with the same ids.

use super::goals::{GoalIndex, Heads};
use super::matches::{Meaning, matches};
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
    let may_complete = event.kind != EventKind::Pageview
        || event
            .path
            .as_deref()
            .is_some_and(|path| takes.page_heads.may_match(path));
    let is_taken =
        (takes.goal_completion && may_complete) || (takes.custom_event && event.kind == EventKind::Custom);
    if !is_taken {
        return;
    }
    let site = takes.site;
    matches(takes.goals, event, origin.record_ms, found, |meaning| {
        let Some((event_type, name)) = meaning.subscription() else {
            return;
        };
        let webhooks = takers(site, event_type, name, origin.record_ms);
        if webhooks.is_empty() {
            return;
        }
        if !fresh {
            stale.push(event_type);
            return;
        }
        out.push(match meaning {
            Meaning::Goal(goal) | Meaning::LaterGoal(goal) => {
                goal_completion(site, event, CompletedGoal::Configured(goal), origin, webhooks)
            }
            Meaning::PublishedGoal(name) => {
                goal_completion(site, event, CompletedGoal::Published(name), origin, webhooks)
            }
            Meaning::CustomEvent(name) => custom_event(site, event, name, origin, webhooks),
        });
    });
}

#[cfg(test)]
mod tests;

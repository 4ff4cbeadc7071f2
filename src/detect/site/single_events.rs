//! Notifications of single events: completed goals and custom events.
//!
//! They need no state: when an uncommitted record is read again they are decided again, with the
//! same ids.

use super::goals::GoalIndex;
use super::matches::{Meaning, matches, subscribers};
use super::path_index::PathHeads;
use crate::detect::notification::{CompletedGoal, Decision, RecordOrigin, custom_event, goal_completion};
use crate::domain::event::{Event, EventKind, EventType};
use crate::domain::registry::Site;

/// The part of a site's configuration that single events need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriptions<'a> {
    pub(crate) site: &'a Site,
    /// Goals to which some webhook subscribes.
    pub(crate) goals: &'a GoalIndex,
    /// Beginnings of the paths that may complete a page goal: they spare most pageviews the
    /// look-up.
    pub(crate) page_heads: PathHeads,
    /// True if some webhook subscribes to goals.
    pub(crate) goal_completion: bool,
    /// True if some webhook subscribes to custom events.
    pub(crate) custom_event: bool,
}

impl Subscriptions<'_> {
    /// False if no subscriber can be interested in the event.
    fn may_match(&self, event: &Event<'_>) -> bool {
        let may_complete = event.kind != EventKind::Pageview
            || event
                .path
                .as_deref()
                .is_some_and(|path| self.page_heads.may_match(path));
        (self.goal_completion && may_complete) || (self.custom_event && event.kind == EventKind::Custom)
    }
}

/// Decides the notifications of a single event. The types of those that are not `fresh` are added
/// to `stale` instead of `out`. `found` is scratch space.
pub(crate) fn decide(
    subscriptions: Subscriptions<'_>,
    event: &Event<'_>,
    origin: RecordOrigin<'_>,
    fresh: bool,
    found: &mut Vec<u32>,
    stale: &mut Vec<EventType>,
    out: &mut Vec<Decision>,
) {
    if !subscriptions.may_match(event) {
        return;
    }
    let Subscriptions { site, goals, .. } = subscriptions;
    matches(goals, event, origin.record_ms, found, |meaning| {
        let Some((event_type, name)) = meaning.subscription() else {
            return;
        };
        let webhooks = subscribers(site, event_type, name, origin.record_ms);
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

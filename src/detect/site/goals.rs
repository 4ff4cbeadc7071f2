//! The goals that an event completes.
//!
//! Goals are found by the event's name, by the whole path, or by a literal piece of a pattern, all
//! of which are looked for in one pass. So an event costs a few look-ups, whatever the number of
//! goals. Paths are compared decoded; they are redacted later.

use std::sync::Arc;

use hashbrown::HashMap;

use super::path_index::{PathEnds, PathIndex};
use super::pattern::Pattern;
use crate::domain::event::{Event, EventKind};
use crate::domain::goal::{Goal, GoalRule};

/// The goals of one site, indexed by what completes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct GoalIndex {
    goals: Vec<Arc<Goal>>,
    /// Goals on `custom` and `goal` events, by the event's name.
    events: HashMap<Box<str>, Vec<u32>>,
    /// Goals on pageviews.
    pages: PathIndex,
    /// Goals on engagement.
    scrolls: PathIndex,
}

impl GoalIndex {
    /// Makes an index of these goals; a goal's number is its position among them.
    pub(crate) fn new(goals: impl IntoIterator<Item = Arc<Goal>>) -> Self {
        let goals: Vec<_> = goals.into_iter().collect();
        let mut index = Self::default();
        let (mut pages, mut scrolls) = (Vec::new(), Vec::new());
        // A site has nowhere near 2³² goals.
        for (number, goal) in (0_u32..).zip(&goals) {
            match &goal.rule {
                GoalRule::Event { event } => {
                    let name = event.as_str().into();
                    index.events.entry(name).or_default().push(number);
                }
                GoalRule::Page { path } => pages.push((number, Pattern::new(path))),
                GoalRule::Scroll { path, .. } => scrolls.push((number, Pattern::new(path))),
            }
        }
        index.pages = PathIndex::new(pages);
        index.scrolls = PathIndex::new(scrolls);
        index.goals = goals;
        index
    }

    /// The ends of the paths that may complete a page goal.
    pub(crate) fn page_ends(&self) -> PathEnds {
        self.pages.ends()
    }

    /// A goal by its number.
    pub(crate) fn goal(&self, number: u32) -> &Goal {
        &self.goals[number as usize]
    }

    /// Replaces `found` with the numbers of the goals that `event` completes, in ascending order.
    pub(crate) fn find(&self, event: &Event<'_>, found: &mut Vec<u32>) {
        found.clear();
        match (event.kind, &event.path) {
            (EventKind::Custom | EventKind::Goal, _) => {
                let numbers = event.name.as_ref().and_then(|name| self.events.get(&**name));
                found.extend(numbers.into_iter().flatten());
            }
            (EventKind::Pageview, Some(path)) => self.pages.find(path, found),
            (EventKind::Engagement, Some(path)) => {
                let Some(depth) = event.scroll_depth.filter(|depth| *depth <= 100) else {
                    return;
                };
                self.scrolls.find(path, found);
                found.retain(|number| {
                    matches!(&self.goal(*number).rule,
                        GoalRule::Scroll { scroll_threshold, .. } if *scroll_threshold <= depth)
                });
            }
            (EventKind::Pageview | EventKind::Engagement | EventKind::Error, _) => return,
        }
        found.retain(|number| has_props(event, self.goal(*number)));
        found.sort_unstable();
    }
}

/// True if the event has every property that the goal asks for.
fn has_props(event: &Event<'_>, goal: &Goal) -> bool {
    goal.props
        .iter()
        .all(|(name, value)| event.props.get(name) == Some(value))
}

#[cfg(test)]
mod tests;

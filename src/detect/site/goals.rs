//! Which goals an event completes.
//!
//! Goals are found by the event's name, by the whole path, or by the literal beginning of a pattern, so that an event
//! costs a few look-ups however many goals its site has. Only patterns that begin with a star are tried one by one.
//! Paths are matched as they came: what is taken out of them for privacy is taken out later.

use std::sync::Arc;

use hashbrown::HashMap;

use super::pattern::Pattern;
use crate::domain::event::{Event, EventKind};
use crate::domain::goal::{Goal, GoalRule};

/// The goals of one site, made to be found.
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
    /// An index of these goals; a goal's number is its place among them.
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

    /// Which paths may complete a page goal.
    pub(crate) fn page_heads(&self) -> Heads {
        let literal = self.pages.literal.keys().map(|path| &**path);
        let starred = self.pages.prefixes.iter().map(|prefix| &*prefix.text);
        Heads::new(literal, starred)
    }

    /// A goal by its number.
    pub(crate) fn goal(&self, number: u32) -> &Goal {
        &self.goals[number as usize]
    }

    /// Whether there is no goal at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.goals.is_empty()
    }

    /// Puts the numbers of the goals that `event` completes into `found`, in the order they were given in.
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

/// Whether the event has every property the goal asks for.
fn has_props(event: &Event<'_>, goal: &Goal) -> bool {
    goal.props
        .iter()
        .all(|(name, value)| event.props.get(name) == Some(value))
}

/// What the paths that may match have in common: the kinds of byte their second place may hold, the first being `/`
/// nearly always. Small enough to stand where every event finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heads(u64);

impl Heads {
    fn new<'a>(literal: impl Iterator<Item = &'a str>, prefixes: impl Iterator<Item = &'a str>) -> Self {
        let literal = literal.map(Self::of);
        // A prefix too short to have a second byte says nothing about it.
        let prefixes = prefixes.map(|prefix| {
            if prefix.len() < 2 {
                u64::MAX
            } else {
                Self::of(prefix)
            }
        });
        Self(literal.chain(prefixes).fold(0, |all, one| all | one))
    }

    fn of(path: &str) -> u64 {
        1 << (path.as_bytes().get(1).copied().unwrap_or_default() & 63)
    }

    /// No if nothing can match the path.
    pub(crate) fn may_match(self, path: &str) -> bool {
        self.0 & Self::of(path) != 0
    }
}

/// Paths and patterns, found by what they begin with.
#[derive(Debug, Clone, Default)]
struct PathIndex {
    literal: HashMap<Box<str>, Vec<u32>>,
    /// Sorted by prefix, none twice.
    prefixes: Vec<Prefix>,
}

/// The patterns with one literal beginning.
#[derive(Debug, Clone)]
struct Prefix {
    text: Box<str>,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
    patterns: Vec<(u32, Pattern)>,
}

impl PathIndex {
    fn new(patterns: Vec<(u32, Pattern)>) -> Self {
        let mut index = Self::default();
        let (literal, mut starred): (Vec<_>, Vec<_>) = patterns
            .into_iter()
            .partition(|(_, pattern)| pattern.is_literal());
        for (number, pattern) in literal {
            let path = pattern.prefix().into();
            index.literal.entry(path).or_default().push(number);
        }
        starred.sort_by(|(_, a), (_, b)| a.prefix().cmp(b.prefix()));
        for (number, pattern) in starred {
            match index.prefixes.last_mut() {
                Some(last) if &*last.text == pattern.prefix() => last.patterns.push((number, pattern)),
                _ => {
                    let text: Box<str> = pattern.prefix().into();
                    let before = index.prefixes.len().checked_sub(1);
                    index.prefixes.push(Prefix {
                        parent: index.ancestor(before, &text),
                        text,
                        patterns: vec![(number, pattern)],
                    });
                }
            }
        }
        index
    }

    fn find(&self, path: &str, found: &mut Vec<u32>) {
        found.extend(self.literal.get(path).into_iter().flatten());
        // In sorted order, whatever stands between a prefix of the path and the path begins with that prefix too: so
        // the last one not after the path has every prefix of the path among itself and its parents.
        let last = self.prefixes.partition_point(|prefix| &*prefix.text <= path);
        let mut at = self.ancestor(last.checked_sub(1), path);
        while let Some(place) = at {
            let prefix = &self.prefixes[place];
            let matching = prefix
                .patterns
                .iter()
                .filter(|(_, pattern)| pattern.matches(path));
            found.extend(matching.map(|(number, _)| number));
            at = prefix.parent;
        }
    }

    /// The nearest of `from` and its parents that `text` begins with.
    fn ancestor(&self, mut from: Option<usize>, text: &str) -> Option<usize> {
        while let Some(place) = from {
            let prefix = &self.prefixes[place];
            if text.starts_with(&*prefix.text) {
                return from;
            }
            from = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests;

//! The part that an event plays on its site: its meanings, and whom they concern. Pure.

use super::sites::IndexedSite;
use crate::detect::site::goals::GoalIndex;
use crate::detect::site::matches::{Meaning, matches};
use crate::domain::event::{Event, EventKind, EventType};

/// The part that an event plays on its site.
#[derive(Debug, Default)]
pub(super) struct EventPart {
    /// In words.
    pub(super) counts_as: Vec<String>,
    /// Notifications that it leads to by itself.
    pub(super) notifies: usize,
    pub(super) subjects: Vec<(EventType, String)>,
    pub(super) too_early: bool,
}

impl EventPart {
    pub(super) fn none(because: &str) -> Self {
        Self {
            counts_as: vec![format!("nothing: {because}")],
            ..Self::default()
        }
    }

    /// Adds one thing that the event is, for webhooks that existed at `subscribers_ms`.
    fn add(&mut self, meaning: Meaning<'_>, site: Option<&IndexedSite>, subscribers_ms: i64) {
        self.counts_as.push(in_words(meaning));
        let Some(site) = site else {
            return;
        };
        if let Meaning::LaterGoal(goal) = meaning {
            let concerned = site.concerned(EventType::GoalCompletion, &goal.name, i64::MAX);
            self.too_early |= concerned.notified > 0;
        }
        if let Some((event, name)) = meaning.subscription() {
            let concerned = site.concerned(event, name, subscribers_ms);
            self.notifies += concerned.notified;
            self.too_early |= concerned.younger > 0;
            self.counts_as.extend(concerned.counting);
            self.subjects.push((event, name.to_owned()));
        }
    }
}

/// Finds the part that an event plays on its site.
pub(super) fn part_of(
    event: &Event<'_>,
    site: Option<&IndexedSite>,
    subscribers_ms: i64,
    stale: bool,
) -> EventPart {
    let mut part = EventPart::default();
    if event.visitor_id.is_some() {
        part.counts_as.push("a visitor".to_owned());
    }
    let no_goals = GoalIndex::default();
    let goals = site.map_or(&no_goals, |site| &site.goals);
    matches(goals, event, subscribers_ms, &mut Vec::new(), |meaning| {
        part.add(meaning, site, subscribers_ms);
    });
    if event.kind == EventKind::Error {
        part.counts_as.push("an error".to_owned());
    }
    if part.counts_as.is_empty() {
        part.counts_as.push("nothing: it has no visitor_id".to_owned());
    }
    part.too_early &= part.notifies == 0 && !event.historical && !stale;
    if event.historical {
        part.counts_as
            .push("but back-dated, which notifies nobody".to_owned());
        part.notifies = 0;
    } else if stale {
        part.counts_as.push("but too old to notify of".to_owned());
        part.notifies = 0;
    } else if part.too_early {
        part.counts_as
            .push("but older than the webhook or the goal that waits for it".to_owned());
    }
    part
}

fn in_words(meaning: Meaning<'_>) -> String {
    match meaning {
        Meaning::Goal(goal) => format!("goal \"{}\"", goal.name),
        Meaning::LaterGoal(goal) => format!("(goal \"{}\", had it been there then)", goal.name),
        Meaning::PublishedGoal(name) => format!("goal \"{name}\""),
        Meaning::CustomEvent(name) => format!("custom event \"{name}\""),
    }
}

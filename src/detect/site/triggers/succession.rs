//! Triggers that take the place of others: what an edited webhook keeps.

use super::asked::new_rule;
use super::subscriber::Subscriber;
use super::trigger::Trigger;
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Episode, TriggerState};
use crate::detect::window::occurrences::Occurrences;
use crate::detect::window::segments::Segments;
use crate::domain::trigger::ErrorSettings;

/// A trigger as it was before a change of the configuration.
#[derive(Debug)]
pub(super) struct Before {
    condition: Condition,
    state: TriggerState,
    subscribers: Vec<Subscriber>,
    last: Option<u32>,
    known_since: Option<u32>,
    /// The events that it counted.
    counted: Option<Occurrences>,
    /// True if the trigger stays: it tells the history of its episode.
    is_kept: bool,
}

impl Before {
    /// Notes a trigger.
    pub(super) fn of(trigger: &Trigger, is_kept: bool) -> Self {
        let counted = match &trigger.rule {
            Rule::Count(rule) => Some(rule.window.clone()),
            Rule::Spike(_) | Rule::Drop(_) | Rule::Silence(_) => None,
        };
        let (last, known_since) = match &trigger.rule {
            Rule::Silence(rule) => (rule.last, rule.watched_from),
            Rule::Drop(rule) => (None, Some(rule.known_since)),
            Rule::Spike(_) | Rule::Count(_) => (None, None),
        };
        Self {
            condition: trigger.condition.clone(),
            state: trigger.state,
            subscribers: trigger.subscribers.clone(),
            last,
            known_since,
            counted,
            is_kept,
        }
    }
}

impl Trigger {
    /// Notes what its webhooks were notified of by a trigger that they had before.
    pub(super) fn note_earlier(&mut self, before: &[Before]) {
        let others = before
            .iter()
            .filter(|old| old.condition != self.condition && self.condition.is_edit_of(&old.condition));
        let told: Vec<&Subscriber> = others.flat_map(|old| &old.subscribers).collect();
        for subscriber in &mut self.subscribers {
            let same = told.iter().filter(|old| old.webhook == subscriber.webhook);
            let notified_at = same.filter_map(|old| old.notified_at).max();
            subscriber.notified_at = subscriber.notified_at.max(notified_at);
        }
    }

    /// Makes a trigger that was not there before. If it replaces one, an episode of that goes on,
    /// to be judged by the new settings without a second notification.
    pub(super) fn succeeding(
        before: &[Before],
        condition: Condition,
        subscribers: Vec<Subscriber>,
        known_since: u32,
        segments: &mut Segments,
    ) -> Self {
        let mut trigger = Self {
            rule: new_rule(&condition, known_since),
            condition,
            state: TriggerState::Armed,
            subscribers,
            is_due: false,
            is_peak_untold: false,
            is_held: false,
            foreign: None,
        };
        for old in before {
            trigger.inherit(old, segments);
        }
        trigger
    }

    /// Takes over from a trigger what its webhooks were notified of, and what it knew and counted,
    /// if this one is an edit of it.
    fn inherit(&mut self, old: &Before, segments: &mut Segments) {
        let mut is_edit = false;
        for subscriber in &mut self.subscribers {
            let same = old
                .subscribers
                .iter()
                .find(|old| old.webhook == subscriber.webhook);
            let Some(same) = same.filter(|_| self.condition.is_edit_of(&old.condition)) else {
                continue;
            };
            is_edit = true;
            subscriber.is_notified |= same.is_notified;
            subscriber.notified_at = subscriber.notified_at.max(same.notified_at);
            subscriber.reminders = subscriber.reminders.max(same.reminders);
        }
        if !is_edit {
            return;
        }
        match (&mut self.rule, &old.condition) {
            (Rule::Silence(new), Condition::Errors(ErrorSettings::Silence { goal })) if new.goal == *goal => {
                new.last = new.last.max(old.last);
                new.watched_from = new.watched_from.or(old.known_since);
            }
            (Rule::Drop(new), Condition::VisitorDrop(drop))
                if new.settings.threshold <= drop.threshold && drop.is_long() =>
            {
                new.known_since = old
                    .known_since
                    .map_or(new.known_since, |since| since.min(new.known_since));
            }
            (Rule::Count(new), _) if new.window.is_empty() => {
                if let Some(counted) = &old.counted {
                    new.window = counted.adapted(new.window_seconds, new.count, segments);
                }
            }
            _ => {}
        }
        if let (false, Some(episode)) = (self.state.is_firing(), old.state.episode()) {
            self.state = TriggerState::Firing {
                episode: Episode {
                    is_shared: episode.is_shared || old.is_kept,
                    ..*episode
                },
                calm_since: None,
            };
        }
    }
}

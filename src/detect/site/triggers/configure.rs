//! Adopting the triggers that a site's webhooks ask for.

use std::collections::BTreeMap;

use super::asked::{conditions, count_subscribers, new_rule, window_lengths};
use super::subscriber::Subscriber;
use super::trigger::Trigger;
use super::{SiteTriggers, TriggerNeeds};
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Notice, TriggerState};
use crate::detect::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::ErrorSettings;

/// A trigger as it was before a change of the configuration.
#[derive(Debug)]
struct Before {
    condition: Condition,
    state: TriggerState,
    subscribers: Vec<Subscriber>,
    last: Option<u32>,
    known_since: Option<u32>,
}

impl SiteTriggers {
    /// Adopts the settings that the site's webhooks ask for. `now` is the site's second, and
    /// `known_since` that from which on the latest visitors are known for triggers that are new.
    pub(crate) fn configure(&mut self, site: &Site, now: u32, known_since: u32, segments: &mut Segments) {
        let mut old = std::mem::take(&mut self.list);
        let before: Vec<Before> = old.iter().map(Before::of).collect();
        let lengths = window_lengths(site);
        let length_of = |seconds: u32| lengths.iter().position(|length| *length == seconds);
        for (condition, subscribers) in conditions(site) {
            let same = old.iter().position(|old| old.condition == condition);
            let mut trigger = match same.map(|place| old.swap_remove(place)) {
                Some(mut kept) => {
                    kept.subscribe(subscribers, now);
                    kept.is_held = false;
                    kept
                }
                None => Trigger::succeeding(&before, condition, subscribers, known_since),
            };
            match &mut trigger.rule {
                Rule::Spike(rule) => {
                    rule.length = length_of(rule.settings.window_seconds).unwrap_or_default()
                }
                Rule::Drop(rule) if !rule.settings.is_long() => {
                    rule.length = length_of(rule.settings.window_seconds);
                }
                Rule::Drop(_) | Rule::Count(_) | Rule::Silence(_) => {}
            }
            self.list.push(trigger);
        }
        for mut gone in old {
            if gone.hold_for(&site.unreadable) {
                // No window of its length is kept meanwhile.
                match &mut gone.rule {
                    Rule::Spike(rule) => rule.length = 0,
                    Rule::Drop(rule) if rule.length.is_some() => rule.length = Some(0),
                    Rule::Drop(_) | Rule::Count(_) | Rule::Silence(_) => {}
                }
                self.list.push(gone);
            } else {
                gone.forget(segments);
            }
        }
        self.configure_named(site, now, segments);
        self.hold_foreign();
        self.note_needs();
        self.count_firing();
    }

    /// Adopts the webhooks of the conditions that count names.
    fn configure_named(&mut self, site: &Site, now: u32, segments: &mut Segments) {
        for (condition, trigger) in &mut self.named {
            let (event, settings) = match condition {
                Condition::GoalCompletion(settings) => (EventType::GoalCompletion, settings),
                Condition::CustomEvent(settings) => (EventType::CustomEvent, settings),
                _ => continue,
            };
            let subscribers = count_subscribers(site, event, settings);
            trigger.is_held = subscribers.is_empty() && trigger.hold_for(&site.unreadable);
            if !trigger.is_held {
                trigger.subscribe(subscribers, now);
            }
        }
        let mut kept = BTreeMap::new();
        for (condition, mut trigger) in std::mem::take(&mut self.named) {
            if trigger.subscribers.is_empty() {
                trigger.forget(segments);
            } else {
                kept.insert(condition, trigger);
            }
        }
        self.named = kept;
    }

    /// Holds the triggers of the types of which a newer version has stored a condition that is not
    /// known here: it may be theirs.
    pub(super) fn hold_foreign(&mut self) {
        if self.foreign.is_empty() {
            return;
        }
        let foreign: Vec<EventType> = self.foreign.iter().filter_map(|(event, _)| *event).collect();
        for trigger in self.all_mut() {
            trigger.is_held |= foreign.contains(&trigger.condition.event());
        }
    }

    /// Notes what must be known of an event before any trigger is looked at.
    fn note_needs(&mut self) {
        self.lowest_threshold = u32::MAX;
        let mut needs = TriggerNeeds::default();
        for trigger in &self.list {
            match (&trigger.condition, &trigger.rule) {
                (Condition::VisitorSpike(spike), _) => {
                    self.lowest_threshold = self.lowest_threshold.min(spike.threshold);
                }
                (Condition::VisitorDrop(drop), _) => {
                    needs.timers = true;
                    if drop.is_long() {
                        needs.latest = needs.latest.max(drop.rearm_level());
                    }
                    needs.without_events |= !drop.require_history;
                }
                (Condition::Errors(errors), _) => match errors {
                    ErrorSettings::ErrorEvents { .. } => needs.errors = true,
                    ErrorSettings::RejectedEvents { .. } => needs.rejects = true,
                    ErrorSettings::Silence { .. } => {
                        needs.silence = true;
                        needs.timers = true;
                    }
                },
                (Condition::GoalCompletion(_) | Condition::CustomEvent(_), _) => {}
            }
        }
        self.needs = needs;
    }
}

impl Trigger {
    /// Replaces the webhooks; those that stay keep what they were notified of.
    pub(super) fn subscribe(&mut self, subscribers: Vec<Subscriber>, now: u32) {
        let old = std::mem::replace(&mut self.subscribers, subscribers);
        let notified_at = match self.state.episode().map(|episode| episode.notice) {
            Some(Notice::Decided { at, .. }) => Some(at),
            _ => None,
        };
        for subscriber in &mut self.subscribers {
            let Some(old) = old.iter().find(|old| old.webhook == subscriber.webhook) else {
                continue;
            };
            subscriber.is_notified = old.is_notified;
            subscriber.notified_at = old.notified_at;
            subscriber.reminders = old.reminders;
            // Reminders that are asked for, or come sooner, in the middle of an episode begin with
            // the next one.
            if let Some(at) = notified_at.filter(|_| old.options != subscriber.options) {
                subscriber.skip_reminders(at, now);
            }
        }
    }

    /// Makes a trigger that was not there before. If it replaces one, an episode of that goes on,
    /// to be judged by the new settings without a second notification.
    fn succeeding(
        before: &[Before],
        condition: Condition,
        subscribers: Vec<Subscriber>,
        known_since: u32,
    ) -> Self {
        let active_ms = subscribers.iter().map(|one| one.since_ms).min().unwrap_or(0);
        let mut trigger = Self {
            rule: new_rule(&condition, known_since, active_ms),
            condition,
            state: TriggerState::Armed,
            subscribers,
            is_due: false,
            is_held: false,
            foreign: None,
        };
        for old in before {
            let mut is_edit = false;
            for subscriber in &mut trigger.subscribers {
                let same = old
                    .subscribers
                    .iter()
                    .find(|old| old.webhook == subscriber.webhook);
                let Some(same) = same.filter(|_| trigger.condition.is_edit_of(&old.condition)) else {
                    continue;
                };
                is_edit = true;
                subscriber.is_notified |= same.is_notified;
                subscriber.notified_at = subscriber.notified_at.max(same.notified_at);
                subscriber.reminders = subscriber.reminders.max(same.reminders);
            }
            if !is_edit {
                continue;
            }
            match (&mut trigger.rule, &old.condition) {
                (Rule::Silence(new), Condition::Errors(ErrorSettings::Silence { goal }))
                    if new.goal == *goal =>
                {
                    new.last = new.last.max(old.last);
                    new.watched_from = new.watched_from.or(old.known_since);
                }
                (Rule::Drop(new), Condition::VisitorDrop(drop))
                    if new.settings.threshold <= drop.threshold =>
                {
                    new.known_since = old
                        .known_since
                        .map_or(new.known_since, |since| since.min(new.known_since));
                }
                _ => {}
            }
            if let (false, Some(episode)) = (trigger.state.is_firing(), old.state.episode()) {
                trigger.state = TriggerState::Firing {
                    episode: *episode,
                    calm_since: None,
                };
            }
        }
        trigger
    }

    /// Holds a trigger that no readable webhook asks for, as it is, for those of its webhooks that
    /// are stored and cannot be read here: they are not deleted. False if there is none.
    fn hold_for(&mut self, unreadable: &[WebhookId]) -> bool {
        let is_unreadable = |one: &Subscriber| unreadable.contains(&one.webhook);
        if !self.subscribers.iter().any(is_unreadable) {
            return false;
        }
        self.subscribers.retain(is_unreadable);
        self.is_held = true;
        true
    }

    /// Gives back what it holds.
    pub(super) fn forget(&mut self, segments: &mut Segments) {
        if let Rule::Count(rule) = &mut self.rule {
            rule.window.clear(segments);
        }
    }
}

impl Before {
    fn of(trigger: &Trigger) -> Self {
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
        }
    }
}

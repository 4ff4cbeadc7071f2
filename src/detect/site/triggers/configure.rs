//! Adopting the triggers that a site's webhooks ask for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::asked::{conditions, count_subscribers, name_trigger, window_lengths};
use super::evaluation::EpisodeChange;
use super::subscriber::{Subscriber, active_since};
use super::succession::Before;
use super::trigger::Trigger;
use super::{SiteTriggers, TriggerNeeds};
use crate::detect::site::condition::{Condition, CountSettings};
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Episode, Notice};
use crate::detect::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::{ErrorSettings, NoticePace};
use crate::domain::webhook::Subscription;

impl SiteTriggers {
    /// Adopts the settings that the site's webhooks ask for. `now` is the site's second, and
    /// `known_since` that from which on the latest visitors are known for triggers that are new.
    pub(crate) fn configure(&mut self, site: &Site, now: u32, known_since: u32, segments: &mut Segments) {
        let mut old = std::mem::take(&mut self.list);
        let wanted = conditions(site);
        let is_kept = |old: &Trigger| {
            let asking = wanted.get(&old.condition);
            asking.is_some_and(|asking| !old.is_of_others(asking, &site.unreadable))
        };
        let before: Vec<Before> = old.iter().map(|old| Before::of(old, is_kept(old))).collect();
        let lengths = window_lengths(site);
        let length_of = |seconds: u32| lengths.iter().position(|length| *length == seconds);
        for (condition, subscribers) in wanted {
            let is_same = |old: &Trigger| {
                old.condition == condition && !old.is_of_others(&subscribers, &site.unreadable)
            };
            let same = old.iter().position(is_same);
            let mut trigger = match same.map(|place| old.swap_remove(place)) {
                Some(mut kept) => {
                    kept.subscribe(subscribers, now);
                    kept.note_earlier(&before);
                    kept.is_held = false;
                    kept
                }
                None => Trigger::succeeding(&before, condition, subscribers, known_since, segments),
            };
            match &mut trigger.rule {
                Rule::Spike(rule) => {
                    rule.length = length_of(rule.settings.window_seconds).unwrap_or_default()
                }
                Rule::Drop(rule) => {
                    rule.active_since = active_since(&trigger.subscribers);
                    if !rule.settings.is_long() {
                        rule.length = length_of(rule.settings.window_seconds);
                    }
                }
                Rule::Count(_) | Rule::Silence(_) => {}
            }
            self.list.push(trigger);
        }
        let mut all_gone = Vec::new();
        for mut gone in old {
            match gone.hold_for(&site.unreadable) {
                true => self.list.push(gone),
                false => all_gone.push(gone),
            }
        }
        self.configure_named(site, now, segments, &mut all_gone);
        self.share_episodes();
        for gone in all_gone {
            self.end(gone, now, segments);
        }
        self.hold_foreign();
        self.note_needs();
        self.count_firing();
    }

    /// Lets go of a trigger for which nobody asks any more. Its episode ends, unless it goes on
    /// under other settings.
    pub(super) fn end(&mut self, mut gone: Trigger, now: u32, segments: &mut Segments) {
        gone.forget(segments);
        let Some(episode) = gone.state.episode().copied() else {
            return;
        };
        if episode.is_shared {
            return;
        }
        let running = self.all_mut().filter_map(|one| one.state.episode_mut());
        let mut others: Vec<&mut Episode> = running.filter(|other| other.id == episode.id).collect();
        let is_told = others.iter().any(|other| !other.is_shared);
        if let Some(other) = others.first_mut() {
            // One of them tells its end from now on.
            other.is_shared &= is_told;
            return;
        }
        self.ended.push(EpisodeChange {
            condition: gone.condition,
            episode,
            webhooks: gone.subscribers.iter().map(|one| one.webhook).collect(),
            ended_at: Some(now.max(episode.started_at)),
        });
    }

    /// Takes the episodes that ended because nobody asks for their trigger any more.
    pub(crate) fn take_ended(&mut self) -> Vec<EpisodeChange> {
        std::mem::take(&mut self.ended)
    }

    /// Adopts the webhooks of the conditions that count names.
    fn configure_named(
        &mut self,
        site: &Site,
        now: u32,
        segments: &mut Segments,
        all_gone: &mut Vec<Trigger>,
    ) {
        let mut gone = Vec::new();
        for (condition, mut trigger) in std::mem::take(&mut self.named) {
            let (event, settings) = match &condition {
                Condition::GoalCompletion(settings) => (EventType::GoalCompletion, settings),
                Condition::CustomEvent(settings) => (EventType::CustomEvent, settings),
                _ => continue,
            };
            let subscribers = count_subscribers(site, event, settings);
            let is_left = subscribers.is_empty() && !trigger.hold_for(&site.unreadable);
            if is_left || trigger.is_of_others(&subscribers, &site.unreadable) {
                gone.push(trigger);
                continue;
            }
            trigger.is_held = subscribers.is_empty();
            if !trigger.is_held {
                trigger.subscribe(subscribers, now);
            }
            self.named.insert(condition, trigger);
        }
        for old in gone {
            let before = [Before::of(&old, false)];
            for condition in edited(site, &old) {
                let (Condition::GoalCompletion(settings) | Condition::CustomEvent(settings)) = &condition
                else {
                    continue;
                };
                if self.named.contains_key(&condition) {
                    continue;
                }
                let subscribers = count_subscribers(site, condition.event(), settings);
                let trigger = Trigger::succeeding(&before, condition.clone(), subscribers, 0, segments);
                self.named.insert(condition, trigger);
            }
            all_gone.push(old);
        }
    }

    /// Marks all but one of the triggers under which an episode goes on.
    fn share_episodes(&mut self) {
        let mut known = HashSet::new();
        let episodes = self.all_mut().filter_map(|one| one.state.episode_mut());
        for episode in episodes.filter(|episode| !episode.is_shared) {
            episode.is_shared = !known.insert(episode.id);
        }
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

    /// Holds a trigger that no readable webhook asks for, as it is, for those of its webhooks that
    /// are stored and cannot be read here: they are not deleted. False if there is none.
    fn hold_for(&mut self, unreadable: &[WebhookId]) -> bool {
        let is_unreadable = |one: &Subscriber| unreadable.contains(&one.webhook);
        if !self.subscribers.iter().any(is_unreadable) {
            return false;
        }
        self.subscribers.retain(is_unreadable);
        self.is_held = true;
        // No window of its length is kept meanwhile.
        match &mut self.rule {
            Rule::Spike(rule) => rule.length = 0,
            Rule::Drop(rule) if rule.length.is_some() => rule.length = Some(0),
            Rule::Drop(_) | Rule::Count(_) | Rule::Silence(_) => {}
        }
        true
    }

    /// Gives back what it holds.
    pub(super) fn forget(&mut self, segments: &mut Segments) {
        if let Rule::Count(rule) = &mut self.rule {
            rule.window.clear(segments);
        }
    }
}

/// The conditions for which the webhooks of a trigger that counts a name ask now.
fn edited(site: &Site, old: &Trigger) -> BTreeSet<Condition> {
    let (event, name) = match &old.condition {
        Condition::GoalCompletion(settings) => (EventType::GoalCompletion, &settings.name),
        Condition::CustomEvent(settings) => (EventType::CustomEvent, &settings.name),
        _ => return BTreeSet::new(),
    };
    let is_subscribed = |webhook: &&Arc<Subscription>| {
        let mut subscribers = old.subscribers.iter();
        webhook.enabled && subscribers.any(|one| one.webhook == webhook.id)
    };
    let webhooks = site.webhooks.iter().filter(is_subscribed);
    let triggers = webhooks.filter_map(|webhook| name_trigger(webhook, event));
    triggers
        .filter(|trigger| trigger.names.takes(name))
        .filter_map(|trigger| match trigger.pace {
            NoticePace::AtLeast {
                at_least,
                within_seconds,
            } => {
                let settings = CountSettings {
                    name: name.clone(),
                    at_least,
                    within_seconds,
                };
                Some(match event {
                    EventType::GoalCompletion => Condition::GoalCompletion(settings),
                    _ => Condition::CustomEvent(settings),
                })
            }
            _ => None,
        })
        .collect()
}

//! Adopting the triggers that a site's webhooks ask for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::asked::{conditions, count_subscribers, name_trigger, new_rule, window_lengths};
use super::evaluation::EpisodeChange;
use super::subscriber::{Subscriber, active_since};
use super::trigger::Trigger;
use super::{SiteTriggers, TriggerNeeds};
use crate::detect::site::condition::{Condition, CountSettings};
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Episode, Notice, TriggerState};
use crate::detect::window::occurrences::Occurrences;
use crate::detect::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::{ErrorSettings, NoticePace};
use crate::domain::webhook::Subscription;

/// A trigger as it was before a change of the configuration.
#[derive(Debug)]
struct Before {
    condition: Condition,
    state: TriggerState,
    subscribers: Vec<Subscriber>,
    last: Option<u32>,
    known_since: Option<u32>,
    /// The events that it counted.
    counted: Option<Occurrences>,
    /// True if somebody asks for the same condition still.
    is_kept: bool,
}

impl SiteTriggers {
    /// Adopts the settings that the site's webhooks ask for. `now` is the site's second, and
    /// `known_since` that from which on the latest visitors are known for triggers that are new.
    pub(crate) fn configure(&mut self, site: &Site, now: u32, known_since: u32, segments: &mut Segments) {
        let mut old = std::mem::take(&mut self.list);
        let wanted = conditions(site);
        let before: Vec<Before> = old
            .iter()
            .map(|old| Before::of(old, wanted.contains_key(&old.condition)))
            .collect();
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
        share_episodes(&mut self.list);
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
                self.end(gone, now, segments);
            }
        }
        self.configure_named(site, now, segments);
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
        let goes_on = |one: &Trigger| one.state.episode().is_some_and(|other| other.id == episode.id);
        if episode.is_shared || self.all().any(goes_on) {
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
    fn configure_named(&mut self, site: &Site, now: u32, segments: &mut Segments) {
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
            self.end(old, now, segments);
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

    /// Notes what its webhooks were notified of by a trigger that they had before.
    fn note_earlier(&mut self, before: &[Before]) {
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
    fn succeeding(
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
    fn of(trigger: &Trigger, is_kept: bool) -> Self {
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

/// Marks all but one of the triggers under which an episode goes on.
fn share_episodes(list: &mut [Trigger]) {
    let mut known = HashSet::new();
    let episodes = list.iter_mut().filter_map(|trigger| trigger.state.episode_mut());
    for episode in episodes.filter(|episode| !episode.is_shared) {
        episode.is_shared = !known.insert(episode.id);
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

//! Triggers as they are stored, and back.

use super::SiteTriggers;
use super::asked::new_rule;
use super::subscriber::Subscriber;
use super::trigger::Trigger;
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Episode, Notice, TriggerState};
use crate::detect::site::state_record::trigger::{
    AnyTrigger, StoredEpisode, StoredNotice, StoredSubscriber, StoredTrigger,
};

impl SiteTriggers {
    /// Makes the triggers that were stored. [`Self::configure`] must follow. `now` is the second at
    /// which they were stored.
    pub(crate) fn restore(stored: Vec<AnyTrigger>, now: u32) -> Self {
        let mut triggers = Self::none();
        for one in stored {
            match one {
                AnyTrigger::Known(stored) => triggers.put(from_stored(stored, now)),
                AnyTrigger::Foreign {
                    condition: Some(condition),
                    raw,
                    ..
                } => {
                    let mut trigger = from_stored(StoredTrigger::armed(condition), now);
                    trigger.foreign = Some(raw);
                    triggers.put(trigger);
                }
                AnyTrigger::Foreign {
                    condition: None,
                    event,
                    raw,
                } => triggers.foreign.push((event, raw)),
            }
        }
        triggers
    }

    fn put(&mut self, trigger: Trigger) {
        match trigger.condition {
            Condition::GoalCompletion(_) | Condition::CustomEvent(_) => {
                self.named.insert(trigger.condition.clone(), trigger);
            }
            Condition::VisitorSpike(_) | Condition::VisitorDrop(_) | Condition::Errors(_) => {
                self.list.push(trigger);
            }
        }
    }

    /// The triggers of which there is something to store, at `now`.
    pub(crate) fn stored(&self, now: u32) -> Vec<AnyTrigger> {
        let own = self.all().filter_map(|trigger| match &trigger.foreign {
            Some(raw) => Some(AnyTrigger::Foreign {
                condition: Some(trigger.condition.clone()),
                event: Some(trigger.condition.event()),
                raw: raw.clone(),
            }),
            None => to_stored(trigger, now).map(AnyTrigger::Known),
        });
        let foreign = self.foreign.iter().map(|(event, raw)| AnyTrigger::Foreign {
            condition: None,
            event: *event,
            raw: raw.clone(),
        });
        own.chain(foreign).collect()
    }

    /// The states by which a change of the configuration is noticed.
    pub(crate) fn lasting_stored(&self, now: u32) -> Vec<StoredTrigger> {
        let all = self.all().filter_map(|trigger| to_stored(trigger, now));
        all.filter(|stored| stored.episode.is_some() || stored.known_since.is_some())
            .collect()
    }
}

fn to_stored(trigger: &Trigger, now: u32) -> Option<StoredTrigger> {
    let (episode, calm_since) = match trigger.state {
        TriggerState::Armed => (None, None),
        TriggerState::Firing { episode, calm_since } => (Some(store_episode(episode)), calm_since),
    };
    let (known_since, last) = match &trigger.rule {
        Rule::Drop(rule) if rule.length.is_none() => (Some(rule.known_since), None),
        Rule::Silence(rule) => (rule.watched_from.filter(|_| rule.last.is_none()), rule.last),
        Rule::Spike(_) | Rule::Drop(_) | Rule::Count(_) => (None, None),
    };
    let subscribers: Vec<StoredSubscriber> = trigger
        .subscribers
        .iter()
        .filter(|one| episode.is_some() || one.is_interval_running(now))
        .map(|one| StoredSubscriber {
            webhook: one.webhook,
            is_notified: one.is_notified,
            reminders: one.reminders,
            notified_at: one.notified_at.filter(|_| one.is_interval_running(now)),
        })
        .collect();
    // A trigger of which nothing is stored is armed.
    let matters = episode.is_some() || known_since.is_some() || last.is_some() || !subscribers.is_empty();
    matters.then(|| StoredTrigger {
        condition: trigger.condition.clone(),
        episode,
        calm_since,
        known_since,
        last,
        subscribers,
    })
}

fn store_episode(episode: Episode) -> StoredEpisode {
    StoredEpisode {
        id: episode.id,
        started_at: episode.started_at,
        peak: episode.peak,
        expected: episode.expected,
        is_shared: episode.is_shared,
        notice: match episode.notice {
            Notice::Withheld => StoredNotice::Withheld,
            Notice::Suppressed => StoredNotice::Suppressed,
            Notice::Decided { at_ms, at } => StoredNotice::Decided { at_ms, at },
        },
    }
}

fn from_stored(stored: StoredTrigger, now: u32) -> Trigger {
    let mut rule = new_rule(&stored.condition, stored.known_since.unwrap_or(now));
    if let Rule::Silence(rule) = &mut rule {
        (rule.last, rule.watched_from) = (stored.last, stored.known_since);
    }
    let state = stored
        .episode
        .map_or(TriggerState::Armed, |episode| TriggerState::Firing {
            episode: Episode {
                id: episode.id,
                started_at: episode.started_at,
                peak: episode.peak,
                expected: episode.expected,
                is_shared: episode.is_shared,
                notice: match episode.notice {
                    StoredNotice::Withheld => Notice::Withheld,
                    StoredNotice::Suppressed => Notice::Suppressed,
                    StoredNotice::Decided { at_ms, at } => Notice::Decided { at_ms, at },
                },
            },
            calm_since: stored.calm_since,
        });
    let subscribers = stored.subscribers.into_iter().map(|one| Subscriber {
        webhook: one.webhook,
        since_ms: 0,
        options: Default::default(),
        is_notified: one.is_notified,
        reminders: one.reminders,
        notified_at: one.notified_at,
    });
    Trigger {
        rule,
        condition: stored.condition,
        state,
        subscribers: subscribers.collect(),
        is_due: false,
        is_peak_untold: false,
        is_held: false,
        foreign: None,
    }
}

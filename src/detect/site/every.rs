//! Counters of the webhooks that are notified of each k-th event of a name.

use std::collections::BTreeMap;

use super::state_record::StoredEvery;
use super::triggers::asked::name_trigger;
use crate::domain::event::EventType;
use crate::domain::goal_renames::GoalRenames;
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::NoticePace;

/// Most names that a webhook counts: beyond them, the count of another one is forgotten.
const MAX_NAMES: usize = 1_000;

/// The counters of a site.
#[derive(Debug, Default)]
pub(crate) struct EveryCounters {
    list: Vec<StoredEvery>,
}

/// The result of counting an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EveryResult {
    Counted,
    /// It was the k-th.
    Reached,
    /// Counted, and the count of another name was forgotten for it.
    CountedForAnother,
    /// No webhook counts it.
    Refused,
}

impl EveryCounters {
    /// Adopts the webhooks of a site. A counter begins anew only with another k.
    pub(crate) fn configure(&mut self, site: &Site) {
        let mut old = std::mem::take(&mut self.list);
        for webhook in &site.webhooks {
            for event in [EventType::GoalCompletion, EventType::CustomEvent] {
                let Some(NoticePace::Every(every)) = name_trigger(webhook, event).map(|trigger| trigger.pace)
                else {
                    continue;
                };
                let is_same =
                    |old: &StoredEvery| (old.webhook, old.event, old.every) == (webhook.id, event, every);
                let kept = old.iter().position(is_same).map(|place| old.swap_remove(place));
                self.list.push(kept.unwrap_or(StoredEvery {
                    webhook: webhook.id,
                    event,
                    every,
                    counts: BTreeMap::new(),
                }));
            }
        }
        // A webhook that is stored and cannot be read here is not deleted.
        old.retain(|counter| site.unreadable.contains(&counter.webhook));
        self.list.append(&mut old);
    }

    /// True if no webhook counts anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives goals that were renamed their new names.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames) {
        let of_goals = self.list.iter_mut();
        for counter in of_goals.filter(|one| one.event == EventType::GoalCompletion) {
            let before = std::mem::take(&mut counter.counts);
            for (name, count) in before {
                let kept = counter.counts.entry(renames.after(&name).to_owned()).or_default();
                *kept = (*kept).max(count);
            }
        }
    }

    /// Names of the goals that are counted.
    pub(crate) fn goal_names(&self) -> impl Iterator<Item = &str> {
        let of_goals = self
            .list
            .iter()
            .filter(|one| one.event == EventType::GoalCompletion);
        of_goals.flat_map(|counter| counter.counts.keys().map(String::as_str))
    }

    /// Adopts stored counters; [`Self::configure`] must follow.
    pub(crate) fn restore(&mut self, stored: Vec<StoredEvery>) {
        self.list = stored;
    }

    /// The counters that are not at zero.
    pub(crate) fn stored(&self) -> Vec<StoredEvery> {
        let counted = self.list.iter().filter(|one| !one.counts.is_empty());
        counted.cloned().collect()
    }

    /// Counts an event of a name for a webhook.
    pub(crate) fn count(&mut self, webhook: WebhookId, event: EventType, name: &str) -> EveryResult {
        let own = self.list.iter_mut();
        let Some(counter) = own
            .into_iter()
            .find(|one| one.webhook == webhook && one.event == event)
        else {
            return EveryResult::Refused;
        };
        let counts = &mut counter.counts;
        let is_evicting = !counts.contains_key(name) && counts.len() >= MAX_NAMES;
        if is_evicting {
            // The one that lacks most until its notification.
            let least = counts.iter().min_by_key(|(_, count)| **count);
            if let Some(least) = least.map(|(name, _)| name.clone()) {
                counts.remove(&least);
            }
        }
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        if *count >= counter.every {
            counts.remove(name);
            return EveryResult::Reached;
        }
        match is_evicting {
            true => EveryResult::CountedForAnother,
            false => EveryResult::Counted,
        }
    }
}

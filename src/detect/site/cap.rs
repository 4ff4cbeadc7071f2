//! The bound on the notifications of single events that a webhook gets in a minute. Beyond it they
//! become one summary for each goal or name, when the minute ends.

use std::collections::{BTreeMap, HashMap};

use hashbrown::HashSet;

use crate::detect::notification::{Decision, body};
use crate::domain::event::EventType;
use crate::domain::goal_renames::GoalRenames;
use crate::domain::id::{GoalId, NotificationId, NotificationKind, WebhookId};
use crate::domain::notification::NotificationData;
use crate::domain::registry::Site;

/// Most notifications of single events that a webhook gets in a minute of event time.
pub(crate) const MAX_PER_MINUTE: usize = 600;
/// Most distinct visitors that a summary counts.
const MAX_VISITORS: usize = 65_536;
/// Most notifications beyond the bound of which a second copy is known.
const MAX_BEYOND_IDS: usize = 65_536;
/// Most goals and names of which a webhook gets summaries for a minute; the others share one.
const MAX_SUMMARIES: usize = 1_000;

/// The name of the summary of everything that found no room among the others.
const OTHERS: &str = "others";

/// The webhooks of a site, each with its latest minute.
#[derive(Debug, Default)]
pub(crate) struct MinuteCaps {
    minutes: HashMap<WebhookId, WebhookMinute>,
    /// The creation or last enabling of each webhook, in milliseconds since the Unix epoch.
    active_since_ms: HashMap<WebhookId, i64>,
    /// Number of minutes that end with a summary.
    exceeded: usize,
}

/// The notifications of one webhook in one minute.
#[derive(Debug, Default)]
struct WebhookMinute {
    minute: u32,
    /// Notifications that it got, each once: a second copy of an event is the same.
    sent: HashSet<NotificationId>,
    beyond: BTreeMap<SummaryKey, Beyond>,
    /// The notifications beyond the bound, as far as there is room.
    beyond_ids: HashSet<NotificationId>,
}

/// One goal or name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SummaryKey {
    pub(crate) event: EventType,
    pub(crate) name: String,
    /// A goal that the site has configured.
    pub(crate) goal: Option<GoalId>,
}

/// Notifications beyond the bound.
#[derive(Debug, Default)]
struct Beyond {
    count: u32,
    visitors: HashSet<u64>,
}

impl MinuteCaps {
    /// Gives configured goals their new names: the summary of a goal is one, whatever its name was
    /// in the minute.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames) {
        for own in self.minutes.values_mut() {
            for (mut key, beyond) in std::mem::take(&mut own.beyond) {
                if key.goal.is_some() {
                    renames.apply(&mut key.name);
                }
                let kept = own.beyond.entry(key).or_default();
                kept.count += beyond.count;
                kept.visitors.extend(beyond.visitors);
            }
        }
    }

    /// Counts a notification at `now`, the site's second. Returns false if it is beyond the bound
    /// and was taken up in a summary.
    pub(crate) fn admit(
        &mut self,
        webhook: WebhookId,
        notification: NotificationId,
        now: u32,
        key: impl FnOnce() -> SummaryKey,
        visitor: Option<u64>,
    ) -> bool {
        let own = self.minutes.entry(webhook).or_default();
        let minute = now / 60;
        // A minute that is exceeded ends with its summary, by a timer.
        if own.minute != minute && own.beyond.is_empty() {
            own.minute = minute;
            own.sent.clear();
            own.beyond_ids.clear();
        }
        if own.sent.contains(&notification) {
            return true;
        }
        if own.sent.len() < MAX_PER_MINUTE {
            own.sent.insert(notification);
            return true;
        }
        if own.beyond_ids.contains(&notification) {
            return false;
        }
        if own.beyond_ids.len() < MAX_BEYOND_IDS {
            own.beyond_ids.insert(notification);
        }
        self.exceeded += usize::from(own.beyond.is_empty());
        let mut key = key();
        if own.beyond.len() >= MAX_SUMMARIES && !own.beyond.contains_key(&key) {
            (key.name, key.goal) = (OTHERS.to_owned(), None);
        }
        let beyond = own.beyond.entry(key).or_default();
        beyond.count += 1;
        if let Some(visitor) = visitor.filter(|_| beyond.visitors.len() < MAX_VISITORS) {
            beyond.visitors.insert(visitor);
        }
        false
    }

    /// Forgets the webhooks that the site does not have any more. What came before the last
    /// enabling of another is in no summary; what it got counts towards the bound still.
    pub(crate) fn configure(&mut self, site: &Site) {
        let active = site.webhooks.iter().map(|one| (one.id, one.active_since_ms));
        let before = std::mem::replace(&mut self.active_since_ms, active.collect());
        for (webhook, own) in &mut self.minutes {
            if before.get(webhook) != self.active_since_ms.get(webhook) {
                own.beyond.clear();
                own.beyond_ids.clear();
            }
        }
        self.minutes
            .retain(|webhook, _| self.active_since_ms.contains_key(webhook));
        let exceeded = self.minutes.values().filter(|one| !one.beyond.is_empty());
        self.exceeded = exceeded.count();
    }

    /// The second at which the first exceeded minute ends.
    pub(crate) fn due(&self) -> Option<u32> {
        if self.exceeded == 0 {
            return None;
        }
        let exceeded = self.minutes.values().filter(|one| !one.beyond.is_empty());
        exceeded.map(WebhookMinute::end).min()
    }

    /// The summaries of the minutes that have ended by `now`. `at_ms` becomes part of their ids.
    pub(crate) fn pass(&mut self, now: u32, site: &Site, at_ms: i64) -> Vec<Decision> {
        let mut summaries = Vec::new();
        if self.due().is_none_or(|due| due > now) {
            return summaries;
        }
        for (webhook, own) in &mut self.minutes {
            if own.beyond.is_empty() || own.end() > now {
                continue;
            }
            self.exceeded -= 1;
            let end = own.end();
            own.beyond_ids.clear();
            for (key, beyond) in std::mem::take(&mut own.beyond) {
                summaries.push(summary(site, *webhook, own.minute, end, &key, &beyond, at_ms));
            }
        }
        self.minutes.retain(|_, own| own.end() > now);
        summaries.sort_by_key(|summary| summary.id);
        summaries
    }
}

impl WebhookMinute {
    /// The second at which it ends.
    fn end(&self) -> u32 {
        self.minute.saturating_add(1).saturating_mul(60)
    }
}

fn summary(
    site: &Site,
    webhook: WebhookId,
    minute: u32,
    end: u32,
    key: &SummaryKey,
    beyond: &Beyond,
    at_ms: i64,
) -> Decision {
    // No more than are kept.
    let visitor_count = beyond.visitors.len() as u32;
    let data = match key.event {
        EventType::GoalCompletion => NotificationData::GoalCompletion {
            goal_name: &key.name,
            visitor_count,
            path: None,
            count: Some(beyond.count),
            revenue: None,
            props: None,
        },
        _ => NotificationData::CustomEvent {
            name: &key.name,
            path: None,
            visitor_count,
            count: Some(beyond.count),
        },
    };
    let goal = key.goal.map(|goal| goal.uuid().into_bytes());
    let subject = goal.as_ref().map_or(key.name.as_bytes(), |goal| goal.as_slice());
    let minute_bytes = minute.to_be_bytes();
    let webhook_id = webhook.uuid();
    let id = NotificationId::derive(
        at_ms,
        site.id.as_str(),
        key.event.as_str(),
        NotificationKind::Summary,
        &[webhook_id.as_bytes(), subject, &minute_bytes],
    );
    Decision {
        id,
        event: key.event,
        site_id: site.id.clone(),
        body: body(site, id, key.event, i64::from(end) * 1_000, data),
        webhooks: vec![webhook],
        created_at_ms: at_ms,
        record: None,
        episode: None,
    }
}

#[cfg(test)]
mod tests;

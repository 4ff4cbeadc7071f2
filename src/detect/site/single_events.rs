//! Notifications of single events: completed goals and custom events, each of them, those that
//! reach a number, and each k-th.
//!
//! Those of each event need no state: when an uncommitted record is read again they are decided
//! again, with the same ids.

use super::cap::SummaryKey;
use super::condition::{Condition, CountSettings};
use super::every::EveryResult;
use super::matches::{Meaning, matches};
use super::passing::Passing;
use super::second_copies::SecondCopy;
use super::site_outcome::SiteOutcome;
use super::triggers::CountedEvent;
use super::triggers::evaluation::Evaluation;
use super::triggers::named::CountResult;
use super::triggers::trigger::Cause;
use super::{PartitionResources, SiteState};
use crate::detect::notification::{CompletedGoal, Counting, Decision, RecordOrigin, SingleEvent};
use crate::domain::event::{Event, EventType};
use crate::domain::id::{GoalId, WebhookId};
use crate::domain::registry::Site;
use crate::telemetry::words::SuppressReason;
use paced::PacedSubscribers;

/// Webhooks by the pace at which they are notified.
mod paced;

/// Most ids that are remembered for the sake of rates alone. Where more come in ten minutes, a
/// silence is told by the least time that it takes, and not by the rate.
const MAX_IDS_FOR_RATES: usize = 10_000;

/// A record whose event is looked at, and what it may lead to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occurring<'a> {
    pub(crate) event: &'a Event<'a>,
    pub(crate) origin: RecordOrigin<'a>,
    pub(crate) counted: CountedEvent,
    /// Hash of the event's id, if it has one of its own.
    pub(crate) event_id: Option<u64>,
    /// True if a second copy of the event has ids of its own.
    pub(crate) is_copy_another: bool,
    /// True below the committed offset: windows are rebuilt, and nothing is notified.
    pub(crate) is_replayed: bool,
    /// True if the loaded state accounts for the record.
    pub(crate) is_covered: bool,
    /// True if the event is recent enough for a notification.
    pub(crate) is_fresh: bool,
}

/// A name of which an event is one more.
#[derive(Debug, Clone, Copy)]
struct NamedEvent<'a> {
    event: EventType,
    name: &'a str,
    meaning: Meaning<'a>,
}

impl NamedEvent<'_> {
    fn goal(&self) -> Option<GoalId> {
        match self.meaning {
            Meaning::Goal(goal) | Meaning::LaterGoal(goal) => Some(goal.id),
            Meaning::PublishedGoal(_) | Meaning::CustomEvent(_) => None,
        }
    }

    fn summary_key(&self) -> SummaryKey {
        SummaryKey {
            event: self.event,
            name: self.name.to_owned(),
            goal: self.goal(),
        }
    }

    fn decision(
        &self,
        site: &Site,
        occurring: &Occurring<'_>,
        counting: Counting<'_>,
        webhooks: Vec<WebhookId>,
    ) -> Decision {
        let single = SingleEvent {
            site,
            event: occurring.event,
            origin: occurring.origin,
            counting,
        };
        match self.meaning {
            Meaning::Goal(goal) | Meaning::LaterGoal(goal) => {
                single.goal_completion(CompletedGoal::Configured(goal), webhooks)
            }
            Meaning::PublishedGoal(name) => single.goal_completion(CompletedGoal::Published(name), webhooks),
            Meaning::CustomEvent(name) => single.custom_event(name, webhooks),
        }
    }
}

impl SiteState {
    /// Decides the notifications of a single event. `found` is scratch space; `refused` counts
    /// names that found no room.
    pub(crate) fn decide_single(
        &mut self,
        occurring: &Occurring<'_>,
        passing: &Passing,
        resources: &mut PartitionResources,
        found: &mut Vec<u32>,
        refused: &mut u64,
        copy: &mut SecondCopy,
    ) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        if !self.subscriptions().may_match(occurring.event) {
            return outcome;
        }
        // The goals are put back: while they are asked, the rest of the state changes.
        let goals = std::mem::take(&mut self.goals);
        matches(
            &goals,
            occurring.event,
            occurring.origin.record_ms,
            found,
            |meaning| {
                let Some((event, name)) = meaning.subscription() else {
                    return;
                };
                if event == EventType::GoalCompletion && !self.is_copy(occurring, resources, refused, copy) {
                    self.note_goal(name, occurring);
                }
                let subject = NamedEvent { event, name, meaning };
                let mut wanted = PacedSubscribers::find(&self.site, event, name, occurring.origin.record_ms);
                if occurring.is_copy_another && self.is_copy(occurring, resources, refused, copy) {
                    return;
                }
                if !occurring.is_replayed {
                    let webhooks = std::mem::take(&mut wanted.each);
                    self.notify_each(&subject, webhooks, occurring, &mut outcome);
                }
                if !wanted.is_counting() {
                    return;
                }
                if !self.is_copy(occurring, resources, refused, copy) {
                    self.count_every(&subject, &wanted, occurring, resources, &mut outcome, refused);
                    self.count_at_least(
                        &subject,
                        &wanted,
                        occurring,
                        passing,
                        resources,
                        &mut outcome,
                        refused,
                    );
                }
            },
        );
        self.goals = goals;
        outcome
    }

    /// Notes an event that completed a goal.
    fn note_goal(&mut self, name: &str, occurring: &Occurring<'_>) {
        if !occurring.is_replayed && !occurring.is_covered {
            self.activity.add_goal(name);
        }
        if self.triggers.watches_silence() && self.triggers.note_event(Some(name), occurring.counted.second) {
            self.next_due = 0;
        }
    }

    /// True if the event is a second copy of one that was counted in the latest minutes.
    pub(super) fn is_copy(
        &mut self,
        occurring: &Occurring<'_>,
        resources: &mut PartitionResources,
        refused: &mut u64,
        copy: &mut SecondCopy,
    ) -> bool {
        let segment = occurring.counted.segment;
        self.is_known(occurring.event_id, segment, resources, refused, copy)
    }

    /// True if an event is a second copy that must not count where silences are judged by rates.
    pub(crate) fn is_copy_in_rates(
        &mut self,
        occurring: &Occurring<'_>,
        resources: &mut PartitionResources,
        refused: &mut u64,
        copy: &mut SecondCopy,
    ) -> bool {
        self.triggers.watches_silence()
            && !occurring.event.historical
            && self.recent_ids.len() < MAX_IDS_FOR_RATES
            && self.is_copy(occurring, resources, refused, copy)
    }

    fn notify_each(
        &mut self,
        subject: &NamedEvent<'_>,
        webhooks: Vec<WebhookId>,
        occurring: &Occurring<'_>,
        outcome: &mut SiteOutcome,
    ) {
        if webhooks.is_empty() {
            return;
        }
        if !occurring.is_fresh {
            outcome.withheld.push((subject.event, SuppressReason::Stale));
            return;
        }
        let mut decision = subject.decision(&self.site, occurring, Counting::Each, webhooks);
        if self.admit(subject, &mut decision, occurring, outcome) {
            outcome.ready.push(decision);
        }
    }

    /// Keeps the webhooks of a notification that have not had their most for this minute. Returns
    /// false if there are none.
    fn admit(
        &mut self,
        subject: &NamedEvent<'_>,
        decision: &mut Decision,
        occurring: &Occurring<'_>,
        outcome: &mut SiteOutcome,
    ) -> bool {
        let (now, visitor) = (self.window.now(), occurring.counted.visitor);
        let (id, webhooks) = (decision.id, &mut decision.webhooks);
        let before = webhooks.len();
        webhooks.retain(|webhook| {
            self.caps
                .admit(*webhook, id, now, || subject.summary_key(), visitor)
        });
        if webhooks.len() < before {
            // A summary falls due at the minute's end.
            self.look_by(self.caps.due());
            let summarised = std::iter::repeat_n(
                (subject.event, SuppressReason::Summarised),
                before - webhooks.len(),
            );
            outcome.withheld.extend(summarised);
        }
        !webhooks.is_empty()
    }

    fn count_every(
        &mut self,
        subject: &NamedEvent<'_>,
        wanted: &PacedSubscribers,
        occurring: &Occurring<'_>,
        resources: &mut PartitionResources,
        outcome: &mut SiteOutcome,
        refused: &mut u64,
    ) {
        if occurring.is_covered || wanted.every.is_empty() {
            return;
        }
        self.note_unsaved(occurring.counted.segment, &mut resources.segments);
        let mut reached: Vec<(u32, Vec<WebhookId>)> = Vec::new();
        for (webhook, every) in &wanted.every {
            match self.every.count(*webhook, subject.event, subject.name) {
                EveryResult::Counted => {}
                EveryResult::CountedForAnother | EveryResult::Refused => *refused += 1,
                EveryResult::Reached => match reached.iter_mut().find(|(known, _)| known == every) {
                    Some((_, webhooks)) => webhooks.push(*webhook),
                    None => reached.push((*every, vec![*webhook])),
                },
            }
        }
        for (every, webhooks) in reached {
            if occurring.is_replayed {
                continue;
            }
            if !occurring.is_fresh {
                outcome.withheld.push((subject.event, SuppressReason::Stale));
                continue;
            }
            let facts = [b"every".as_slice(), &every.to_be_bytes()].concat();
            let counting = Counting::Reached {
                visitors: 1,
                facts: &facts,
            };
            let mut decision = subject.decision(&self.site, occurring, counting, webhooks);
            if !self.admit(subject, &mut decision, occurring, outcome) {
                continue;
            }
            decision.episode = Some(decision.id.uuid());
            outcome.decided += 1;
            // Records of several sources may be mixed otherwise when they are read again, and
            // another event be the k-th: the state that counts this one goes first.
            outcome.changed = true;
            self.unconfirmed.push(decision.id.uuid(), decision);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the record, the site's surroundings and the results"
    )]
    fn count_at_least(
        &mut self,
        subject: &NamedEvent<'_>,
        wanted: &PacedSubscribers,
        occurring: &Occurring<'_>,
        passing: &Passing,
        resources: &mut PartitionResources,
        outcome: &mut SiteOutcome,
        refused: &mut u64,
    ) {
        for (at_least, within_seconds) in &wanted.at_least {
            let settings = CountSettings {
                name: subject.name.to_owned(),
                at_least: *at_least,
                within_seconds: *within_seconds,
            };
            let condition = match subject.event {
                EventType::GoalCompletion => Condition::GoalCompletion(settings),
                _ => Condition::CustomEvent(settings),
            };
            let site = &self.site;
            let segments = &mut resources.segments;
            match self
                .triggers
                .count_named(site, &condition, occurring.counted, segments)
            {
                CountResult::Counted { due } => self.look_by(due),
                CountResult::Refused => {
                    *refused += 1;
                    continue;
                }
            }
            if !occurring.is_replayed && !occurring.is_covered {
                self.judge_named(subject, &condition, occurring, passing, outcome);
            }
        }
    }

    fn judge_named(
        &mut self,
        subject: &NamedEvent<'_>,
        condition: &Condition,
        occurring: &Occurring<'_>,
        passing: &Passing,
        outcome: &mut SiteOutcome,
    ) {
        let mut evaluation = Evaluation::default();
        let now = self.window.now();
        let (triggers, input) = self.triggers_and_input(passing, Cause::Record(occurring.origin));
        triggers.judge_named(condition, &input, &mut evaluation);
        if evaluation.changed {
            outcome.changed = true;
            self.next_due = 0;
        }
        outcome.withheld.extend(evaluation.withheld);
        self.add_entries(evaluation.episodes, outcome);
        for notice in evaluation.notices {
            let facts = condition.facts();
            let counting = Counting::Reached {
                visitors: notice.visitors,
                facts: &facts,
            };
            let at_now = Occurring {
                origin: RecordOrigin {
                    event_ms: i64::from(now) * 1_000,
                    ..occurring.origin
                },
                ..*occurring
            };
            let mut decision = subject.decision(&self.site, &at_now, counting, notice.webhooks);
            if !self.admit(subject, &mut decision, occurring, outcome) {
                continue;
            }
            decision.episode = Some(notice.episode.id);
            for entry in &mut outcome.episodes {
                if entry.id == notice.episode.id {
                    entry.notification = Some(decision.id);
                }
            }
            outcome.decided += 1;
            self.unconfirmed.push(notice.episode.id, decision);
        }
    }
}

#[cfg(test)]
mod tests;

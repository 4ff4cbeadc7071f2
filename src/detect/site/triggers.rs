//! The triggers of one site, and the effects of events and of time on them.

/// One trigger.
pub(crate) mod trigger;
/// One webhook of a trigger.
pub(crate) mod subscriber;
/// Effects of an evaluation.
pub(crate) mod evaluation;
/// The conditions that webhooks ask for.
pub(crate) mod asked;
/// Adopting them.
mod configure;
/// Triggers that take the place of others.
mod succession;
/// Rules whose visitors or events are not known from some second on.
pub(crate) mod lacking;
/// Triggers that count errors and rejected records.
mod counting;
/// Triggers that count names.
pub(super) mod named;
/// Triggers as they are stored.
mod stored;
/// Triggers of renamed goals.
mod renaming;
/// Peaks of the episodes going on.
mod peaks;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::condition::Condition;
use super::rules::Rule;
use super::rules::reading::{Occasion, SiteReading};
use crate::detect::window::segments::{Segment, Segments};
use crate::domain::event::EventType;
use crate::domain::site_now::TriggerNow;
use crate::telemetry::words::SuppressReason;
use evaluation::{EpisodeChange, Evaluation};
use trigger::{Trigger, TriggerInput};

/// Most reminders passed over that a trigger counts at one time.
const MAX_SKIPPED: u32 = 1_000;

/// All triggers of a site. Equal conditions of several webhooks are one trigger.
#[derive(Debug)]
pub(crate) struct SiteTriggers {
    list: Vec<Trigger>,
    /// Below it no spike fires.
    lowest_threshold: u32,
    /// Number of triggers that are firing.
    firing: u32,
    /// True if the peak of an episode going on changed at an event.
    has_grown: bool,
    pub(super) needs: TriggerNeeds,
    /// Triggers that count single events, one a name, while there are any to count.
    named: BTreeMap<Condition, Trigger>,
    /// States of conditions that only a newer version knows, with their types if they are known.
    foreign: Vec<(Option<EventType>, Box<RawValue>)>,
    /// Episodes that ended because nobody asks for their trigger any more, until they are taken.
    ended: Vec<EpisodeChange>,
}

/// The parts of an event and of time that a site's triggers ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TriggerNeeds {
    /// Number of latest visitors to keep.
    pub(crate) latest: u32,
    /// Something may fire by a timer.
    pub(crate) timers: bool,
    /// Something may fire on a site that never had an event.
    pub(crate) without_events: bool,
    errors: bool,
    rejects: bool,
    silence: bool,
}

/// An event that a trigger counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountedEvent {
    pub(crate) second: u32,
    /// The site's second, by which it is judged if the event is too old.
    pub(crate) now: u32,
    pub(crate) visitor: Option<u64>,
    pub(crate) segment: Segment,
}

/// The next look at a site's triggers without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NextLook {
    /// The earliest instant at which something falls due.
    pub(crate) at: Option<u32>,
    /// True if something that only a timer decides was due before now.
    pub(crate) is_overdue: bool,
}

impl SiteTriggers {
    /// Makes an empty list.
    pub(crate) fn none() -> Self {
        Self {
            list: Vec::new(),
            lowest_threshold: u32::MAX,
            firing: 0,
            has_grown: false,
            needs: TriggerNeeds::default(),
            named: BTreeMap::new(),
            foreign: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Trigger> {
        self.list.iter().chain(self.named.values())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Trigger> {
        self.list.iter_mut().chain(self.named.values_mut())
    }

    fn count_firing(&mut self) {
        // A site has nowhere near 2³² triggers.
        self.firing = self.all().filter(|one| one.state.is_firing()).count() as u32;
    }

    /// Number of episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.firing
    }

    /// Adds the number of episodes going on of each type.
    pub(crate) fn add_episodes(&self, counts: &mut BTreeMap<EventType, u64>) {
        if self.firing == 0 {
            return;
        }
        for trigger in self.all().filter(|one| one.state.is_firing()) {
            *counts.entry(trigger.condition.event()).or_default() += 1;
        }
    }

    /// The episodes going on.
    pub(crate) fn running(&self) -> impl Iterator<Item = EpisodeChange> + '_ {
        self.all().filter_map(Trigger::running)
    }

    /// True if something of them is known to a newer version only.
    pub(crate) fn has_foreign(&self) -> bool {
        !self.foreign.is_empty() || self.all().any(Trigger::is_passed_on)
    }

    /// The next look without an event, as far as it can be told now.
    pub(crate) fn next_look(&self, reading: SiteReading<'_>) -> NextLook {
        let mut next = NextLook::default();
        for trigger in self.all() {
            let Some(due) = trigger.due(reading) else {
                continue;
            };
            if due <= reading.now() && trigger.waits_for_timer() {
                next.is_overdue = true;
            } else {
                next.at = Some(next.at.map_or(due, |at: u32| at.min(due)));
            }
        }
        next
    }

    /// Marks the triggers that are to be judged at `at`, before the clock is moved there.
    /// `includes_overdue` is false between two records of a batch: what only a timer decides and
    /// was due before waits, because the next record may hold what is missing.
    pub(crate) fn mark_due(&mut self, at: u32, includes_overdue: bool, reading: SiteReading<'_>) {
        for trigger in self.all_mut() {
            let waits = !includes_overdue && trigger.waits_for_timer();
            let due = trigger.due(reading).filter(|due| !waits || *due > reading.now());
            trigger.is_due = due.is_some_and(|due| due <= at);
        }
    }

    /// Marks the triggers whose episodes were withheld, because the time may be recent by now.
    /// Returns true if there are any.
    pub(crate) fn mark_withheld(&mut self) -> bool {
        let mut are_any = false;
        for trigger in self.all_mut() {
            trigger.is_due = trigger.state.is_withheld() && trigger.rule.fires_on() == Occasion::Timer;
            are_any |= trigger.is_due;
        }
        are_any
    }

    /// Judges the triggers that were marked, at the instant for which they were.
    pub(crate) fn pass(&mut self, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        for trigger in self.all_mut() {
            if std::mem::take(&mut trigger.is_due) {
                trigger.judge(input, evaluation);
                trigger.remind(input, evaluation);
            }
        }
        self.settle(evaluation);
    }

    /// Forgets what has left the windows of the rules that count events by themselves. On a log
    /// those of rejected records go by other times.
    pub(crate) fn advance(&mut self, now: u32, is_live: bool, segments: &mut Segments) {
        if self.needs.errors || self.needs.rejects || !self.named.is_empty() {
            for trigger in self.all_mut() {
                if let Rule::Count(rule) = &mut trigger.rule
                    && (is_live || !trigger.condition.is_of_rejects())
                {
                    rule.window.advance(now, segments);
                }
            }
            self.named.retain(|_, trigger| !trigger.is_idle());
        }
    }

    /// Judges the triggers on an event that is counted in the windows.
    pub(crate) fn judge(&mut self, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        // No length counts more than the longest one: at nearly every event nothing more is looked
        // at.
        if self.firing == 0 && input.reading.window.live() < self.lowest_threshold {
            return;
        }
        for trigger in &mut self.list {
            if !matches!(trigger.rule, Rule::Count(_)) {
                trigger.judge(input, evaluation);
            }
        }
        self.settle(evaluation);
    }

    fn settle(&mut self, evaluation: &Evaluation) {
        self.has_grown |= evaluation.has_grown;
        if evaluation.changed {
            self.count_firing();
        }
    }

    /// The state of each webhook's trigger.
    pub(crate) fn phases(&self, reading: SiteReading<'_>) -> Vec<TriggerNow> {
        let all = self.all();
        all.flat_map(|trigger| {
            let (state, since) = trigger.phase(reading);
            trigger.subscribers.iter().map(move |subscriber| TriggerNow {
                webhook_id: subscriber.webhook,
                event: trigger.condition.event(),
                state,
                since,
                threshold: trigger.condition.threshold(),
            })
        })
        .collect()
    }

    /// Passes over the reminders up to an instant: the next one's number tells how many. Returns
    /// what is not sent.
    pub(crate) fn skip_reminders(&mut self, until: u32) -> Vec<(EventType, SuppressReason)> {
        let mut skipped = Vec::new();
        for trigger in self.all_mut() {
            let event = trigger.condition.event();
            let count = trigger.skip_reminders(until).min(MAX_SKIPPED) as usize;
            skipped.extend(std::iter::repeat_n((event, SuppressReason::Summarised), count));
        }
        skipped
    }

    /// True if the time of the latest event matters.
    pub(crate) fn watches_silence(&self) -> bool {
        self.needs.silence
    }

    /// The goals whose silence is waited for; `None` is the site's.
    pub(crate) fn silences(&self) -> impl Iterator<Item = Option<Box<str>>> {
        self.list.iter().filter_map(|trigger| match &trigger.rule {
            Rule::Silence(rule) => Some(rule.goal.as_deref().map(Into::into)),
            Rule::Spike(_) | Rule::Drop(_) | Rule::Count(_) => None,
        })
    }

    /// True if a rule waits for completions of a goal of this name.
    pub(crate) fn waits_for_goal(&self, name: &str) -> bool {
        self.list
            .iter()
            .any(|trigger| matches!(&trigger.rule, Rule::Silence(rule) if rule.goal.as_deref() == Some(name)))
    }

    /// True if a rule waits for completions of any goal.
    pub(crate) fn waits_for_goals(&self) -> bool {
        self.list
            .iter()
            .any(|trigger| matches!(&trigger.rule, Rule::Silence(rule) if rule.goal.is_some()))
    }

    /// Notes an event of the site, or of one of its goals, for the rules that wait for silence.
    /// Returns true if something may fall due sooner by it: mostly it only falls due later.
    pub(crate) fn note_event(&mut self, goal: Option<&str>, second: u32) -> bool {
        let mut is_sooner = false;
        for trigger in &mut self.list {
            if let Rule::Silence(rule) = &mut trigger.rule
                && rule.goal.as_deref() == goal
            {
                is_sooner |= rule.note(second) || trigger.state.is_firing();
            }
        }
        is_sooner
    }

    /// Lets the rules that wait for silence, and have seen no event, begin to watch at a second.
    /// Returns true if one begins.
    pub(crate) fn watch_from(&mut self, second: u32) -> bool {
        let rules = self
            .list
            .iter_mut()
            .filter_map(|trigger| match &mut trigger.rule {
                Rule::Silence(rule) => Some(rule),
                Rule::Spike(_) | Rule::Drop(_) | Rule::Count(_) => None,
            });
        rules.fold(false, |begins, rule| begins | rule.watch_from(second))
    }

    /// Gives back what the rules hold.
    pub(crate) fn release(&mut self, segments: &mut Segments) {
        for trigger in self.all_mut() {
            trigger.forget(segments);
        }
    }
}

//! Triggers that count errors and rejected records, and the counting of all that count.

use super::evaluation::Evaluation;
use super::trigger::{Trigger, TriggerInput};
use super::{CountedEvent, SiteTriggers};
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::window::segments::Segments;
use crate::domain::event::{Event, EventKind};
use crate::domain::trigger::ErrorSettings;

impl SiteTriggers {
    /// True if an event of this kind, or its record's rejection, is counted by a rule of its own.
    pub(crate) fn counts_errors(&self, event: &Event<'_>) -> bool {
        self.needs.errors && self.list.iter().any(|trigger| trigger.counts_error(event))
    }

    /// True if errors or rejected records are counted.
    pub(crate) fn counts_single(&self) -> bool {
        self.needs.errors || self.needs.rejects
    }

    /// True if rejected records are counted.
    pub(crate) fn counts_rejects(&self) -> bool {
        self.needs.rejects
    }

    /// Counts an event as an error, where it is one. Returns the next instant at which something
    /// may fall due by it, if it was counted.
    ///
    /// An error of `record_ms`, before all webhooks of a trigger, is not its own: it would count
    /// only where it is read again.
    pub(crate) fn add_error(
        &mut self,
        event: &Event<'_>,
        counted: CountedEvent,
        record_ms: i64,
        segments: &mut Segments,
    ) -> Option<u32> {
        let mut due = None;
        for trigger in &mut self.list {
            if trigger.counts_error(event) && trigger.was_there(record_ms) {
                due = earlier(due, trigger.add(counted, segments));
            }
        }
        due
    }

    /// Forgets what has left the windows of the rules that count rejected records, which go by the
    /// times of the records.
    pub(crate) fn advance_rejects(&mut self, now: u32, segments: &mut Segments) {
        for trigger in &mut self.list {
            if trigger.condition.is_of_rejects()
                && let Rule::Count(rule) = &mut trigger.rule
            {
                rule.window.advance(now, segments);
            }
        }
    }

    /// Counts a rejected record of `record_ms`, as [`Self::add_error`] does an error. Returns the
    /// next instant at which something may fall due by it, if it was counted.
    pub(crate) fn add_reject(
        &mut self,
        counted: CountedEvent,
        record_ms: i64,
        segments: &mut Segments,
    ) -> Option<u32> {
        let mut due = None;
        for trigger in &mut self.list {
            if trigger.condition.is_of_rejects() && trigger.was_there(record_ms) {
                due = earlier(due, trigger.add(counted, segments));
            }
        }
        due
    }

    /// Judges the rules that count errors, or those that count rejected records, after one was
    /// counted.
    pub(crate) fn judge_errors(
        &mut self,
        are_rejects: bool,
        input: &TriggerInput<'_>,
        evaluation: &mut Evaluation,
    ) {
        for trigger in &mut self.list {
            if matches!(trigger.rule, Rule::Count(_)) && trigger.condition.is_of_rejects() == are_rejects {
                trigger.judge(input, evaluation);
            }
        }
        self.settle(evaluation);
    }
}

/// The earlier of two instants, where there are any.
fn earlier(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    [one, other].into_iter().flatten().min()
}

impl Trigger {
    /// True if an event is an error that it counts.
    fn counts_error(&self, event: &Event<'_>) -> bool {
        match &self.condition {
            Condition::Errors(ErrorSettings::ErrorEvents { event: None, .. }) => {
                event.kind == EventKind::Error
            }
            Condition::Errors(ErrorSettings::ErrorEvents {
                event: Some(name), ..
            }) => event.kind == EventKind::Custom && event.name.as_deref() == Some(name),
            _ => false,
        }
    }

    /// True if one of its webhooks was there at a time.
    fn was_there(&self, record_ms: i64) -> bool {
        self.subscribers.iter().any(|one| one.since_ms <= record_ms)
    }

    /// Counts an event. Returns the instant at which the first of those counted leaves the window:
    /// before that nothing falls due by them. `None` if it was too old to be counted.
    pub(super) fn add(&mut self, counted: CountedEvent, segments: &mut Segments) -> Option<u32> {
        let Rule::Count(rule) = &mut self.rule else {
            return None;
        };
        rule.window.advance(counted.now, segments);
        rule.window
            .add(counted.second, counted.visitor, counted.segment, segments);
        rule.window.next_expiry()
    }

    /// True if it holds nothing that a new one would not.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = match &self.rule {
            Rule::Count(rule) => rule.window.is_empty(),
            Rule::Spike(_) | Rule::Drop(_) | Rule::Silence(_) => false,
        };
        is_empty && !self.state.is_firing() && self.foreign.is_none()
    }
}

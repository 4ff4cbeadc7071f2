//! Errors of a site: `error` events, and records that could not be read.

use super::passing::Passing;
use super::second_copies::SecondCopy;
use super::single_events::Occurring;
use super::site_outcome::SiteOutcome;
use super::triggers::CountedEvent;
use super::triggers::evaluation::Evaluation;
use super::triggers::trigger::Cause;
use super::{PartitionResources, SiteState};
use crate::detect::notification::RecordOrigin;
use crate::detect::window::segments::Segments;

impl SiteState {
    /// Counts an event as an error where a trigger asks for it, and judges.
    pub(crate) fn count_error(
        &mut self,
        occurring: &Occurring<'_>,
        passing: &Passing,
        resources: &mut PartitionResources,
        refused: &mut u64,
        copy: &mut SecondCopy,
    ) -> SiteOutcome {
        if !self.triggers.counts_errors(occurring.event) || self.is_copy(occurring, resources, refused, copy)
        {
            return SiteOutcome::default();
        }
        let (segments, record_ms) = (&mut resources.segments, occurring.origin.record_ms);
        let due = self
            .triggers
            .add_error(occurring.event, occurring.counted, record_ms, segments);
        if due.is_none() {
            return SiteOutcome::default();
        }
        self.look_by(due);
        match occurring.is_replayed || occurring.is_covered {
            true => SiteOutcome::default(),
            false => self.judge_errors(None, occurring.origin, passing),
        }
    }

    /// Judges the rules that count errors after one from `origin`, or those that count rejected
    /// records after one of the second `rejected_at`.
    fn judge_errors(
        &mut self,
        rejected_at: Option<u32>,
        origin: RecordOrigin<'_>,
        passing: &Passing,
    ) -> SiteOutcome {
        let mut evaluation = Evaluation::default();
        let (triggers, mut input) = self.triggers_and_input(passing, Cause::Record(origin));
        // The times of records cannot be compared with those of a log's events.
        if let Some(second) = rejected_at.filter(|_| input.reading.is_log) {
            input.reading.now = second;
        }
        triggers.judge_errors(rejected_at.is_some(), &input, &mut evaluation);
        self.conclude(evaluation, passing.record)
    }

    /// Forgets the rejected records that were written too long before `second`, so that their
    /// segments are not held for ever. Only the next one tells if there was none for long enough.
    pub(crate) fn forget_rejects(&mut self, second: u32, segments: &mut Segments) {
        if self.triggers.counts_rejects() {
            self.triggers.advance_rejects(second, segments);
        }
    }

    /// Counts a rejected record of the site where a trigger asks for it, and judges.
    pub(crate) fn count_reject(
        &mut self,
        counted: CountedEvent,
        record_ms: i64,
        judged: Option<(RecordOrigin<'_>, &Passing)>,
        resources: &mut PartitionResources,
    ) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        // On a log no timer tells that there was none for long enough, since these records have
        // times of their own: the next one does.
        self.triggers
            .advance_rejects(counted.second, &mut resources.segments);
        if let Some((origin, passing)) = judged {
            outcome.add(self.judge_errors(Some(counted.second), origin, passing));
        }
        let due = self
            .triggers
            .add_reject(counted, record_ms, &mut resources.segments);
        if due.is_some() {
            self.look_by(due);
            if let Some((origin, passing)) = judged {
                outcome.add(self.judge_errors(Some(counted.second), origin, passing));
            }
        }
        outcome
    }
}

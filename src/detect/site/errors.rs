//! Errors of a site: `error` events, and records that could not be read.

use super::passing::Passing;
use super::single_events::{Occurring, SecondCopy};
use super::site_outcome::SiteOutcome;
use super::triggers::CountedEvent;
use super::triggers::evaluation::Evaluation;
use super::triggers::trigger::{Cause, TriggerInput};
use super::{PartitionResources, SiteState};
use crate::detect::notification::RecordOrigin;

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
        if !self.triggers.counts_errors(occurring.event) || self.is_known(occurring, resources, refused, copy)
        {
            return SiteOutcome::default();
        }
        let segments = &mut resources.segments;
        let due = self
            .triggers
            .add_error(occurring.event, occurring.counted, segments);
        if due.is_none() {
            return SiteOutcome::default();
        }
        self.look_by(due);
        match occurring.is_replayed || occurring.is_covered {
            true => SiteOutcome::default(),
            false => self.judge_errors(occurring.origin, passing),
        }
    }

    /// Judges the rules that count errors and rejected records, after one from `origin`.
    pub(crate) fn judge_errors(&mut self, origin: RecordOrigin<'_>, passing: &Passing) -> SiteOutcome {
        let mut evaluation = Evaluation::default();
        let input = TriggerInput {
            site_id: self.id.as_str(),
            reading: passing.reading(
                &self.window,
                &self.latest,
                self.first_event,
                self.activity.rates(),
            ),
            cause: Cause::Record(origin),
            is_fresh: passing.is_fresh(self.window.now()),
        };
        self.triggers.judge_errors(&input, &mut evaluation);
        self.take_up(evaluation, passing.record)
    }

    /// Counts a rejected record of the site where a trigger asks for it, and judges.
    pub(crate) fn count_reject(
        &mut self,
        counted: CountedEvent,
        judged: Option<(RecordOrigin<'_>, &Passing)>,
        resources: &mut PartitionResources,
    ) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        // On a log no timer tells that there was none for long enough, since these records have
        // times of their own: the next one does.
        self.triggers
            .advance_rejects(counted.second, &mut resources.segments);
        if let Some((origin, passing)) = judged {
            outcome.add(self.judge_errors(origin, passing));
        }
        let due = self.triggers.add_reject(counted, &mut resources.segments);
        if due.is_some() {
            self.look_by(due);
            if let Some((origin, passing)) = judged {
                outcome.add(self.judge_errors(origin, passing));
            }
        }
        outcome
    }
}

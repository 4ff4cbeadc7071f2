//! The passing of time on a site: everything that falls due on the way happens in order, at its own
//! instant.

use super::passing::Passing;
use super::site_outcome::SiteOutcome;
use super::triggers::evaluation::Evaluation;
use super::{PartitionResources, SiteState};
use crate::telemetry::words::SuppressReason;

/// Most notifications of episodes that one move of a site's clock gives; after that, reminders are
/// skipped. A log may have a gap of a year, with a reminder due in each hour of it.
const MAX_NOTICES: usize = 100;

/// Most evaluations at one instant. Each changes something, so a few suffice; more would be an
/// endless loop.
const MAX_LOOKS: u32 = 8;

impl SiteState {
    /// Moves the clock to `to`, if that is later. The caller makes sure that no sample of visitors
    /// (one a minute) is due on the way. With a `passing`, what falls due on the way happens, and
    /// is added to `outcome`, which has what happened on the way before.
    pub(super) fn move_between_samples(
        &mut self,
        to: u32,
        passing: Option<&Passing>,
        resources: &mut PartitionResources,
        outcome: &mut SiteOutcome,
    ) {
        // After a restart something may be due that the clock has passed already.
        let to = to.max(self.window.now());
        match passing {
            Some(passing) => {
                let includes_overdue = passing.decides_overdue(self.window.now(), to);
                if self.next_due <= to || (includes_overdue && self.is_overdue) {
                    self.pass_dues(to, includes_overdue, passing, resources, outcome);
                }
                self.advance(to, resources);
                if self.episodes() > 0 {
                    self.look_at_episodes(passing, outcome, resources);
                }
            }
            // Windows are still being rebuilt: what is due is found out when they are complete.
            None => {
                self.next_due = 0;
                self.advance(to, resources);
            }
        }
    }

    /// Passes over the reminders up to `to`, if there were too many notifications on the way.
    fn skip_reminders(&mut self, to: u32, outcome: &mut SiteOutcome) {
        if outcome.decided + outcome.stale > MAX_NOTICES {
            outcome.withheld.extend(self.triggers.skip_reminders(to));
        }
    }

    /// Lets happen what falls due up to `to`.
    fn pass_dues(
        &mut self,
        to: u32,
        mut includes_overdue: bool,
        passing: &Passing,
        resources: &mut PartitionResources,
        outcome: &mut SiteOutcome,
    ) {
        let (mut last, mut looks) = (0, 0);
        loop {
            self.skip_reminders(to, outcome);
            self.schedule(passing);
            let now = self.window.now();
            let at = if includes_overdue && self.is_overdue {
                now
            } else if self.next_due <= to {
                self.next_due.max(now)
            } else {
                break;
            };
            looks = if at == last { looks + 1 } else { 0 };
            last = at;
            if looks >= MAX_LOOKS {
                // Something is due that no look settles: it waits for the next second.
                self.next_due = at.saturating_add(1);
                break;
            }
            let (triggers, input) = self.triggers_and_input(passing, passing.cause(now));
            triggers.mark_due(at, includes_overdue, input.reading);
            includes_overdue &= at > now;
            self.advance(at, resources);
            self.triggers.advance(at, self.live, &mut resources.segments);
            self.judge_marked(passing, outcome);
            self.sum_up(at, at, passing, outcome);
        }
    }

    /// True if notifications beyond the bound of a minute wait for its end.
    pub(crate) fn has_summaries(&self) -> bool {
        self.caps.due().is_some()
    }

    /// Sums up, now, what lies beyond the bounds of minutes that have not ended.
    pub(crate) fn end_minutes(&mut self, passing: &Passing) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        self.sum_up(self.window.now(), u32::MAX, passing, &mut outcome);
        outcome
    }

    /// Sums up the minutes that end by `until`, at the instant `at`.
    fn sum_up(&mut self, at: u32, until: u32, passing: &Passing, outcome: &mut SiteOutcome) {
        let summaries = self.caps.pass(until, &self.site, passing.timer_ms(at));
        if passing.is_due_fresh(at) {
            outcome.ready.extend(summaries);
        } else {
            let stale = summaries.iter().map(|one| (one.event, SuppressReason::Stale));
            outcome.withheld.extend(stale);
        }
    }

    /// Evaluates the marked triggers at the site's present second.
    fn judge_marked(&mut self, passing: &Passing, outcome: &mut SiteOutcome) {
        let mut evaluation = Evaluation::default();
        let cause = passing.cause(self.window.now());
        let (triggers, input) = self.triggers_and_input(passing, cause);
        triggers.pass(&input, &mut evaluation);
        let concluded = self.conclude(evaluation, passing.record);
        outcome.add(concluded);
    }

    /// Updates the peak of each episode going on. Notifies of episodes that were withheld because
    /// they lay too far in the past, if they are recent by now.
    fn look_at_episodes(
        &mut self,
        passing: &Passing,
        outcome: &mut SiteOutcome,
        resources: &mut PartitionResources,
    ) {
        self.note_peaks(passing, resources);
        if passing.is_due_fresh(self.window.now()) && self.triggers.mark_withheld() {
            self.judge_marked(passing, outcome);
        }
    }

    /// Updates the peak of each episode going on.
    pub(super) fn note_peaks(&mut self, passing: &Passing, resources: &mut PartitionResources) {
        let cause = passing.cause(self.window.now());
        let (triggers, input) = self.triggers_and_input(passing, cause);
        if triggers.note_peaks(input.reading) {
            self.note_unsaved(resources.segments.current(), &mut resources.segments);
        }
    }

    /// Finds out when something falls due next.
    pub(crate) fn schedule(&mut self, passing: &Passing) {
        self.sync_latest();
        let look = self.triggers.next_look(self.reading(passing));
        let due = [look.at, self.caps.due()].into_iter().flatten().min();
        self.next_due = due.unwrap_or(u32::MAX).max(1);
        self.is_overdue = look.is_overdue;
    }

    /// Notes that something may fall due at an instant, if it is not before what does anyway.
    pub(super) fn look_by(&mut self, due: Option<u32>) {
        if let Some(due) = due
            && due < self.next_due
        {
            self.next_due = due.max(1);
        }
    }

    /// Moves the windows' end.
    fn advance(&mut self, to: u32, resources: &mut PartitionResources) {
        if to <= self.window.now() {
            return;
        }
        if self.window.now() == 0 {
            self.triggers.begin_clock(to, self.live);
        }
        if self.latest_is_behind && (self.window.left_at(to) as usize) < self.latest.kept() {
            self.sync_latest();
        }
        self.window.advance(to, &mut resources.segments);
        self.recent_ids.advance(to, &mut resources.segments);
        if self.window.is_empty() && self.labels.len() > 0 {
            self.labels.clear(&mut resources.labels);
        }
    }
}

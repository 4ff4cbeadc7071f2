//! Evaluations of a site's triggers, and the notifications and entries of the history of alerts
//! that they lead to.

use super::SiteState;
use super::episode_notice::{EpisodeView, episode_notification, history_entry};
use super::passing::Passing;
use super::rules::reading::SiteReading;
use super::site_outcome::SiteOutcome;
use super::triggers::SiteTriggers;
use super::triggers::evaluation::{EpisodeChange, Evaluation};
use super::triggers::trigger::{Cause, TriggerInput};
use crate::detect::notification::RecordOrigin;
use crate::domain::episode::{EpisodeEntry, SettledSite};
use crate::domain::event::EventType;
use crate::telemetry::words::SuppressReason;

impl SiteState {
    /// Judges the triggers on the event that came from `origin`.
    pub(crate) fn judge(&mut self, origin: RecordOrigin<'_>, passing: &Passing) -> SiteOutcome {
        let mut evaluation = Evaluation::default();
        let (triggers, input) = self.triggers_and_input(passing, Cause::Record(origin));
        triggers.judge(&input, &mut evaluation);
        self.conclude(evaluation, passing.record)
    }

    /// The triggers, and the input of their evaluation at the site's present second.
    pub(super) fn triggers_and_input<'s>(
        &'s mut self,
        passing: &Passing,
        cause: Cause<'s>,
    ) -> (&'s mut SiteTriggers, TriggerInput<'s>) {
        let now = self.window.now();
        let input = TriggerInput {
            site_id: self.id.as_str(),
            reading: passing.reading(
                &self.window,
                &self.latest,
                self.first_event,
                self.activity.rates(),
            ),
            is_fresh: match cause {
                Cause::Record(_) => passing.is_fresh(now),
                Cause::Timer { .. } => passing.is_due_fresh(now),
            },
            cause,
        };
        (&mut self.triggers, input)
    }

    /// The facts on which the rules are judged.
    pub(super) fn reading(&self, passing: &Passing) -> SiteReading<'_> {
        passing.reading(
            &self.window,
            &self.latest,
            self.first_event,
            self.activity.rates(),
        )
    }

    /// Carries out an evaluation: its notifications wait in `unconfirmed`, changes of episodes go
    /// to the history. `record` is source and offset.
    pub(super) fn conclude(&mut self, evaluation: Evaluation, record: Option<(usize, i64)>) -> SiteOutcome {
        let is_stale = |one: &&(EventType, SuppressReason)| one.1 == SuppressReason::Stale;
        let mut outcome = SiteOutcome {
            changed: evaluation.changed,
            stale: evaluation.withheld.iter().filter(is_stale).count(),
            withheld: evaluation.withheld,
            ..SiteOutcome::default()
        };
        self.add_entries(evaluation.episodes, &mut outcome);
        if outcome.changed {
            self.next_due = 0;
        }
        for notice in evaluation.notices {
            let baseline = self.baseline();
            let view = EpisodeView {
                site: &self.site,
                window: &self.window,
                labels: &self.labels,
                baseline,
            };
            let episode = notice.episode.id;
            if let Some(decision) = episode_notification(view, notice, record) {
                outcome.decided += 1;
                self.unconfirmed.push(episode, decision);
            }
        }
        outcome
    }

    /// The episodes going on, for the history of alerts.
    pub(crate) fn running_episodes(&self) -> impl Iterator<Item = EpisodeEntry> + '_ {
        let running = self.triggers.running();
        running.map(|change| history_entry(&self.site, change, None))
    }

    /// Takes the rows of the episodes going on whose peak grew.
    pub(crate) fn take_grown(&mut self) -> Vec<EpisodeEntry> {
        let grown = self.triggers.take_grown().into_iter();
        grown
            .map(|change| history_entry(&self.site, change, None))
            .collect()
    }

    /// Returns that the site's episodes are known, for its open rows of others to be ended. Not
    /// before its clock is known, and not if something of its triggers is known to a newer version
    /// only.
    pub(crate) fn settle_rows(&mut self) -> Option<SettledSite> {
        let now = self.window.now();
        if now == 0 {
            return None;
        }
        let running = self.running_episodes().map(|episode| episode.id).collect();
        let settled = self.rows.settle(&self.id, now, running);
        let is_known = self.foreign.is_empty() && !self.triggers.has_foreign();
        is_known.then_some(settled)
    }

    /// Adds changes of episodes to the history of alerts.
    pub(super) fn add_entries(&mut self, changes: Vec<EpisodeChange>, outcome: &mut SiteOutcome) {
        for change in changes {
            let baseline = self.baseline();
            outcome.episodes.push(history_entry(&self.site, change, baseline));
        }
    }
}

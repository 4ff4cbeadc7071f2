//! Handing over of the sites' past and present, and answers on what was learned before.

use super::{Detector, owned_mut};
use crate::detect::history::{HistoryQuestion, RowOrigin, SavedRow};

impl Detector {
    /// Hands over what changed, and asks about sites that are new here. `is_last` before partitions
    /// are given back.
    pub(super) fn hand_over_history(&mut self, is_last: bool) {
        let queue = &self.links.history;
        for owned in self.owned.iter_mut().flatten() {
            let handed_over = owned.engine.hand_over(is_last);
            queue.add_hours(handed_over.hours);
            queue.add_presents(handed_over.presents);
            let origin = RowOrigin {
                partition: owned.partition,
                report_to: self.report_to.clone(),
            };
            let refused = queue.add_episodes(handed_over.episodes, &origin);
            owned.engine.hand_over_later(refused);
            for refused in queue.settle(handed_over.settled) {
                owned.engine.settle_again(&refused.site_id);
            }
            let unknown = owned.engine.take_unknown_sites().into_iter();
            let questions = unknown.map(|(site, hour, wants_rates)| HistoryQuestion {
                partition: owned.partition,
                site: site.id.clone(),
                zone: site.time_zone,
                hour,
                wants_rates,
                answer_to: self.answer_to.clone(),
            });
            for refused in queue.ask(questions.collect()) {
                owned.engine.ask_again(&refused.site);
            }
        }
    }

    /// Adopts what was learned before of sites that are new here, and which rows are written.
    pub(super) fn receive_history(&mut self) {
        while let Ok(SavedRow { partition, episode }) = self.saved_rows.try_recv() {
            let owned = owned_mut(&mut self.owned, partition);
            if let Some(owned) = owned.or_else(|| self.session.retained.get_mut(&partition)) {
                owned.engine.note_saved(&episode);
            }
        }
        while let Ok(answer) = self.answers.try_recv() {
            let partition = answer.partition;
            let owned = owned_mut(&mut self.owned, partition);
            if let Some(owned) = owned.or_else(|| self.session.retained.get_mut(&partition)) {
                owned.engine.adopt_history(answer);
            }
        }
    }
}

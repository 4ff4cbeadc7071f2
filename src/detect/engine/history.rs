//! The past and the present of the partition's sites, handed over to be kept.

use std::sync::Arc;

use super::{Engine, MAX_EPISODES};
use crate::detect::site::SiteState;
use crate::detect::site::passing::PassingClock;
use crate::detect::usual::past::HistoryAnswer;
use crate::domain::activity::{HourKey, SiteHour};
use crate::domain::episode::{EpisodeEntry, SavedEpisode, SettledSite};
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::site_now::SiteNow;

/// Rounds in which every site is looked at once.
const ROUNDS: usize = 10;

/// Sites of a partition that are all looked at in each round.
const FEW_SITES: usize = 1_000;

/// Rows of a partition's sites, to be kept.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    pub(crate) hours: Vec<(HourKey, SiteHour)>,
    pub(crate) presents: Vec<SiteNow>,
    pub(crate) episodes: Vec<EpisodeEntry>,
    /// Sites of which all episodes are known, each once.
    pub(crate) settled: Vec<SettledSite>,
}

impl Engine {
    /// Returns the hours that changed and, of a tenth of the sites, the present that did. Meant for
    /// once a second. `is_last` before the partition is given back: then all that changed.
    pub(crate) fn hand_over(&mut self, is_last: bool) -> HandedOver {
        let mut handed_over = HandedOver {
            episodes: std::mem::take(&mut self.episodes),
            ..HandedOver::default()
        };
        self.round = (self.round + 1) % ROUNDS;
        // Until windows are rebuilt, nobody knows how many visitors there are.
        let is_rebuilding = self.completeness.is_rebuilding();
        let looks_at_all = is_last || self.sites.len() <= FEW_SITES;
        for index in 0..self.sites.len() {
            let is_turn = index % ROUNDS == self.round;
            if !is_turn && !looks_at_all {
                continue;
            }
            let passing = self.passing_without_record(index, 0);
            let state = &mut self.sites[index];
            let silent_since_ms = match passing.clock {
                PassingClock::Live { .. } => self.silent_sources.since_ms(usize::from(state.source)),
                PassingClock::Log { .. } => None,
            };
            for (hour, row) in state.hand_over_hours(is_last) {
                handed_over.hours.push(((state.id.clone(), hour), row));
            }
            if is_last {
                handed_over.episodes.extend(self.sites[index].take_grown());
            }
            if !is_rebuilding {
                handed_over.settled.extend(self.settle_rows(index));
            }
            let state = &mut self.sites[index];
            if (is_turn || is_last) && !is_rebuilding {
                handed_over
                    .presents
                    .extend(state.take_present(&passing, silent_since_ms));
            }
        }
        handed_over
    }

    /// Lists the states to be written that do not have all events of their site's present hour,
    /// before the partition is given back: its next owner goes on from there, whatever it finds in
    /// Postgres by then.
    pub(crate) fn keep_counts(&mut self) {
        for index in 0..self.sites.len() {
            if self.sites[index].has_unstored_counts() {
                self.mark_dirty(index);
            }
        }
    }

    /// Returns once that all episodes of a site are known. Not if another partition may hold it as
    /// well, because its records are not keyed by site.
    fn settle_rows(&mut self, index: usize) -> Option<SettledSite> {
        let state = &mut self.sites[index];
        if state.rows.is_settled() || state.is_behind(&self.completeness, &self.resources.segments) {
            return None;
        }
        let settled = state.settle_rows();
        settled.filter(|site| self.config.is_keyed_here(&site.site_id))
    }

    /// Asks for the open rows of a site again, as nobody took the question.
    pub(crate) fn settle_again(&mut self, site_id: &SiteId) {
        if let Some(index) = self.find(site_id.as_str()) {
            self.sites[index].rows.unsettle();
        }
    }

    /// Hands over rows of episodes with the next ones.
    pub(crate) fn hand_over_later(&mut self, rows: Vec<EpisodeEntry>) {
        let room = MAX_EPISODES.saturating_sub(self.episodes.len());
        self.counters.evicted_history += rows.len().saturating_sub(room) as u64;
        self.episodes.extend(rows.into_iter().take(room));
    }

    /// Hands over the episodes going on: an earlier build kept no row until it was written. A row
    /// that is there stays.
    pub(super) fn keep_running_episodes(&mut self) {
        let running = self.sites.iter().flat_map(SiteState::running_episodes);
        self.hand_over_later(running.collect());
    }

    /// Notes that a row of an episode is written.
    pub(crate) fn note_saved(&mut self, saved: &SavedEpisode) {
        if let Some(index) = self.find(saved.site_id.as_str()) {
            self.sites[index].rows.confirm(saved);
        }
    }

    /// Returns the sites of which it is not known what was learned before, each once, with the hour
    /// they are in, and true if rates of events are asked for.
    pub(crate) fn take_unknown_sites(&mut self) -> Vec<(Arc<Site>, u32, bool)> {
        let asking = self.sites.iter_mut().filter_map(|state| {
            let hour = state.activity.asks_for()?;
            Some((Arc::clone(&state.site), hour, state.activity.wants_rates()))
        });
        asking.collect()
    }

    /// Asks for a site again, as nobody took the question.
    pub(crate) fn ask_again(&mut self, site_id: &SiteId) {
        if let Some(index) = self.find(site_id.as_str()) {
            self.sites[index].activity.ask_again();
        }
    }

    /// Adopts what was learned of a site before.
    pub(crate) fn adopt_history(&mut self, answer: HistoryAnswer) {
        if let Some(index) = self.find(answer.site.as_str()) {
            let state = &mut self.sites[index];
            let site = Arc::clone(&state.site);
            state.activity.adopt(answer.past, &site);
            // What fell due before may do so at another instant.
            self.schedule(index);
        }
    }
}

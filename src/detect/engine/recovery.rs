//! What an engine leaves behind for the one after it, and takes over from the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::config::Checkpoint;
use super::event_time::SourceClock;
use super::{Engine, list};
use crate::detect::notification::Decision;
use crate::detect::site::SiteState;
use crate::detect::site::state_record::{StateError, StateRecord, Stored};

impl Engine {
    /// Goes on from a commit, with the clock of its checkpoint: the record that set it may not be read again, and
    /// events out of order are judged by it.
    pub(crate) fn resume(&mut self, clock_ms: Option<i64>) {
        self.log_clock_ms = self.log_clock_ms.max(clock_ms);
    }

    /// Takes a record of the state topic, `None` being a tombstone. Of several for one site the one that covers most
    /// stays, so that a late write of a member that was replaced changes nothing.
    pub(crate) fn load_state(&mut self, site_id: &str, bytes: Option<&[u8]>) -> Result<(), StateError> {
        let Some(bytes) = bytes else {
            if let Some(place) = self.find(site_id) {
                self.remove(place);
            }
            self.gone.retain(|gone| gone.as_str() != site_id);
            return Ok(());
        };
        let stored = Stored::from_bytes(bytes)?;
        let covered: Box<[i64]> = self
            .config
            .sources
            .iter()
            .map(|source| stored.covered.get(&source.topic).copied().unwrap_or(-1))
            .collect();
        let Some(site) = self.registry.sites.get(stored.site.as_str()) else {
            if !self.gone.contains(&stored.site) {
                self.gone.push(stored.site);
            }
            return Ok(());
        };
        let place = self.find(site.id.as_str());
        let known = place.and_then(|place| self.sites[place].covered.as_ref());
        let sum = |covered: &[i64]| {
            covered
                .iter()
                .fold(0_i64, |sum, offset| sum.saturating_add(*offset))
        };
        if known.is_some_and(|known| sum(known) > sum(&covered)) {
            return Ok(());
        }
        let state = SiteState::load(Arc::clone(site), self.starts_live(), stored, covered);
        match place {
            Some(place) => self.sites[place] = state,
            None => self.add(state),
        }
        Ok(())
    }

    /// The decisions that were loaded without a confirmation: to be published again, and confirmed.
    pub(crate) fn unconfirmed(&self) -> Vec<Decision> {
        let all = self.sites.iter().flat_map(SiteState::unconfirmed);
        all.cloned().collect()
    }

    /// The states that changed since the last call, one a site, with the decisions that are in them for the first
    /// time. Those must not be published before their state is acknowledged.
    pub(crate) fn take_dirty_states(&mut self) -> Vec<StateRecord> {
        let tombstone = |site_id| StateRecord {
            site_id,
            bytes: None,
            decisions: Vec::new(),
        };
        self.wants_flush = false;
        let mut records: Vec<_> = self.gone.drain(..).map(tombstone).collect();
        for site_id in std::mem::take(&mut self.dirty) {
            let Some(place) = self.find(site_id.as_str()) else {
                continue;
            };
            let covered = self.covered(&self.sites[place]);
            let state = &mut self.sites[place];
            if !state.dirty {
                continue;
            }
            let (bytes, decisions) = state.store(covered);
            records.push(StateRecord {
                site_id,
                bytes: Some(bytes),
                decisions,
            });
        }
        records
    }

    /// The deliveries of an episode's notification are published: it need not be remembered any longer.
    pub(crate) fn confirm(&mut self, site_id: &str, episode: Uuid) {
        if let Some(place) = self.find(site_id) {
            let state = &mut self.sites[place];
            if state.confirm(episode) {
                list(&mut self.dirty, state);
            }
        }
    }

    /// Whether a site was given as many decisions as its state should hold before they are confirmed: the batch is to
    /// end here, and the next one to wait for confirmations. Only a log read much faster than it was written gets
    /// there. Cleared by [`Self::take_dirty_states`].
    pub(crate) fn wants_flush(&self) -> bool {
        self.wants_flush
    }

    /// What a commit of everything handled so far has to remember.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let sources = 0..self.config.sources.len();
        let segments = &self.shared.segments;
        Checkpoint {
            next: sources
                .clone()
                .map(|source| segments.next_offset(source))
                .collect(),
            replay_from: sources.map(|source| segments.replay_from(source)).collect(),
            clock_ms: self.log_clock_ms,
        }
    }

    /// For each source topic, the last offset that a site's state, written now, accounts for.
    fn covered(&self, state: &SiteState) -> BTreeMap<String, i64> {
        let sources = self.config.sources.iter().enumerate();
        sources
            .filter_map(|(source, topic)| {
                let read = self.shared.segments.next_offset(source).map(|next| next - 1);
                let loaded = state.covered.as_ref().map(|covered| covered[source]);
                let last = read.max(loaded).filter(|last| *last >= 0)?;
                Some((topic.topic.clone(), last))
            })
            .collect()
    }

    /// Whether a site of which no record was read yet goes by the wall clock.
    pub(crate) fn starts_live(&self) -> bool {
        let mut sources = self.config.sources.iter();
        sources.all(|source| source.clock == SourceClock::Live)
    }
}

#[cfg(test)]
mod tests;

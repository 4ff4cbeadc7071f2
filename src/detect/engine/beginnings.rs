//! Sites that are registered while their partition is read.
//!
//! What came before is passed over, since nobody knew of the site, so its windows begin at a
//! position. A successor, who knows the site from its start on, reads records before that position
//! again, and must pass over the same ones: the position is written when the site is registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::event_time::whole_second;
use super::record::RecordFacts;
use crate::detect::site::SiteState;
use crate::detect::site::beginning::Beginning;
use crate::detect::site::coverage::next_unread;
use crate::detect::site::state_record::beginning::StoredBeginning;
use crate::detect::site::state_record::{StateRecord, StoredState};
use crate::domain::event::SourceClock;
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;

impl Engine {
    /// Lets a site begin at the present position, if it was registered since `before`. Only where
    /// its records belong: a site has one position.
    pub(super) fn begin_if_new(&mut self, before: &Registry, site_id: &SiteId) {
        let Some(site) = self.registry.sites.get(site_id).cloned() else {
            return;
        };
        let known = before.sites.get(site_id);
        let is_known = known.is_some_and(|known| known.registered_ms == site.registered_ms);
        if is_known || !self.config.is_keyed_here(site_id) {
            return;
        }
        let beginning = self.present_beginning();
        match self.find(site_id.as_str()) {
            // Its state was waiting for it; what is missing of its windows is known.
            Some(index) => {
                self.sites[index].beginning = Some(Box::new(beginning));
                self.mark_dirty(index);
            }
            None => {
                self.keep_beginning(site_id, Box::new(beginning));
                if self.is_wanted_silent(&site) {
                    self.add_silent(&site);
                }
            }
        }
    }

    /// The position of what is to be read next.
    pub(super) fn present_beginning(&self) -> Beginning {
        let offset = |source: usize| {
            let next = next_unread(&self.completeness, &self.resources.segments, source);
            next.max(self.completeness.committed(source)).unwrap_or(0)
        };
        let after = |ms: i64| whole_second(ms).saturating_add(1);
        // What an earlier owner passed over is older than the latest proven end.
        let proven = match self.live_floor {
            0 => 0,
            floor => floor.saturating_add(whole_second(self.config.out_of_order_ms)),
        };
        Beginning {
            offsets: (0..self.config.sources.len()).map(offset).collect(),
            live_from: self.live_clock_ms.map_or(0, after).max(proven),
            log_from: self.log_clock_ms.map_or(0, after),
        }
    }

    /// Keeps the beginning of a site of which nothing else is known, and lists it to be written.
    pub(super) fn keep_beginning(&mut self, site_id: &SiteId, beginning: Box<Beginning>) {
        self.write_beginning(site_id, &beginning);
        self.beginnings.insert(site_id.clone(), beginning);
    }

    /// Lists a site's beginning to be written.
    fn write_beginning(&mut self, site_id: &SiteId, beginning: &Beginning) {
        let mut stored = StoredState::new(site_id.clone(), 0, BTreeMap::new());
        let site = self.registry.sites.get(site_id);
        stored.registered = site.map(|site| site.registered_ms);
        stored.beginning = Some(self.stored_beginning(beginning));
        let parts = (0..).zip(stored.to_parts());
        self.others.extend(parts.map(|(part, bytes)| StateRecord {
            site_id: site_id.clone(),
            part,
            bytes: Some(bytes),
            decisions: Vec::new(),
        }));
    }

    /// A beginning as it is stored.
    pub(super) fn stored_beginning(&self, beginning: &Beginning) -> StoredBeginning {
        let topics = self.config.sources.iter().map(|source| source.topic.clone());
        StoredBeginning {
            offsets: topics.zip(beginning.offsets.iter().copied()).collect(),
            live_from: beginning.live_from,
            log_from: beginning.log_from,
        }
    }

    /// A beginning from what was stored. Of a source that is new all records count.
    pub(super) fn beginning_of(&self, stored: &StoredBeginning) -> Box<Beginning> {
        let topics = self.config.sources.iter().map(|source| &source.topic);
        let offsets = topics.map(|topic| stored.offsets.get(topic).copied().unwrap_or(0));
        Box::new(Beginning {
            offsets: offsets.collect(),
            live_from: stored.live_from,
            log_from: stored.log_from,
        })
    }

    /// Loads the beginning of a site of which nothing else is known.
    pub(super) fn load_beginning(&mut self, site_id: &SiteId, beginning: Box<Beginning>) {
        match self.find(site_id.as_str()) {
            Some(index) => self.sites[index].begin_at(beginning),
            None => _ = self.beginnings.insert(site_id.clone(), beginning),
        }
    }

    /// Adds the state of a registered site that has none, for a record of a source with a clock;
    /// `None` too if the record came before the site was registered.
    pub(super) fn add_registered(
        &mut self,
        site_id: &str,
        clock: SourceClock,
        record: &RecordFacts,
    ) -> Option<usize> {
        let site = Arc::clone(self.registry.sites.get(site_id)?);
        let beginning = self.beginnings.get(site_id);
        if beginning.is_some_and(|beginning| beginning.is_after(record.source, record.offset)) {
            return None;
        }
        let is_live = clock == SourceClock::Live;
        let mut state = SiteState::new(site, is_live, 0, &mut self.resources.segments);
        if is_live {
            state.begin_with_webhooks();
        }
        if self.was_rebuilding {
            state.begin_by_replay();
        }
        Some(self.add_begun(state))
    }

    /// Adds a site, which begins where it was registered. From now on there is more to be written
    /// of it than its beginning.
    pub(super) fn add_begun(&mut self, mut state: SiteState) -> usize {
        let beginning = self.beginnings.remove(state.id.as_str());
        let is_begun = beginning.is_some();
        if let Some(beginning) = beginning {
            state.begin_at(beginning);
        }
        self.add(state);
        let index = self.sites.len() - 1;
        if is_begun {
            self.mark_dirty(index);
        }
        index
    }

    /// Writes tombstones for the beginnings of sites that are not registered any more.
    pub(super) fn bury_beginning(&mut self, site_id: &SiteId) {
        if self.beginnings.remove(site_id).is_some() {
            self.others.push(StateRecord::tombstone(site_id.clone(), 0));
        }
    }

    /// Lists the beginnings of sites without more to be written again. Returns their number.
    pub(super) fn rewrite_beginnings(&mut self) -> usize {
        let beginnings = std::mem::take(&mut self.beginnings);
        for (site_id, beginning) in &beginnings {
            self.write_beginning(site_id, beginning);
        }
        self.beginnings = beginnings;
        self.beginnings.len()
    }

    /// Lets all records of a source count for the sites that begin beyond its end: their offsets
    /// are those of an earlier topic of the same name.
    pub(super) fn forget_beginnings_beyond(&mut self, source: usize, end: i64) {
        for index in 0..self.sites.len() {
            let beginning = self.sites[index].beginning.as_mut();
            if beginning.is_some_and(|one| one.forget_beyond(source, end)) {
                self.mark_dirty(index);
            }
        }
        let mut beginnings = std::mem::take(&mut self.beginnings);
        for (site_id, beginning) in &mut beginnings {
            if beginning.forget_beyond(source, end) {
                self.write_beginning(site_id, beginning);
            }
        }
        self.beginnings = beginnings;
    }
}

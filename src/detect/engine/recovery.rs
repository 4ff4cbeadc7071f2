//! The handover from one engine to the next: stored states, checkpoints, confirmations.

use std::collections::BTreeMap;

use super::Engine;
use super::config::SourceTopic;
use super::event_time::whole_second;
use crate::detect::completeness::SourceCompleteness;
use crate::detect::notification::Decision;
use crate::detect::site::SiteState;
use crate::detect::site::state_record::{StateError, StateRecord, StoredClock, StoredState, split_key};
use crate::domain::event::SourceClock;
use crate::domain::id::NotificationId;

/// The content of a commit besides its offset. It is taken right after a record and belongs to the
/// commit of that record: a later one may name a later beginning, from which the windows of that
/// time cannot be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// For each source, the offset to commit: the one after the last record handled. `None` if none
    /// was.
    pub(crate) next: Vec<Option<i64>>,
    /// For each source, the oldest offset from which the current windows can be rebuilt.
    pub(crate) replay_from: Vec<Option<i64>>,
    /// The partition's clock in milliseconds since the Unix epoch, for [`Engine::resume`]; `None`
    /// as long as no log source was read.
    pub(crate) clock_ms: Option<i64>,
    /// The whole second up to which the wall clock had moved silent sites of live sources, for
    /// [`Engine::resume_floor`]; `None` before it moved any.
    pub(crate) live_floor: Option<u32>,
    /// For each source, the time from which every record has been seen.
    pub(crate) complete_from: Vec<SourceCompleteness>,
}

/// Seconds after the clock until which a record may have been handled before it.
const LACK_MARGIN_SECONDS: u32 = 2;

impl Engine {
    /// Goes on with the clock of a commit's checkpoint: the record that set it may not be read
    /// again, and events out of order are judged by it.
    pub(crate) fn resume(&mut self, clock_ms: Option<i64>) {
        self.log_clock_ms = self.log_clock_ms.max(clock_ms);
    }

    /// Goes on from where the wall clock had moved silent live sites at a commit: every record that
    /// was read before it had moved them is below that commit. A wall clock that ran ahead is not
    /// followed.
    pub(crate) fn resume_floor(&mut self, live_floor: Option<u32>, now_ms: i64) {
        let latest = whole_second(now_ms.saturating_sub(self.config.out_of_order_ms));
        self.resources.inherited_floor = live_floor.unwrap_or(0).min(latest);
    }

    /// Loads a record of the state topic, where `None` is a tombstone. Of several records for one
    /// site, the one that covers most stays: so a late write of a member that was replaced changes
    /// nothing.
    pub(crate) fn load_state(&mut self, key: &str, bytes: Option<&[u8]>) -> Result<(), StateError> {
        let (site_id, part) = split_key(key);
        let Some(bytes) = bytes else {
            self.unclaimed.remove(key);
            self.forget_part(site_id, part);
            return Ok(());
        };
        let stored = StoredState::from_bytes(bytes)?;
        if !self.is_of_known_site(key, bytes, &stored) {
            return Ok(());
        }
        if part == 0 && stored.parts == 1 {
            self.loaded_parts.remove(site_id);
            if !self.knows_more_than(&stored) {
                self.load(stored);
            }
            return Ok(());
        }
        let parts = self.loaded_parts.entry(site_id.to_owned()).or_default();
        parts.insert(part, bytes.to_vec());
        let Some(first) = parts.get(&0) else {
            return Ok(());
        };
        let mut whole = StoredState::from_bytes(first)?;
        for part in 1..whole.parts {
            if let Some(bytes) = parts.get(&part) {
                whole.add_part(StoredState::from_bytes(bytes)?);
            }
        }
        self.load(whole);
        Ok(())
    }

    /// Forgets a part of a stored state: the first one is the site's.
    fn forget_part(&mut self, site_id: &str, part: u32) {
        if part > 0 {
            if let Some(parts) = self.loaded_parts.get_mut(site_id) {
                parts.remove(&part);
            }
            return;
        }
        self.loaded_parts.remove(site_id);
        self.beginnings.remove(site_id);
        if let Some(index) = self.find(site_id) {
            self.remove(index);
        }
        self.others.retain(|gone| gone.site_id.as_str() != site_id);
    }

    /// True if the state that was loaded of a site before covers more.
    fn knows_more_than(&self, stored: &StoredState) -> bool {
        let index = self.find(stored.site.as_str());
        let known = index.and_then(|index| self.sites[index].covered.as_ref());
        let sum = |covered: &[i64]| {
            let offsets = covered.iter();
            offsets.fold(0_i64, |sum, offset| sum.saturating_add(*offset))
        };
        known.is_some_and(|known| sum(known) > sum(&self.covered_by(stored)))
    }

    /// For each source, the last offset that a stored state accounts for.
    fn covered_by(&self, stored: &StoredState) -> Box<[i64]> {
        let sources = self.config.sources.iter();
        sources
            .map(|source| stored.covered.get(&source.topic).copied().unwrap_or(-1))
            .collect()
    }

    /// The clock by which a site goes of which a state was stored. An earlier build did not say: it
    /// is that of the sources in which the site had events.
    fn goes_by(&self, stored: &StoredState) -> StoredClock {
        let is_live = |source: &&SourceTopic| source.clock == SourceClock::Live;
        let sources = &self.config.sources;
        let mut heard = sources
            .iter()
            .filter(|source| stored.covered.contains_key(&source.topic))
            .peekable();
        if !sources.iter().any(|source| is_live(&source)) {
            return StoredClock::Log;
        }
        if let Some(known) = stored.goes_by {
            return known;
        }
        match heard.peek().is_some() {
            true if heard.any(|source| is_live(&source)) => StoredClock::Live,
            true => StoredClock::Log,
            false if stored.covered.is_empty() && stored.first_event.is_none() => StoredClock::Undecided,
            false => StoredClock::Live,
        }
    }

    /// Builds a site's state from what was stored.
    fn load(&mut self, stored: StoredState) {
        let covered = self.covered_by(&stored);
        for (source, last) in covered.iter().enumerate() {
            self.completeness.cover(source, *last);
        }
        let Some(site) = self.registry.sites.get(stored.site.as_str()).cloned() else {
            return;
        };
        let beginning = match stored.beginning.as_ref().map(|one| self.beginning_of(one)) {
            Some(beginning) if stored.is_only_beginning() => {
                return self.load_beginning(&site.id, beginning);
            }
            beginning => beginning,
        };
        self.beginnings.remove(&site.id);
        let index = self.find(site.id.as_str());
        if stored.has_foreign() {
            self.foreign_states += 1;
        }
        let (goes_by, segments) = (self.goes_by(&stored), &mut self.resources.segments);
        let mut state = SiteState::load(site, goes_by, stored, covered, segments);
        state.beginning = beginning;
        let sources = self.config.sources.iter().enumerate();
        let mut of_clock = sources.filter(|(_, source)| source.clock == state.clock());
        if let Some((source, _)) = of_clock.rfind(|(source, _)| state.has_source(*source)) {
            // There are few sources.
            state.source = source as u16;
        }
        let index = match index {
            Some(index) => {
                // It may be listed to be written already, by an earlier part.
                state.dirty = self.sites[index].dirty;
                self.sites[index] = state;
                index
            }
            None => {
                self.add(state);
                self.sites.len() - 1
            }
        };
        let unsaved = self.sites[index].rows.iter().cloned().collect();
        self.hand_over_later(unsaved);
        let ended = self.sites[index].take_ended();
        self.apply(index, ended);
    }

    /// Number of loaded states that hold something only a newer version knows. Their triggers are
    /// not judged.
    pub(crate) fn foreign_states(&self) -> u64 {
        self.foreign_states
    }

    /// Loads the states that waited for their sites, of those that the registry now knows.
    pub(super) fn claim_states(&mut self) {
        if self.unclaimed.is_empty() {
            return;
        }
        for (key, bytes) in std::mem::take(&mut self.unclaimed) {
            // What cannot be read was reported when it was loaded, and is none of these.
            _ = self.load_state(&key, Some(&bytes));
            let (site_id, part) = split_key(&key);
            if let Some(index) = self.find(site_id).filter(|_| !self.unclaimed.contains_key(&key)) {
                // Events of an unknown site were not counted.
                self.sites[index].miss_events();
                self.end_lack(index);
                if part == 0 {
                    self.claimed.push(self.sites[index].id.clone());
                }
            }
        }
    }

    /// The decisions of states that were claimed since the last call, which were loaded without a
    /// confirmation.
    pub(crate) fn take_claimed(&mut self) -> Vec<Decision> {
        let claimed = std::mem::take(&mut self.claimed);
        let sites = claimed.iter().filter_map(|site_id| self.find(site_id.as_str()));
        let decisions = sites.flat_map(|index| self.sites[index].unconfirmed());
        decisions.cloned().collect()
    }

    /// Notes from when on no visitor of a site is missing, if that was not known and is now.
    pub(super) fn end_lack(&mut self, index: usize) {
        let state = &self.sites[index];
        if !state.lacks_visitors {
            return;
        }
        let clock_ms = match state.clock() {
            SourceClock::Live => i64::from(self.live_floor) * 1_000 + self.config.out_of_order_ms,
            SourceClock::Log => self.log_clock_ms.unwrap_or(0),
        };
        if clock_ms <= self.config.out_of_order_ms {
            // The clock has not begun.
            return;
        }
        let from = whole_second(clock_ms).saturating_add(LACK_MARGIN_SECONDS);
        self.sites[index].end_lack(from);
        self.mark_dirty(index);
    }

    /// Lists a loaded state to be written again, since an older one lies after it.
    pub(crate) fn rewrite_state(&mut self, key: &str) {
        let (site_id, _) = split_key(key);
        if let Some(index) = self.find(site_id) {
            self.mark_dirty(index);
        }
    }

    /// Lists all stored states to be written again, also those of sites that are not known yet.
    /// Returns their number.
    pub(crate) fn rewrite_states(&mut self) -> usize {
        let stored = (0..self.sites.len()).filter(|index| self.sites[*index].is_stored());
        let stored: Vec<usize> = stored.collect();
        for index in &stored {
            self.mark_dirty(*index);
        }
        for (key, bytes) in &self.unclaimed {
            let (site_id, part) = split_key(key);
            let Ok(site_id) = site_id.parse() else { continue };
            self.others.push(StateRecord {
                site_id,
                part,
                bytes: Some(bytes.clone()),
                decisions: Vec::new(),
            });
        }
        stored.len() + self.unclaimed.len() + self.rewrite_beginnings()
    }

    /// Forgets that loaded states account for a source's records, where they do beyond its end:
    /// those were of an earlier topic of the same name.
    pub(crate) fn forget_covered_beyond(&mut self, source: usize, end: i64) {
        for state in &mut self.sites {
            if let Some(last) = state.covered.as_mut().and_then(|covered| covered.get_mut(source))
                && *last >= end
            {
                *last = -1;
            }
        }
        self.completeness.forget_covered_beyond(source, end);
        self.forget_beginnings_beyond(source, end);
    }

    /// Forgets that loaded states account for a source's records: those were of an earlier topic of
    /// the same name. The states are written again after tombstones: their successors, which cover
    /// less, would be passed over.
    pub(crate) fn forget_covered(&mut self, source: usize) {
        for index in 0..self.sites.len() {
            let state = &mut self.sites[index];
            let covered = state.covered.as_mut().and_then(|covered| covered.get_mut(source));
            if covered.is_some_and(|last| std::mem::replace(last, -1) >= 0) {
                self.others.extend(state.tombstones());
                self.mark_dirty(index);
            }
        }
        self.completeness.forget_covered_beyond(source, -1);
        self.forget_beginnings_beyond(source, 0);
    }

    /// The decisions that were loaded without a confirmation: they are to be published again, and
    /// confirmed.
    pub(crate) fn unconfirmed(&self) -> Vec<Decision> {
        let all = self.sites.iter().flat_map(SiteState::unconfirmed);
        all.cloned().collect()
    }

    /// Returns the states that changed since the last call, one a site, each with the decisions
    /// that are in it for the first time. Those must not be published before their state is
    /// acknowledged.
    pub(crate) fn take_dirty_states(&mut self) -> Vec<StateRecord> {
        self.wants_flush = false;
        let mut records: Vec<_> = self.others.drain(..).collect();
        for site_id in std::mem::take(&mut self.dirty) {
            let Some(index) = self.find(site_id.as_str()) else {
                continue;
            };
            let covered = self.covered(&self.sites[index]);
            let beginning = self.sites[index].beginning.as_ref();
            let beginning = beginning.map(|beginning| self.stored_beginning(beginning));
            let state = &mut self.sites[index];
            if !state.dirty {
                continue;
            }
            records.extend(state.store(covered, beginning, &mut self.resources.segments));
        }
        records
    }

    /// Confirms an episode's notification whose deliveries are published: it is removed from the
    /// state.
    pub(crate) fn confirm(&mut self, site_id: &str, notification: NotificationId) {
        if let Some(index) = self.find(site_id)
            && self.sites[index].confirm(notification)
        {
            self.mark_dirty(index);
        }
    }

    /// True if a site has as many unconfirmed decisions as its state should hold: the batch is to
    /// end, and the next one to wait for confirmations. That happens only when a log is read much
    /// faster than it was written. Cleared by [`Self::take_dirty_states`].
    pub(crate) fn wants_flush(&self) -> bool {
        self.wants_flush
    }

    /// Returns the content of a commit of everything handled so far.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let sources = 0..self.config.sources.len();
        let segments = &self.resources.segments;
        Checkpoint {
            next: sources
                .clone()
                .map(|source| segments.next_offset(source))
                .collect(),
            replay_from: sources
                .clone()
                .map(|source| segments.replay_from(source))
                .collect(),
            clock_ms: self.log_clock_ms,
            live_floor: self.common_floor(),
            complete_from: sources
                .map(|source| self.completeness.to_commit(source))
                .collect(),
        }
    }

    /// For each source topic in which a site had events, the last offset for which its state,
    /// written now, accounts. A source without events of the site is left out: waiting for its
    /// records would hold back a trigger that they do not concern.
    fn covered(&self, state: &SiteState) -> BTreeMap<String, i64> {
        let sources = self.config.sources.iter().enumerate();
        sources
            .filter(|(source, _)| state.has_source(*source))
            .filter_map(|(source, topic)| {
                let read = self.resources.segments.next_offset(source);
                let loaded = state.covered.as_ref().map(|covered| covered[source]);
                let last = read.map(|next| next - 1).max(loaded);
                Some((topic.topic.clone(), last.filter(|last| *last >= 0)?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;

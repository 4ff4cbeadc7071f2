//! The detector of one source partition: its sites, its clock, and the decisions on its records.
//!
//! The engine does no input or output. Its owner feeds it records in order, and after each batch
//!
//! 1. takes the `StateRecord`s, writes them and waits for the acknowledgements,
//! 2. publishes the decisions: those of the batch and those that came with the states,
//! 3. confirms the episodes whose deliveries are published,
//! 4. commits the `Checkpoint` taken at the end of the batch.
//!
//! After a crash between any two of these steps, an engine restored from the acknowledged states
//! decides what is missing with the same ids. Goals and custom events of uncommitted records are
//! decided again even where a state is ahead of the commit: only episodes depend on the state.

/// Handling of one record.
pub mod record;
/// A look ahead at events, to ask memory for what they need.
pub mod lookahead;
/// The handover from one engine to the next: states, checkpoints, confirmations.
pub(crate) mod recovery;
/// Settings of an engine.
pub mod config;
/// Gauges and counters of an engine.
pub mod stats;
/// The time of an event.
pub mod event_time;
/// The sites' past and present, to be kept.
mod history;
/// An index of the sites.
pub(crate) mod site_index;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::completeness::Completeness;
use super::keyed_hash::EventHasher;
use super::site::labels::LabelBudget;
use super::site::{PartitionResources, SiteState};
use super::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use config::EngineConfig;
use event_time::{SourceClock, whole_second};
use site_index::SiteIndex;
use stats::{Counters, Stats};

/// The detection of one source partition.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    registry: Arc<Registry>,
    hasher: EventHasher,
    index: SiteIndex,
    sites: Vec<SiteState>,
    resources: PartitionResources,
    /// The latest event time read from log sources.
    log_clock_ms: Option<i64>,
    /// The whole second up to which the wall clock has moved silent sites.
    live_floor: u32,
    completeness: Completeness,
    /// Sites whose state is to be written.
    dirty: Vec<SiteId>,
    /// Sites whose stored state is to be deleted.
    gone: Vec<SiteId>,
    /// Set when a site has as many unconfirmed decisions as it should.
    wants_flush: bool,
    counters: Counters,
    /// Number of the round in which sites are looked at.
    round: usize,
    /// Loaded states by key, of sites that the registry does not know.
    unclaimed: BTreeMap<String, Vec<u8>>,
    /// Types of the notifications withheld from the last record.
    stale: Vec<EventType>,
    /// Numbers of goals, kept to spare an allocation for each event.
    found: Vec<u32>,
}

impl Engine {
    /// Makes an engine that has read nothing. States are loaded before the first record.
    pub fn new(config: EngineConfig, registry: Arc<Registry>) -> Self {
        let sources = config.sources.len();
        Self {
            registry,
            hasher: EventHasher::new(&config.hash_key),
            index: SiteIndex::default(),
            sites: Vec::new(),
            resources: PartitionResources {
                segments: Segments::new(sources),
                labels: LabelBudget {
                    per_site: config.limits.labels_per_site,
                    bytes: config.limits.label_bytes,
                    spent: 0,
                },
            },
            log_clock_ms: None,
            live_floor: 0,
            completeness: Completeness::new(sources),
            dirty: Vec::new(),
            gone: Vec::new(),
            wants_flush: false,
            counters: Counters::new(sources),
            round: 0,
            unclaimed: BTreeMap::new(),
            stale: Vec::new(),
            found: Vec::new(),
            config,
        }
    }

    /// Adopts the current registry: changed sites are judged by their new settings; deleted ones
    /// are removed and a tombstone is written for their state.
    pub(crate) fn set_registry(&mut self, registry: Arc<Registry>) {
        self.registry = registry;
        self.claim_states();
        let mut index = 0;
        while let Some(state) = self.sites.get_mut(index) {
            match self.registry.sites.get(state.id.as_str()) {
                None => {
                    if state.stored {
                        self.gone.push(state.id.clone());
                    }
                    // Another site may move to this index, which is looked at next.
                    self.remove(index);
                    continue;
                }
                Some(site) if site.version != state.site.version => {
                    if state.configure(Arc::clone(site), &mut self.resources.segments) {
                        self.mark_dirty(index);
                    }
                }
                Some(_) => {}
            }
            index += 1;
        }
    }

    /// Completeness of what was read of the partition.
    pub(crate) fn completeness(&self) -> &Completeness {
        &self.completeness
    }

    /// Completeness, to note what becomes known besides records.
    pub(crate) fn completeness_mut(&mut self) -> &mut Completeness {
        &mut self.completeness
    }

    /// Moves silent sites on: live ones by the wall clock if every record stored before `now_ms`
    /// has been handled, and so all is `caught_up`; those of logs by the latest time read. Once a
    /// second is enough. The instant of the call changes no decision about a log.
    pub fn tick(&mut self, now_ms: i64, caught_up: bool) {
        if self.completeness.is_rebuilding() {
            return;
        }
        if caught_up {
            self.completeness.forget_covered();
            let floor = whole_second(now_ms.saturating_sub(self.config.out_of_order_ms));
            self.live_floor = self.live_floor.max(floor);
        }
        let (live, log) = (self.floor(SourceClock::Live), self.floor(SourceClock::Log));
        for index in 0..self.sites.len() {
            let state = &mut self.sites[index];
            if caught_up {
                // A state that covers more than the topic holds is from a deleted topic of the same
                // name.
                state.covered = None;
            }
            let idle = state.window.is_empty() && state.episodes() == 0;
            let floor = if state.live { live } else { log };
            let idle = idle && floor < state.next_sample;
            if idle || floor <= state.window.now() || state.is_behind(&self.resources.segments) {
                continue;
            }
            // A lower bound arms nothing again.
            let is_exact = self
                .completeness
                .is_exact(state.window.now(), state.window.longest());
            if state.move_to(floor, is_exact, &mut self.resources) {
                self.mark_dirty(index);
            }
        }
    }

    /// Returns the sites that had an event since the last call.
    pub(crate) fn take_heard(&mut self) -> Vec<SiteId> {
        let mut heard = Vec::new();
        for state in &mut self.sites {
            if std::mem::take(&mut state.heard) {
                heard.push(state.id.clone());
            }
        }
        heard
    }

    /// Returns the counts since the last call.
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::replace(&mut self.counters, Counters::new(self.config.sources.len()))
    }

    /// Gauges. Looks at every site: meant for once a second.
    pub fn stats(&self) -> Stats {
        Stats {
            sites: self.sites.len(),
            visitors: self
                .sites
                .iter()
                .map(|state| u64::from(state.window.live()))
                .sum(),
            spike_episodes: self.sites.iter().map(|state| u64::from(state.episodes())).sum(),
        }
    }

    /// True if the windows of some site hold less than all records since their beginning.
    pub(crate) fn has_incomplete_windows(&self) -> bool {
        self.sites.iter().any(|state| {
            let window = &state.window;
            !self.completeness.is_exact(window.now(), window.longest())
                || state.is_behind(&self.resources.segments)
        })
    }

    /// The second up to which the clock of a silent site is moved on.
    fn floor(&self, clock: SourceClock) -> u32 {
        match (clock, self.log_clock_ms) {
            (SourceClock::Live, _) => self.live_floor,
            (SourceClock::Log, None) => 0,
            (SourceClock::Log, Some(ms)) => whole_second(ms.saturating_sub(self.config.out_of_order_ms)),
        }
    }

    /// The index of a site's state, if it has one.
    fn find(&self, site_id: &str) -> Option<usize> {
        let hash = self.hasher.site(site_id);
        self.index.find(hash, |index| self.is_at(index, site_id))
    }

    fn is_at(&self, index: usize, site_id: &str) -> bool {
        let state = self.sites.get(index);
        state.is_some_and(|state| state.id.as_str() == site_id)
    }

    fn add(&mut self, state: SiteState) {
        let hash = self.hasher.site(state.id.as_str());
        self.index.insert(hash, self.sites.len());
        self.sites.push(state);
    }

    /// Removes a site; the last one takes its index.
    fn remove(&mut self, index: usize) {
        let hash = |state: &SiteState| self.hasher.site(state.id.as_str());
        let mut state = self.sites.swap_remove(index);
        state.release(&mut self.resources);
        self.index.set(hash(&state), index, None);
        if let Some(moved) = self.sites.get(index) {
            self.index.set(hash(moved), self.sites.len(), Some(index));
        }
    }

    /// Lists a site's state to be written, once.
    fn mark_dirty(&mut self, index: usize) {
        let state = &mut self.sites[index];
        if !std::mem::replace(&mut state.dirty, true) {
            self.dirty.push(state.id.clone());
        }
    }

    /// True if a site of which no record was read yet is moved by the wall clock.
    fn starts_live(&self) -> bool {
        let mut sources = self.config.sources.iter();
        sources.all(|source| source.clock == SourceClock::Live)
    }
}

#[cfg(test)]
mod tests;

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
/// Records that are rejected.
mod rejects;
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
/// The part of an event in ids.
mod event_ids;
/// The sites' past and present, to be kept.
mod history;
/// An index of the sites.
pub(crate) mod site_index;
/// Changes of the registry.
mod registry;
/// Sites that are registered while their partition is read.
mod beginnings;
/// Sites that are registered again.
mod registrations;
/// Instants at which something falls due.
mod timers;
/// Sites that wait for records their loaded states account for.
mod behind;
/// Sites whose clocks are held back, since their source delivers nothing.
mod held_back;
/// The passing of time.
mod tick;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::completeness::Completeness;
use super::keyed_hash::EventHasher;
use super::notification::Decision;
use super::site::beginning::Beginning;
use super::site::labels::LabelBudget;
use super::site::site_outcome::SiteOutcome;
use super::site::state_record::StateRecord;
use super::site::{PartitionResources, SiteState};
use super::window::segments::Segments;
use crate::domain::episode::EpisodeEntry;
use crate::domain::event::{EventType, SourceClock};
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use crate::telemetry::words::SuppressReason;
use behind::BehindSites;
use config::EngineConfig;
use event_time::whole_second;
use held_back::{HELD_BACK_SECONDS, SilentSources};
use site_index::SiteIndex;
use stats::{Counters, Stats};
use timers::Timers;

/// Decisions of one site that may wait for confirmation before [`Engine::wants_flush`] asks for a
/// stop. With as many more as one record can add (one a webhook), the site's state stays small.
const MAX_UNCONFIRMED: usize = 6;

/// Most changes of episodes that wait to be handed over, which happens every second.
const MAX_EPISODES: usize = 50_000;

/// A notification that was decided and not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Withheld {
    pub(crate) site_id: SiteId,
    pub(crate) event: EventType,
    pub(crate) reason: SuppressReason,
}

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
    /// Time of the record that set it.
    log_record_ms: i64,
    /// The latest time of a record read from live sources.
    live_clock_ms: Option<i64>,
    /// The whole second up to which the wall clock has moved silent sites.
    live_floor: u32,
    completeness: Completeness,
    /// Sites whose state is to be written.
    dirty: Vec<SiteId>,
    /// Records to be written for sites without a state here: tombstones, and states that wait for
    /// their sites.
    others: Vec<StateRecord>,
    /// Set when a site has as many unconfirmed decisions as it should.
    wants_flush: bool,
    counters: Counters,
    /// Records of loaded states that have several, by site and number.
    loaded_parts: HashMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Loaded states with something that only a newer version knows.
    foreign_states: u64,
    /// True until the windows of every source were rebuilt.
    was_rebuilding: bool,
    /// Sources that deliver nothing though they should.
    silent_sources: SilentSources,
    /// Sites of logs by the instant of their next look.
    timers: Timers,
    /// Sites whose look has to wait until their loaded state is caught up with.
    behind: BehindSites,
    /// Notifications that fell due without a record, and depend on no state.
    ready: Vec<Decision>,
    /// Notifications decided and not sent.
    withheld: Vec<Withheld>,
    /// Changes of episodes, to be kept.
    episodes: Vec<EpisodeEntry>,
    /// Number of the round in which sites are looked at.
    round: usize,
    /// Loaded states by key, of sites that the registry does not know.
    unclaimed: BTreeMap<String, Vec<u8>>,
    /// Beginnings of sites of which nothing else is known.
    beginnings: HashMap<SiteId, Box<Beginning>>,
    /// Sites whose states were claimed by the registry after the others were loaded.
    claimed: Vec<SiteId>,
    /// Numbers of goals, kept to spare an allocation for each event.
    found: Vec<u32>,
}

impl Engine {
    /// Age from which on an event of a live source notifies nobody, in milliseconds.
    pub(crate) fn stale_after_ms(&self) -> i64 {
        self.config.stale_after_ms
    }

    /// Makes an engine that has read nothing. States are loaded before the first record.
    pub fn new(config: EngineConfig, registry: Arc<Registry>) -> Self {
        let sources = config.sources.len();
        let mut engine = Self {
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
                    forgotten: 0,
                },
                inherited_floor: 0,
            },
            log_clock_ms: None,
            log_record_ms: 0,
            live_clock_ms: None,
            live_floor: 0,
            completeness: Completeness::new(config.sources.iter().map(|source| source.clock))
                .with_routed(config.routed_source()),
            dirty: Vec::new(),
            others: Vec::new(),
            wants_flush: false,
            counters: Counters::new(sources),
            loaded_parts: HashMap::new(),
            foreign_states: 0,
            was_rebuilding: true,
            silent_sources: SilentSources::new(sources),
            timers: Timers::default(),
            behind: BehindSites::new(sources),
            ready: Vec::new(),
            withheld: Vec::new(),
            episodes: Vec::new(),
            round: 0,
            unclaimed: BTreeMap::new(),
            beginnings: HashMap::new(),
            claimed: Vec::new(),
            found: Vec::new(),
            config,
        };
        engine.add_silent_sites();
        engine
    }

    /// Completeness of what was read of the partition.
    pub(crate) fn completeness(&self) -> &Completeness {
        &self.completeness
    }

    /// Index of the source into which others are routed.
    pub(crate) fn routed_source(&self) -> Option<usize> {
        self.config.routed_source()
    }

    /// Completeness, to note what becomes known besides records.
    pub(crate) fn completeness_mut(&mut self) -> &mut Completeness {
        &mut self.completeness
    }

    /// Sets for each source the time of its last record, in milliseconds since the Unix epoch, if
    /// it delivers nothing though it should. Drops and silences of its sites wait for it, for a
    /// while.
    pub(crate) fn set_silent_sources(&mut self, silent_since_ms: &[Option<i64>]) {
        self.silent_sources.set(silent_since_ms);
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
        let mut stats = Stats {
            sites: self.sites.len(),
            ..Stats::default()
        };
        for state in &self.sites {
            stats.visitors += u64::from(state.window.live());
            state.add_episodes(&mut stats.episodes);
            if stats.incomplete_partitions == 0 && self.is_incomplete(state) {
                stats.incomplete_partitions = 1;
            }
        }
        stats
    }

    /// Number of spikes going on.
    #[cfg(test)]
    pub(crate) fn spikes(&self) -> u64 {
        let stats = self.stats();
        stats.episodes.get(&EventType::VisitorSpike).copied().unwrap_or(0)
    }

    /// Notifications that fell due without a record, and depend on no state.
    pub(crate) fn take_ready(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.ready)
    }

    /// Notifications that were decided and not sent, since the last call.
    pub(crate) fn take_withheld(&mut self) -> Vec<Withheld> {
        std::mem::take(&mut self.withheld)
    }

    /// True if a site's windows hold less than all records since their beginning.
    fn is_incomplete(&self, state: &SiteState) -> bool {
        let window = &state.window;
        let is_exact = self
            .completeness
            .is_exact(state.clock(), window.now(), window.longest());
        !is_exact || state.is_behind(&self.completeness, &self.resources.segments)
    }

    /// The second to which the clock of a site moves on without events, by its source's clock. If
    /// the source is silent, 15 minutes less: so long drops wait.
    fn moves_on_to(&self, clock: SourceClock, source: usize) -> u32 {
        let live = self.live_floor.max(self.resources.inherited_floor);
        match (clock, self.log_clock_ms) {
            (SourceClock::Live, _) if self.silent_sources.is_silent(source) => {
                live.saturating_sub(HELD_BACK_SECONDS)
            }
            (SourceClock::Live, _) => live,
            (SourceClock::Log, None) => 0,
            (SourceClock::Log, Some(ms)) => whole_second(ms.saturating_sub(self.config.out_of_order_ms)),
        }
    }

    /// The second to which silent live sites of every source are moved; `None` before any is.
    fn common_floor(&self) -> Option<u32> {
        let sources = 0..self.config.sources.len();
        let floors = sources.map(|source| self.moves_on_to(SourceClock::Live, source));
        floors.min().filter(|floor| *floor > 0)
    }

    /// True if a site is registered under this id.
    pub(crate) fn is_registered(&self, site_id: &str) -> bool {
        self.registry.sites.contains_key(site_id)
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

    /// Applies what happened to a site: its state may have to be written.
    fn apply(&mut self, index: usize, outcome: SiteOutcome) {
        let state = &self.sites[index];
        self.wants_flush |= outcome.decided > 0 && state.unconfirmed_count() >= MAX_UNCONFIRMED;
        self.ready.extend(outcome.ready);
        let withheld = outcome.withheld.into_iter().map(|(event, reason)| Withheld {
            site_id: state.id.clone(),
            event,
            reason,
        });
        self.withheld.extend(withheld);
        for episode in &outcome.episodes {
            self.counters.evicted_rows += self.sites[index].rows.put(episode);
        }
        self.hand_over_later(outcome.episodes);
        if outcome.changed {
            self.mark_dirty(index);
        }
        self.timers.put(&mut self.sites[index]);
    }
}

#[cfg(test)]
mod tests;

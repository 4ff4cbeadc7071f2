//! One source partition: its sites, its clock, and what was decided of its records.
//!
//! The engine reads nothing and writes nothing. Its owner feeds it records in order, and after each batch
//!
//! 1. takes the `StateRecord`s, writes them and waits for the acknowledgements,
//! 2. publishes the decisions: those of the batch and those that came with the states,
//! 3. confirms the episodes whose deliveries are published,
//! 4. commits the `Checkpoint` taken at the end of the batch.
//!
//! Dropped at any point between and made again from what was acknowledged, an engine decides what is missing with the
//! same ids. Goals and custom events of uncommitted records are decided again even where a state is ahead of the
//! commit: only episodes rest on the state.

/// Settings of an engine, and what it reports.
pub mod config;
/// When an event happened.
pub mod event_time;
/// Where each site's state is, and asking memory for it ahead of time.
pub(crate) mod site_index;
/// A look ahead at events.
pub(crate) mod lookahead;
/// What an engine leaves behind, and takes over.
pub(crate) mod recovery;

use std::sync::Arc;

use super::keyed_hash::Hasher;
use super::notification::{Decision, Origin};
use super::site::labels::{Budget, OTHER};
use super::site::single_events;
use super::site::{Shared, SiteState};
use super::window::segments::Segments;
use super::window::visitors::NO_LABEL;
use super::window::{Seen, Visit};
use crate::domain::event::{Event, EventType};
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
pub(crate) use config::{
    Checkpoint, Counters, EngineConfig, Handled, Limits, RecordFacts, SourceTopic, Stats,
};
use event_time::{SourceClock, event_time, whole_second};
use lookahead::Lookahead;
use site_index::Places;

/// Decisions of one site that may wait for confirmation before [`Engine::wants_flush`] asks for a stop. With as
/// many more as one record can add (one a webhook), its state stays under 64 KiB.
const MAX_UNCONFIRMED: usize = 6;

/// The detection of one source partition.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) hasher: Hasher,
    pub(crate) places: Places,
    pub(crate) sites: Vec<SiteState>,
    pub(crate) shared: Shared,
    /// The latest event time read from log sources.
    pub(crate) log_clock_ms: Option<i64>,
    /// Up to where the wall clock has moved silent sites, in whole seconds.
    live_floor: u32,
    /// For each source, whether the last record lay below the commit, or none was read yet.
    rebuilding: Box<[bool]>,
    pub(crate) dirty: Vec<SiteId>,
    pub(crate) gone: Vec<SiteId>,
    /// See [`Engine::wants_flush`].
    pub(crate) wants_flush: bool,
    counters: Counters,
    /// See [`Engine::stale`].
    stale: Vec<EventType>,
    /// Retained to spare an allocation an event.
    found: Vec<u32>,
}

impl Engine {
    /// An engine that has read nothing. States are loaded before the first record.
    pub fn new(config: EngineConfig, registry: Arc<Registry>) -> Self {
        let sources = config.sources.len();
        Self {
            registry,
            hasher: Hasher::new(&config.hash_key),
            places: Places::default(),
            sites: Vec::new(),
            shared: Shared {
                segments: Segments::new(sources),
                labels: Budget {
                    per_site: config.limits.labels_per_site,
                    bytes: config.limits.label_bytes,
                    spent: 0,
                },
            },
            log_clock_ms: None,
            live_floor: 0,
            rebuilding: vec![true; sources].into_boxed_slice(),
            dirty: Vec::new(),
            gone: Vec::new(),
            wants_flush: false,
            counters: no_counters(sources),
            stale: Vec::new(),
            found: Vec::new(),
            config,
        }
    }

    /// Takes over what is registered now: changed sites are judged by their new settings; those gone are forgotten
    /// and their state is buried.
    pub(crate) fn set_registry(&mut self, registry: Arc<Registry>) {
        self.registry = registry;
        let mut place = 0;
        while let Some(state) = self.sites.get_mut(place) {
            match self.registry.sites.get(state.id.as_str()) {
                None => {
                    if state.stored {
                        self.gone.push(state.id.clone());
                    }
                    // Another one may take its place, and is looked at next.
                    self.remove(place);
                    continue;
                }
                Some(site) if site.version != state.site.version => {
                    if state.configure(Arc::clone(site), &mut self.shared.segments) {
                        list(&mut self.dirty, state);
                    }
                }
                Some(_) => {}
            }
            place += 1;
        }
    }

    /// Takes note of a record that was rejected, so that commits pass it.
    pub(crate) fn skip_record(&mut self, source: usize, offset: i64) {
        self.shared.segments.begin_record(source, offset);
    }

    /// Handles one record. `now_ms` is the wall clock, which log sources do not look at. Notifications of single
    /// events are added to `out`; those of episodes come with [`Self::take_dirty_states`].
    pub fn on_record(
        &mut self,
        event: &Event<'_>,
        record: &RecordFacts,
        now_ms: i64,
        out: &mut Vec<Decision>,
    ) -> Handled {
        let glimpse = self.glimpse(event);
        self.on_glimpsed(event, glimpse, record, now_ms, out)
    }

    /// Handles one record of which a glimpse was taken before. It may be out of date: that costs time and nothing
    /// else.
    pub(crate) fn on_glimpsed(
        &mut self,
        event: &Event<'_>,
        glimpse: Lookahead<'_>,
        record: &RecordFacts,
        now_ms: i64,
        out: &mut Vec<Decision>,
    ) -> Handled {
        self.stale.clear();
        let source = &self.config.sources[record.source];
        let segment = self.shared.segments.begin_record(record.source, record.offset);
        self.rebuilding[record.source] = record.replaying;
        let time = event_time(source.clock, event.timestamp_ms, record.record_ms, now_ms);
        if time.skewed && !record.replaying {
            self.counters.clock_skew[record.source] += 1;
        }
        // Of every site, registered or not: registering one changes nothing for the others.
        if source.clock == SourceClock::Log {
            self.log_clock_ms = self.log_clock_ms.max(Some(time.ms));
        }
        let Some(place) = self.place(&glimpse, &event.site_id) else {
            return Handled::Unregistered;
        };
        let floor = self.floor(self.config.sources[record.source].clock);
        let source = &self.config.sources[record.source];
        let is_live = source.clock == SourceClock::Live;
        let (clock, stale_after_ms) = (source.clock, self.config.stale_after_ms);
        let is_fresh = |at_ms: i64| event_time::is_fresh(clock, at_ms, now_ms, stale_after_ms);

        let state = &mut self.sites[place];
        state.live |= is_live;
        state.heard |= !record.replaying;
        // What was decided already, before the commit or by a state that is ahead of it, only rebuilds the window.
        // The partition's clock waits for the first record after that: until then the window is incomplete, and moved
        // on by others it would forget what triggers have still to be judged on.
        let quiet = record.replaying || state.covers(record.source, record.offset);
        let second = whole_second(time.ms);
        let to = if quiet { second } else { second.max(floor) };
        let mut changed = state.move_to(to, !quiet, &mut self.shared);

        let Lookahead { hashes, page, .. } = glimpse;
        let visit = hashes.visitor.map(|hash| {
            let (labels, counters) = (&mut self.shared.labels, &mut self.counters);
            let seen = Seen {
                hash,
                second,
                source: event.source.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.source, name, labels);
                    counters.evicted_sources += u64::from(label == OTHER);
                    label
                }),
                page: page.as_deref().map_or(NO_LABEL, |name| {
                    let label = state.label(hashes.page, name, labels);
                    counters.evicted_pages += u64::from(label == OTHER);
                    label
                }),
            };
            let most = self.config.limits.visitors_per_site;
            state.window.visit(seen, most, segment, &mut self.shared.segments)
        });
        if visit == Some(Visit::Refused) {
            self.counters.evicted_visitors += 1;
        }
        if visit != Some(Visit::Counted) {
            state.window.mark(second, segment, &mut self.shared.segments);
        }

        let fresh = is_fresh(time.ms);
        let origin = Origin {
            topic: &source.topic,
            partition: self.config.partition,
            source: record.source,
            offset: record.offset,
            record_ms: record.record_ms,
            event_ms: time.ms,
        };
        if !record.replaying {
            let (found, stale) = (&mut self.found, &mut self.stale);
            single_events::decide(state.takes(), event, origin, fresh, found, stale, out);
        }
        if !quiet {
            let judged = state.judge(origin, is_fresh(i64::from(state.window.now()) * 1_000));
            let stale = std::iter::repeat_n(EventType::VisitorSpike, judged.stale as usize);
            self.stale.extend(stale);
            changed |= judged.changed;
            self.wants_flush |= judged.decided > 0 && state.unconfirmed().len() >= MAX_UNCONFIRMED;
        }
        if changed {
            list(&mut self.dirty, state);
        }
        match (record.replaying, fresh) {
            (true, _) => Handled::Replayed,
            (false, true) => Handled::Counted,
            (false, false) => Handled::Stale,
        }
    }

    /// Moves silent sites on: by the wall clock if every source is `caught_up` (for live sites), by the latest time
    /// read (for those of logs). Once a second is enough. When it is called changes no decision about a log.
    pub fn tick(&mut self, now_ms: i64, caught_up: bool) {
        if caught_up {
            self.rebuilding.fill(false);
            let floor = whole_second(now_ms.saturating_sub(self.config.out_of_order_ms));
            self.live_floor = self.live_floor.max(floor);
        } else if self.rebuilding.contains(&true) {
            // Windows are incomplete: nothing may be judged on them.
            return;
        }
        let (live, log) = (self.floor(SourceClock::Live), self.floor(SourceClock::Log));
        for state in &mut self.sites {
            if caught_up {
                // What would lie beyond the end of a topic is from a topic of that name that is no more.
                state.covered = None;
            }
            let idle = state.window.is_empty() && state.episodes() == 0;
            let floor = if state.live { live } else { log };
            if idle || floor <= state.window.now() || state.is_behind(&self.shared.segments) {
                continue;
            }
            if state.move_to(floor, true, &mut self.shared) {
                list(&mut self.dirty, state);
            }
        }
    }

    /// The sites that had an event since the last call.
    pub(crate) fn take_heard(&mut self) -> Vec<SiteId> {
        let mut heard = Vec::new();
        for state in &mut self.sites {
            if std::mem::take(&mut state.heard) {
                heard.push(state.id.clone());
            }
        }
        heard
    }

    /// The notifications withheld from the last record because they lie too far in the past, by their type.
    pub(crate) fn stale(&self) -> &[EventType] {
        &self.stale
    }

    /// What happened since the last call.
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::replace(&mut self.counters, no_counters(self.config.sources.len()))
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

    /// The second up to which a silent site's clock is moved on.
    fn floor(&self, clock: SourceClock) -> u32 {
        match (clock, self.log_clock_ms) {
            (SourceClock::Live, _) => self.live_floor,
            (SourceClock::Log, None) => 0,
            (SourceClock::Log, Some(ms)) => whole_second(ms.saturating_sub(self.config.out_of_order_ms)),
        }
    }

    /// The place of a site's state. One that is registered and has none is given one.
    fn place(&mut self, glimpse: &Lookahead<'_>, site_id: &str) -> Option<usize> {
        let guessed = glimpse.place.filter(|place| self.is_at(*place, site_id));
        guessed.or_else(|| self.find(site_id)).or_else(|| {
            let site = Arc::clone(self.registry.sites.get(site_id)?);
            self.add(SiteState::new(site, self.starts_live(), 0));
            Some(self.sites.len() - 1)
        })
    }

    pub(crate) fn find(&self, site_id: &str) -> Option<usize> {
        let hash = self.hasher.site(site_id);
        self.places.find(hash, |place| self.is_at(place, site_id))
    }

    fn is_at(&self, place: usize, site_id: &str) -> bool {
        let state = self.sites.get(place);
        state.is_some_and(|state| state.id.as_str() == site_id)
    }

    pub(crate) fn add(&mut self, state: SiteState) {
        let hash = self.hasher.site(state.id.as_str());
        self.places.insert(hash, self.sites.len());
        self.sites.push(state);
    }

    pub(crate) fn remove(&mut self, place: usize) {
        let hash = |state: &SiteState| self.hasher.site(state.id.as_str());
        let mut state = self.sites.swap_remove(place);
        self.places.set(hash(&state), place, None);
        if let Some(moved) = self.sites.get(place) {
            self.places.set(hash(moved), self.sites.len(), Some(place));
        }
        state.let_go(&mut self.shared);
    }
}

fn no_counters(sources: usize) -> Counters {
    Counters {
        clock_skew: vec![0; sources],
        ..Counters::default()
    }
}

/// Lists a state to be written, once.
pub(crate) fn list(dirty: &mut Vec<SiteId>, state: &mut SiteState) {
    if !std::mem::replace(&mut state.dirty, true) {
        dirty.push(state.id.clone());
    }
}

#[cfg(test)]
mod tests;

//! The state of one registered site: its window, its triggers, its goals.

/// Triggers of one site.
pub(crate) mod triggers;
/// Rules that triggers follow.
pub(crate) mod rules;
/// Notifications of single events.
pub(crate) mod single_events;
/// Meanings of a single event.
pub(crate) mod matches;
/// Goals that an event completes.
pub(crate) mod goals;
/// An index of paths and patterns.
pub(crate) mod path_index;
/// Page patterns with stars.
pub(crate) mod pattern;
/// Names of sources and pages as small numbers.
pub(crate) mod labels;
/// Samples of visitors by the minute.
mod sampling;
/// Top sources and pages.
pub(crate) mod top;
/// Notifications of episodes that are not confirmed.
pub(crate) mod unconfirmed;
/// The record of a site's episodes on the state topic.
pub(crate) mod state_record;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::keyed_hash::EventHashes;
use super::notification::{Decision, RecordOrigin, body};
use super::usual::past::SiteActivity;
use super::window::SlidingWindow;
use super::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, NotificationKind};
use crate::domain::notification::NotificationData;
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::time::from_ms;
use crate::prefetch::prefetch;
use goals::GoalIndex;
use labels::{LabelBudget, OTHER, SiteLabels};
use path_index::PathHeads;
use single_events::Subscriptions;
use state_record::StoredState;
use top::{top_pages, top_sources};
use triggers::{Fired, SiteTriggers, window_lengths};
use unconfirmed::Unconfirmed;

/// Resources that the sites of a partition share.
#[derive(Debug)]
pub(crate) struct PartitionResources {
    pub(crate) segments: Segments,
    pub(crate) labels: LabelBudget,
}

/// The state of one site. The parts that every event touches lie in as few cache lines as possible:
/// an event's cost is mostly the wait for them.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct SiteState {
    pub(crate) window: SlidingWindow,
    labels: SiteLabels,
    triggers: SiteTriggers,
    /// Beginnings of the paths that may complete a page goal.
    page_heads: PathHeads,
    /// The second from which on the next sample can be taken; 0 before the clock is known.
    pub(crate) next_sample: u32,
    /// Events since the last sample.
    pub(crate) events: u32,
    /// True if the wall clock moves the site while it is silent.
    pub(crate) live: bool,
    pub(crate) id: SiteId,
    /// True if some webhook subscribes to goals; otherwise no goal is looked for.
    has_goal_subscribers: bool,
    /// True if some webhook subscribes to custom events.
    has_custom_event_subscribers: bool,
    /// True if an event came since this was last asked.
    pub(crate) heard: bool,
    /// Listed to be written.
    pub(crate) dirty: bool,
    /// True if the state topic may hold a record of the site.
    pub(crate) stored: bool,
    /// For each source, the offset up to which episodes were already decided; `None` if no state
    /// was loaded.
    pub(crate) covered: Option<Box<[i64]>>,
    /// Sources in which the site had events, a bit each: only their records can be missing.
    sources: u64,
    pub(crate) site: Arc<Site>,
    /// Goals to which some webhook subscribes.
    goals: Box<GoalIndex>,
    unconfirmed: Unconfirmed,
    pub(crate) activity: Box<SiteActivity>,
}

/// Counts of what an event did to a site's triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvaluationCounts {
    /// True if the state is to be written.
    pub(crate) changed: bool,
    /// Notifications decided.
    pub(crate) decided: usize,
    /// Notifications withheld because they lie too far in the past.
    pub(crate) stale: u32,
}

/// Bit of a source; the last one stands for all that follow it.
fn source_bit(source: usize) -> u64 {
    1 << source.min(63)
}

impl SiteState {
    /// Makes the state of a site of which nothing is known.
    pub(crate) fn new(site: Arc<Site>, live: bool, now: u32) -> Self {
        let mut state = Self {
            window: SlidingWindow::new(&window_lengths(&site), now),
            labels: SiteLabels::default(),
            triggers: SiteTriggers::none(),
            next_sample: 0,
            events: 0,
            activity: Box::new(SiteActivity::new(&site)),
            live,
            id: site.id.clone(),
            has_goal_subscribers: false,
            has_custom_event_subscribers: false,
            heard: false,
            dirty: false,
            stored: false,
            covered: None,
            sources: 0,
            goals: Box::default(),
            page_heads: PathHeads::default(),
            unconfirmed: Unconfirmed::default(),
            site,
        };
        state.adopt_settings(false);
        state
    }

    /// Makes the state of a site as it was stored. The window is empty until the stream is read
    /// again.
    pub(crate) fn load(site: Arc<Site>, live: bool, stored: StoredState, covered: Box<[i64]>) -> Self {
        let mut state = Self::new(site, live, stored.clock);
        state.triggers = SiteTriggers::restore(stored.firing);
        state.adopt_settings(false);
        state.unconfirmed = Unconfirmed::restore(stored.unconfirmed, &state.id);
        for (source, last) in covered.iter().enumerate() {
            if *last >= 0 {
                state.note_source(source);
            }
        }
        state.covered = Some(covered);
        state.stored = true;
        state
    }

    /// Adopts a changed configuration. Returns true if an episode ended or got other subscribers.
    pub(crate) fn configure(&mut self, site: Arc<Site>, segments: &mut Segments) -> bool {
        let before = self.triggers.stored();
        self.window.set_lengths(&window_lengths(&site), segments);
        self.site = site;
        self.adopt_settings(true);
        before != self.triggers.stored()
    }

    /// Derives everything that follows from the configuration. `counted` is false while the
    /// window's counts are still to be rebuilt.
    fn adopt_settings(&mut self, counted: bool) {
        self.activity.configure(&self.site);
        let site = &self.site;
        self.triggers.configure(site, &self.window, counted);
        let enabled = || site.webhooks.iter().filter(|webhook| webhook.enabled);
        let has_subscriber = |name: &str| {
            let mut filters = enabled().filter_map(|webhook| webhook.triggers.goal_completion.as_ref());
            filters.any(|filter| filter.takes(name))
        };
        let goals = site.goals.iter().filter(|goal| has_subscriber(&goal.name));
        *self.goals = GoalIndex::new(goals.cloned());
        self.page_heads = self.goals.page_heads();
        self.has_goal_subscribers = enabled().any(|webhook| webhook.triggers.goal_completion.is_some());
        self.has_custom_event_subscribers = enabled().any(|webhook| webhook.triggers.custom_event.is_some());
    }

    /// Number of episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.triggers.episodes()
    }

    /// Moves the clock to `to`, if that is later, without a sample on the way. If `judged`,
    /// everything that falls due on the way happens in order, at its own instant. Returns true if a
    /// trigger's state changed.
    fn move_between_samples(&mut self, to: u32, judged: bool, resources: &mut PartitionResources) -> bool {
        if to <= self.window.now() {
            return false;
        }
        let mut changed = false;
        if judged && self.triggers.episodes() > 0 {
            while let Some(next) = self.triggers.next_due(&self.window)
                && next <= to
            {
                self.window.advance(next, &mut resources.segments);
                changed |= self.triggers.pass(next, &self.window);
            }
        }
        self.window.advance(to, &mut resources.segments);
        if self.window.is_empty() && self.labels.len() > 0 {
            self.labels.clear(&mut resources.labels);
        }
        changed
    }

    /// Asks memory for the parts of the state that an event needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.window);
        prefetch(&self.labels);
        prefetch(&self.triggers);
        prefetch(&self.id);
    }

    /// Asks memory for the visitor's slot, the labels and the ends of the window, once the state is
    /// there.
    pub(crate) fn prefetch_tables(&self, hashes: &EventHashes) {
        if let Some(first) = self.id.as_str().as_bytes().first() {
            prefetch(first);
        }
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch(visitor);
            self.labels.prefetch(hashes.source);
            self.labels.prefetch(hashes.page);
        }
    }

    /// Asks memory for the second of the visitor's latest event, once the visitor's slot is there.
    pub(crate) fn prefetch_second(&self, hashes: &EventHashes) {
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch_second(visitor);
        }
    }

    /// The label of a name of this site.
    pub(crate) fn label(&mut self, hash: u64, name: &str, budget: &mut LabelBudget) -> u16 {
        let (live, now) = (self.window.live(), self.window.now());
        if let Some(label) = self.labels.label(hash, name, live, now, budget) {
            return label;
        }
        self.labels.collect(self.window.live_mut(), now, budget);
        self.labels.label(hash, name, live, now, budget).unwrap_or(OTHER)
    }

    /// Judges every trigger on the event that came from `origin`.
    pub(crate) fn judge(&mut self, origin: RecordOrigin<'_>, fresh: bool) -> EvaluationCounts {
        let evaluation = self.triggers.judge(self.id.as_str(), &self.window, origin, fresh);
        let counts = EvaluationCounts {
            changed: evaluation.changed,
            decided: evaluation.fired.len(),
            stale: evaluation.stale,
        };
        for fired in evaluation.fired {
            let episode = fired.episode.id;
            let decision = self.spike_decision(fired, origin);
            self.unconfirmed.push(episode, decision);
        }
        counts
    }

    fn spike_decision(&mut self, fired: Fired, origin: RecordOrigin<'_>) -> Decision {
        const EVENT: EventType = EventType::VisitorSpike;
        let Fired {
            settings,
            episode,
            observation,
            webhooks,
        } = fired;
        let id = NotificationId::derive(
            observation.record_ms,
            self.id.as_str(),
            EVENT.as_str(),
            NotificationKind::Start,
            &[episode.id.as_bytes()],
        );
        let baseline = self.baseline();
        let visitors = || self.window.within(settings.window_seconds);
        let data = NotificationData::VisitorSpike {
            current_visitors: observation.count,
            threshold: settings.threshold,
            window_seconds: settings.window_seconds,
            baseline,
            top_sources: top_sources(visitors(), &self.labels),
            top_pages: top_pages(visitors(), &self.labels),
            started_at: from_ms(i64::from(episode.started_at) * 1_000),
        };
        Decision {
            id,
            event: EVENT,
            site_id: self.id.clone(),
            body: body(&self.site, id, EVENT, i64::from(observation.now) * 1_000, data),
            webhooks,
            created_at_ms: observation.record_ms,
            record: Some((origin.source, origin.offset)),
            episode: Some(episode.id),
        }
    }

    /// The part of the configuration by which single events are decided.
    pub(crate) fn subscriptions(&self) -> Subscriptions<'_> {
        Subscriptions {
            site: &self.site,
            goals: &self.goals,
            page_heads: self.page_heads,
            goal_completion: self.has_goal_subscribers,
            custom_event: self.has_custom_event_subscribers,
        }
    }

    /// Notes that the site had an event in a source.
    pub(crate) fn note_source(&mut self, source: usize) {
        self.sources |= source_bit(source);
    }

    /// True if the site may have had an event in a source.
    pub(crate) fn has_source(&self, source: usize) -> bool {
        self.sources & source_bit(source) != 0
    }

    /// True if the loaded state accounts for a record.
    pub(crate) fn covers(&self, source: usize, offset: i64) -> bool {
        let covered = self.covered.as_ref();
        covered.is_some_and(|covered| offset <= covered[source])
    }

    /// True if records that the loaded state accounts for are still to be read again.
    pub(crate) fn is_behind(&self, segments: &Segments) -> bool {
        self.covered.as_ref().is_some_and(|covered| {
            let mut covered = covered.iter().enumerate();
            covered.any(|(source, last)| *last >= segments.next_offset(source).unwrap_or_default())
        })
    }

    /// Returns the state to be written, and the decisions that are in it for the first time.
    pub(crate) fn store(&mut self, covered: BTreeMap<String, i64>) -> (Vec<u8>, Vec<Decision>) {
        let mut stored = StoredState::new(self.id.clone(), self.window.now(), covered);
        stored.firing = self.triggers.stored();
        let (unconfirmed, new) = self.unconfirmed.store();
        stored.unconfirmed = unconfirmed;
        self.dirty = false;
        self.stored = true;
        (stored.to_bytes(), new)
    }

    /// Number of decisions whose deliveries are not known to be published.
    pub(crate) fn unconfirmed_count(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Decisions whose deliveries are not known to be published.
    pub(crate) fn unconfirmed(&self) -> impl Iterator<Item = &Decision> {
        self.unconfirmed.iter()
    }

    /// Confirms an episode, whose deliveries are published. Returns true if it was unconfirmed.
    pub(crate) fn confirm(&mut self, episode: Uuid) -> bool {
        self.unconfirmed.confirm(episode)
    }

    /// Releases the shared resources, before the site is removed.
    pub(crate) fn release(&mut self, resources: &mut PartitionResources) {
        self.window.clear(&mut resources.segments);
        self.labels.clear(&mut resources.labels);
    }
}

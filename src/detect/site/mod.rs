//! Everything held of one registered site: its window, its triggers, its goals.

/// The triggers of one site.
pub(crate) mod triggers;
/// The rules that triggers follow.
pub(crate) mod rules;
/// Notifications of single events.
pub(crate) mod single_events;
/// Meanings of a single event.
pub(crate) mod matches;
/// Goals that an event completes.
pub(crate) mod goals;
/// Page patterns with stars.
pub(crate) mod pattern;
/// Names of sources and pages as small numbers.
pub(crate) mod labels;
/// The sources and pages most visitors have.
pub(crate) mod top;
/// The record of a site's episodes on the state topic.
pub(crate) mod state_record;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::keyed_hash::Hashes;
use super::notification::{Decision, Origin, body};
use super::window::Window;
use super::window::segments::Segments;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, NotificationKind};
use crate::domain::notification::NotificationData;
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use crate::domain::time::from_ms;
use crate::prefetch::prefetch;
use goals::{GoalIndex, Heads};
use labels::{Budget, Labels, OTHER};
use single_events::Takes;
use state_record::{Stored, StoredDecision};
use top::{top_pages, top_sources};
use triggers::{Fired, Triggers, lengths};

/// What the sites of a partition share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segments: Segments,
    pub(crate) labels: Budget,
}

/// The state of one site: what every event touches, in as few cache lines as may be. An event costs what it waits for
/// them, and little else.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct SiteState {
    pub(crate) window: Window,
    labels: Labels,
    triggers: Triggers,
    /// Which paths may complete a page goal.
    page_heads: Heads,
    /// Moved by the wall clock when it is silent.
    pub(crate) live: bool,
    pub(crate) id: SiteId,
    /// Whether some webhook takes goals; without one no goal is looked for.
    takes_goals: bool,
    /// Whether some webhook takes custom events.
    takes_custom: bool,
    /// It had an event since somebody last asked.
    pub(crate) heard: bool,
    /// Listed to be written.
    pub(crate) dirty: bool,
    /// A record of it may be on the state topic.
    pub(crate) stored: bool,
    /// If it was loaded: for each source, the offset up to which episodes were decided already.
    pub(crate) covered: Option<Box<[i64]>>,
    pub(crate) site: Arc<Site>,
    /// Those that some webhook takes.
    goals: Box<GoalIndex>,
    unconfirmed: Vec<Unconfirmed>,
}

/// A notification of an episode whose deliveries are not known to be published.
#[derive(Debug)]
struct Unconfirmed {
    episode: Uuid,
    decision: Decision,
    /// Not yet handed out together with the state.
    new: bool,
}

/// What an event did to a site's triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The state is to be written.
    pub(crate) changed: bool,
    /// Notifications decided.
    pub(crate) decided: usize,
    /// Notifications withheld because they lie too far in the past.
    pub(crate) stale: u32,
}

impl SiteState {
    /// A site of which nothing is known.
    pub(crate) fn new(site: Arc<Site>, live: bool, now: u32) -> Self {
        let mut state = Self {
            window: Window::new(&lengths(&site), now),
            labels: Labels::default(),
            triggers: Triggers::none(),
            live,
            id: site.id.clone(),
            takes_goals: false,
            takes_custom: false,
            heard: false,
            dirty: false,
            stored: false,
            covered: None,
            goals: Box::default(),
            page_heads: Heads::default(),
            unconfirmed: Vec::new(),
            site,
        };
        state.derive(false);
        state
    }

    /// The site as it was stored. Its window is empty until the stream is read again.
    pub(crate) fn load(site: Arc<Site>, live: bool, stored: Stored, covered: Box<[i64]>) -> Self {
        let mut state = Self::new(site, live, stored.clock);
        state.triggers = Triggers::restore(stored.firing);
        state.derive(false);
        state.unconfirmed = stored
            .unconfirmed
            .into_iter()
            .map(|decision| {
                let (episode, decision) = decision.into_decision(state.id.clone());
                Unconfirmed {
                    episode,
                    decision,
                    new: false,
                }
            })
            .collect();
        state.covered = Some(covered);
        state.stored = true;
        state
    }

    /// Takes over a changed configuration. Says whether episodes ended with it, or changed hands.
    pub(crate) fn configure(&mut self, site: Arc<Site>, segments: &mut Segments) -> bool {
        let before = self.triggers.stored();
        self.window.set_lengths(&lengths(&site), segments);
        self.site = site;
        self.derive(true);
        before != self.triggers.stored()
    }

    /// Everything that follows from the configuration. `counted` says that the window's counts are not yet to come.
    fn derive(&mut self, counted: bool) {
        let site = &self.site;
        self.triggers.configure(site, &self.window, counted);
        let enabled = || site.webhooks.iter().filter(|webhook| webhook.enabled);
        let takes_goal = |name: &str| {
            let mut filters = enabled().filter_map(|webhook| webhook.triggers.goal_completion.as_ref());
            filters.any(|filter| filter.takes(name))
        };
        let taken = site.goals.iter().filter(|goal| takes_goal(&goal.name));
        *self.goals = GoalIndex::new(taken.cloned());
        self.page_heads = self.goals.page_heads();
        self.takes_goals = enabled().any(|webhook| webhook.triggers.goal_completion.is_some());
        self.takes_custom = enabled().any(|webhook| webhook.triggers.custom_event.is_some());
    }

    /// Episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.triggers.episodes()
    }

    /// Moves the clock to `to`, if that is later. If `judged`, whatever falls due on the way happens at its own
    /// instant and in order; says whether that changed a trigger's state.
    pub(crate) fn move_to(&mut self, to: u32, judged: bool, shared: &mut Shared) -> bool {
        if to <= self.window.now() {
            return false;
        }
        let mut changed = false;
        if judged && self.triggers.episodes() > 0 {
            while let Some(next) = self.triggers.next_due(&self.window)
                && next <= to
            {
                self.window.advance(next, &mut shared.segments);
                changed |= self.triggers.pass(next, &self.window);
            }
        }
        self.window.advance(to, &mut shared.segments);
        if self.window.is_empty() && self.labels.len() > 0 {
            self.labels.clear(&mut shared.labels);
        }
        changed
    }

    /// Asks memory for what an event needs of the state itself.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.window);
        prefetch(&self.labels);
        prefetch(&self.triggers);
        prefetch(&self.id);
    }

    /// Asks memory for what an event needs beyond it, which is only known once the state is there.
    pub(crate) fn prefetch_deep(&self, hashes: &Hashes) {
        if let Some(first) = self.id.as_str().as_bytes().first() {
            prefetch(first);
        }
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch(visitor);
            self.labels.prefetch(hashes.source);
            self.labels.prefetch(hashes.page);
        }
    }

    /// Asks memory for what only the visitor's slot tells.
    pub(crate) fn prefetch_deepest(&self, hashes: &Hashes) {
        if let Some(visitor) = hashes.visitor {
            self.window.prefetch_second(visitor);
        }
    }

    /// The label of a name of this site.
    pub(crate) fn label(&mut self, hash: u64, name: &str, budget: &mut Budget) -> u16 {
        let live = self.window.live();
        if let Some(label) = self.labels.label(hash, name, live, budget) {
            return label;
        }
        self.labels.collect(self.window.live_mut(), budget);
        self.labels.label(hash, name, live, budget).unwrap_or(OTHER)
    }

    /// Judges every trigger on the event that came from `origin`.
    pub(crate) fn judge(&mut self, origin: Origin<'_>, fresh: bool) -> Transition {
        let judgement = self.triggers.judge(self.id.as_str(), &self.window, origin, fresh);
        let judged = Transition {
            changed: judgement.changed,
            decided: judgement.fired.len(),
            stale: judgement.stale,
        };
        for fired in judgement.fired {
            self.unconfirmed.push(Unconfirmed {
                episode: fired.episode.id,
                decision: self.spike_decision(fired, origin),
                new: true,
            });
        }
        judged
    }

    fn spike_decision(&self, fired: Fired, origin: Origin<'_>) -> Decision {
        const EVENT: EventType = EventType::VisitorSpike;
        let Fired {
            settings,
            episode,
            moment,
            webhooks,
        } = fired;
        let id = NotificationId::derive(
            moment.record_ms,
            self.id.as_str(),
            EVENT.as_str(),
            NotificationKind::Start,
            &[episode.id.as_bytes()],
        );
        let visitors = || self.window.within(settings.window_seconds);
        let data = NotificationData::VisitorSpike {
            current_visitors: moment.count,
            threshold: settings.threshold,
            window_seconds: settings.window_seconds,
            baseline: None,
            top_sources: top_sources(visitors(), &self.labels),
            top_pages: top_pages(visitors(), &self.labels),
            started_at: from_ms(i64::from(episode.started_at) * 1_000),
        };
        Decision {
            id,
            event: EVENT,
            site_id: self.id.clone(),
            body: body(&self.site, id, EVENT, i64::from(moment.now) * 1_000, data),
            webhooks,
            created_at_ms: moment.record_ms,
            record: Some((origin.source, origin.offset)),
            episode: Some(episode.id),
        }
    }

    /// What single events are decided by.
    pub(crate) fn takes(&self) -> Takes<'_> {
        Takes {
            site: &self.site,
            goals: &self.goals,
            page_heads: self.page_heads,
            goal_completion: self.takes_goals,
            custom_event: self.takes_custom,
        }
    }

    /// Whether the loaded state accounts for a record already.
    pub(crate) fn covers(&self, source: usize, offset: i64) -> bool {
        let covered = self.covered.as_ref();
        covered.is_some_and(|covered| offset <= covered[source])
    }

    /// Whether records that the loaded state accounts for are still to be read again.
    pub(crate) fn is_behind(&self, segments: &Segments) -> bool {
        self.covered.as_ref().is_some_and(|covered| {
            let mut covered = covered.iter().enumerate();
            covered.any(|(source, last)| *last >= segments.next_offset(source).unwrap_or_default())
        })
    }

    /// The state to be written, and the decisions that are in it for the first time.
    pub(crate) fn store(&mut self, covered: BTreeMap<String, i64>) -> (Vec<u8>, Vec<Decision>) {
        let mut stored = Stored::new(self.id.clone(), self.window.now(), covered);
        stored.firing = self.triggers.stored();
        let mut new = Vec::new();
        for unconfirmed in &mut self.unconfirmed {
            let decision = &unconfirmed.decision;
            let kept = StoredDecision::new(unconfirmed.episode, decision);
            stored.unconfirmed.push(kept);
            if std::mem::take(&mut unconfirmed.new) {
                new.push(decision.clone());
            }
        }
        self.dirty = false;
        self.stored = true;
        (stored.to_bytes(), new)
    }

    /// Decisions whose deliveries are not known to be published.
    pub(crate) fn unconfirmed(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.unconfirmed.iter().map(|unconfirmed| &unconfirmed.decision)
    }

    /// The deliveries of an episode's notification are published. Says whether that was news.
    pub(crate) fn confirm(&mut self, episode: Uuid) -> bool {
        let before = self.unconfirmed.len();
        self.unconfirmed
            .retain(|unconfirmed| unconfirmed.episode != episode);
        self.unconfirmed.len() < before
    }

    /// Lets go of what is shared, before the site is forgotten.
    pub(crate) fn let_go(&mut self, shared: &mut Shared) {
        self.window.clear(&mut shared.segments);
        self.labels.clear(&mut shared.labels);
    }
}

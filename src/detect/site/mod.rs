//! The state of one registered site: its windows, its triggers, its goals.

/// Triggers of one site.
pub(crate) mod triggers;
/// Rules that triggers follow.
pub(crate) mod rules;
/// Conditions of triggers.
pub(crate) mod condition;
/// Notifications of episodes.
pub(crate) mod episode_notice;
/// Notifications of single events.
pub(crate) mod single_events;
/// Counters of each k-th event.
pub(crate) mod every;
/// The bound on a webhook's notifications a minute.
pub(crate) mod cap;
/// Event ids that were seen.
pub(crate) mod recent_ids;
/// Second copies of events.
pub(crate) mod second_copies;
/// Meanings of a single event.
pub(crate) mod matches;
/// Goals that an event completes.
pub(crate) mod goals;
/// An index of paths and patterns.
pub(crate) mod path_index;
/// The form in which paths are compared.
pub(super) mod canonical_path;
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
/// Rows of episodes that are not known to be saved.
pub(crate) mod episode_rows;
/// The records of a site's state on the state topic.
pub(crate) mod state_record;
/// Facts about the passing of time.
pub(crate) mod passing;
/// Evaluations of the triggers, and what they lead to.
mod judging;
/// The passing of time.
mod moving;
/// Effects of an event or of time.
pub(crate) mod site_outcome;
/// Records that a loaded state accounts for.
pub(crate) mod coverage;
/// Beginnings of sites that were registered while their partition was read.
pub(crate) mod beginning;
/// Notes of events, for the rules that look back further than the windows.
mod noting;
/// Errors and rejected records.
mod errors;
/// The quick test if any subscriber can want an event.
mod subscriptions;
/// Storing a site's state, and loading it.
mod storing;
/// Prefetching for an event.
mod prefetching;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::notification::Decision;
use super::usual::past::SiteActivity;
use super::window::SlidingWindow;
use super::window::latest::LatestVisitors;
use super::window::segments::{Segment, Segments};
use crate::domain::event::EventType;
use crate::domain::goal_renames::GoalRenames;
use crate::domain::id::NotificationId;
use crate::domain::registry::Site;
use crate::domain::site::SiteId;
use beginning::Beginning;
use cap::MinuteCaps;
use episode_rows::EpisodeRows;
use every::EveryCounters;
use goals::GoalIndex;
use labels::{LabelBudget, OTHER, SiteLabels};
use matches::subscription;
use path_index::PathEnds;
use recent_ids::RecentIds;
use site_outcome::SiteOutcome;
use subscriptions::Subscriptions;
use triggers::SiteTriggers;
use triggers::asked::window_lengths;
use unconfirmed::Unconfirmed;

/// Resources that the sites of a partition share.
#[derive(Debug)]
pub(crate) struct PartitionResources {
    pub(crate) segments: Segments,
    pub(crate) labels: LabelBudget,
    /// The whole second up to which the wall clock had moved silent live sites at an earlier
    /// owner's commit: what was read before it is read again as if at that second.
    pub(crate) inherited_floor: u32,
}

/// The state of one site. The parts that every event touches lie in as few cache lines as possible:
/// an event's cost is mostly the wait for them.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct SiteState {
    pub(crate) window: SlidingWindow,
    labels: SiteLabels,
    /// Ends of the paths that may complete a page goal.
    page_ends: PathEnds,
    /// The next instant at which something falls due; 0 if that is to be found out.
    pub(crate) next_due: u32,
    /// Second of the site's earliest event.
    first_event: Option<u32>,
    /// The second from which on the next sample can be taken; 0 before the clock is known.
    pub(crate) next_sample: u32,
    /// Events since the last sample.
    pub(crate) events: u32,
    /// True if the wall clock moves the site while it is silent.
    pub(crate) live: bool,
    /// True if something is overdue: it is decided after the batch, not before.
    pub(crate) is_overdue: bool,
    /// True if the latest visitors are to be taken from the table, because that holds enough.
    latest_is_behind: bool,
    /// True if some webhook subscribes to goals; otherwise no goal is looked for.
    has_goal_subscribers: bool,
    /// True if some webhook subscribes to custom events.
    has_custom_event_subscribers: bool,
    /// True if some webhook counts single events, errors or rejects, or waits for silence: each is
    /// counted once.
    pub(crate) remembers_ids: bool,
    /// True if visitors may be missing, until a second that is not known yet.
    pub(crate) lacks_visitors: bool,
    /// True until the first event of a site that was added without any: no source has told by which
    /// clock it goes.
    pub(crate) is_live_by_default: bool,
    /// True if an event came since this was last asked.
    pub(crate) heard: bool,
    /// Listed to be written.
    pub(crate) dirty: bool,
    /// Source of the latest event.
    pub(crate) source: u16,
    /// Second of the latest event.
    pub(crate) last_event: u32,
    /// The instant for which the site is put in among the timers.
    pub(crate) queued_at: u32,
    triggers: SiteTriggers,
    pub(crate) id: SiteId,
    /// The segment of the first change that is not written, which is held until it is.
    unsaved: Option<Segment>,
    /// When the state was last written for its minor changes, in milliseconds since the Unix epoch.
    pub(crate) saved_at_ms: i64,
    /// Number of records on the state topic that may hold the site's state.
    stored_parts: u32,
    /// For each source, the offset up to which episodes were already decided; `None` if no state
    /// was loaded.
    pub(crate) covered: Option<Box<[i64]>>,
    /// The beginning, if the partition was read before the site was registered.
    pub(crate) beginning: Option<Box<Beginning>>,
    /// Sources in which the site had events, a bit each: only their records can be missing.
    sources: u64,
    pub(crate) site: Arc<Site>,
    latest: LatestVisitors,
    /// Goals to which some webhook subscribes.
    goals: Box<GoalIndex>,
    unconfirmed: Unconfirmed,
    every: EveryCounters,
    caps: MinuteCaps,
    recent_ids: RecentIds,
    /// Fields of the stored state that only a newer version knows.
    foreign: BTreeMap<String, Box<RawValue>>,
    pub(crate) activity: Box<SiteActivity>,
    pub(crate) rows: Box<EpisodeRows>,
}

impl SiteState {
    /// Makes the state of a site of which nothing is known.
    pub(crate) fn new(site: Arc<Site>, live: bool, now: u32, segments: &mut Segments) -> Self {
        let mut state = Self {
            window: SlidingWindow::new(&window_lengths(&site), now),
            labels: SiteLabels::default(),
            triggers: SiteTriggers::none(),
            next_due: 0,
            first_event: None,
            next_sample: 0,
            events: 0,
            activity: Box::new(SiteActivity::new(&site)),
            live,
            is_overdue: false,
            latest_is_behind: false,
            id: site.id.clone(),
            has_goal_subscribers: false,
            has_custom_event_subscribers: false,
            remembers_ids: false,
            lacks_visitors: false,
            is_live_by_default: false,
            heard: false,
            dirty: false,
            source: 0,
            last_event: 0,
            queued_at: u32::MAX,
            unsaved: None,
            saved_at_ms: 0,
            stored_parts: 0,
            covered: None,
            beginning: None,
            latest: LatestVisitors::default(),
            sources: 0,
            goals: Box::default(),
            page_ends: PathEnds::default(),
            unconfirmed: Unconfirmed::default(),
            every: EveryCounters::default(),
            caps: MinuteCaps::default(),
            recent_ids: RecentIds::default(),
            foreign: BTreeMap::new(),
            rows: Box::default(),
            site,
        };
        state.adopt_settings(now, segments);
        state
    }

    /// Adopts a changed configuration. Returns true if the state is to be written.
    pub(crate) fn configure(&mut self, site: Arc<Site>, segments: &mut Segments) -> bool {
        let now = self.window.now();
        // Now, while the table still holds everyone; with shorter windows it may not.
        self.sync_latest();
        let before = (self.triggers.lasting_stored(now), self.window.kept_from());
        self.window.set_lengths(&window_lengths(&site), segments);
        let is_renamed = self.follow_names(&site, segments);
        self.site = site;
        self.adopt_settings(now, segments);
        // Read again, events of before the change may count for other webhooks.
        let has_counted = self.is_unsaved() && !self.every.is_empty();
        is_renamed || has_counted || before != (self.triggers.lasting_stored(now), self.window.kept_from())
    }

    /// Gives goals that were renamed their new names; false if none was.
    fn follow_names(&mut self, site: &Site, segments: &mut Segments) -> bool {
        let before = self.site.goals.iter().map(|goal| (goal.name.as_str(), goal.id));
        let renames = GoalRenames::between(before, site);
        self.rename_goals(&renames, segments);
        !renames.is_empty()
    }

    fn rename_goals(&mut self, renames: &GoalRenames, segments: &mut Segments) {
        if renames.is_empty() {
            return;
        }
        self.every.rename_goals(renames);
        self.triggers.rename_goals(renames, self.window.now(), segments);
        self.activity.rename_goals(renames);
        self.caps.rename_goals(renames);
    }

    /// Derives everything that follows from the configuration. The latest visitors of triggers that
    /// were not there before are known from the second `known_since` on.
    fn adopt_settings(&mut self, known_since: u32, segments: &mut Segments) {
        let site = Arc::clone(&self.site);
        self.activity.configure(&site);
        self.triggers
            .configure(&site, self.window.now(), known_since, segments);
        self.activity.watch(self.triggers.silences());
        self.sync_latest();
        self.latest.set_kept(self.triggers.needs.latest as usize);
        self.every.configure(&site);
        self.caps.configure(&site);
        self.next_due = 0;
        let enabled = || site.webhooks.iter().filter(|webhook| webhook.enabled);
        let is_subscribed = |name: &str| {
            let by_webhook =
                enabled().any(|one| subscription(&one.triggers, EventType::GoalCompletion, name).is_some());
            by_webhook || self.triggers.waits_for_goal(name)
        };
        let goals = site.goals.iter().filter(|goal| is_subscribed(&goal.name));
        *self.goals = GoalIndex::new(goals.cloned());
        self.page_ends = self.goals.page_ends();
        self.has_goal_subscribers = enabled().any(|webhook| webhook.triggers.goal_completion.is_some())
            || self.triggers.waits_for_goals();
        self.remembers_ids = self.triggers.counts_single()
            || self.triggers.watches_silence()
            || enabled().any(|webhook| webhook.triggers.count_names());
        if !self.remembers_ids {
            self.recent_ids.clear(segments);
        }
        self.has_custom_event_subscribers = enabled().any(|webhook| webhook.triggers.custom_event.is_some());
    }

    /// Takes the episodes that ended because nobody asks for their trigger any more.
    pub(crate) fn take_ended(&mut self) -> SiteOutcome {
        let mut outcome = SiteOutcome::default();
        let ended = self.triggers.take_ended();
        outcome.changed = !ended.is_empty();
        self.add_entries(ended, &mut outcome);
        outcome
    }

    /// Number of episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.triggers.episodes()
    }

    /// Adds the number of episodes going on of each type.
    pub(crate) fn add_episodes(&self, counts: &mut BTreeMap<EventType, u64>) {
        self.triggers.add_episodes(counts);
    }

    /// The label of a name of this site.
    pub(crate) fn label(&mut self, hash: u64, name: &str, budget: &mut LabelBudget) -> u16 {
        let (live, now) = (self.window.live(), self.window.now());
        if let Some(label) = self.labels.label(hash, name, live, now, budget) {
            return label;
        }
        let rare = self.labels.rare(self.window.everyone(), budget);
        self.labels.collect(self.window.live_mut(), &rare, now, budget);
        self.labels.label(hash, name, live, now, budget).unwrap_or(OTHER)
    }

    /// True if rejected records are counted.
    pub(crate) fn counts_rejects(&self) -> bool {
        self.triggers.counts_rejects()
    }

    /// The part of the configuration by which single events are decided.
    fn subscriptions(&self) -> Subscriptions {
        Subscriptions {
            page_ends: self.page_ends,
            goal_completion: self.has_goal_subscribers,
            custom_event: self.has_custom_event_subscribers,
        }
    }

    /// True if there is nothing that time could change until `floor`.
    pub(crate) fn is_idle(&self, floor: u32) -> bool {
        self.window.is_empty()
            && self.recent_ids.is_empty()
            && self.next_due == u32::MAX
            && !self.is_overdue
            && floor < self.next_sample
    }

    /// Number of decisions whose deliveries are not known to be published.
    pub(crate) fn unconfirmed_count(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Decisions whose deliveries are not known to be published.
    pub(crate) fn unconfirmed(&self) -> impl Iterator<Item = &Decision> {
        self.unconfirmed.iter()
    }

    /// Confirms a notification, whose deliveries are published. Returns true if the state is to be
    /// written without it.
    pub(crate) fn confirm(&mut self, notification: NotificationId) -> bool {
        self.unconfirmed.confirm(notification)
    }

    /// Releases the shared resources, before the site is removed.
    pub(crate) fn release(&mut self, resources: &mut PartitionResources) {
        self.window.clear(&mut resources.segments);
        self.labels.clear(&mut resources.labels);
        self.triggers.release(&mut resources.segments);
        self.recent_ids.clear(&mut resources.segments);
        if let Some(unsaved) = self.unsaved.take() {
            resources.segments.release(unsaved);
        }
    }
}

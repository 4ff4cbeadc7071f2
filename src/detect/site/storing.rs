//! Storing a site's state, and loading it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::episode_rows::EpisodeRows;
use super::state_record::beginning::StoredBeginning;
use super::state_record::hour::StoredHour;
use super::state_record::{StateRecord, StoredClock, StoredState};
use super::triggers::SiteTriggers;
use super::triggers::lacking::NOT_KNOWN;
use super::unconfirmed::Unconfirmed;
use super::{PartitionResources, SiteState};
use crate::detect::window::latest::LatestVisitors;
use crate::detect::window::segments::Segments;
use crate::domain::goal_renames::GoalRenames;
use crate::domain::id::GoalId;
use crate::domain::registry::Site;
use crate::domain::trigger::DEFAULT_WINDOW_SECONDS;

impl SiteState {
    /// Makes the state of a site as it was stored. The window is empty until the stream is read
    /// again.
    pub(crate) fn load(
        site: Arc<Site>,
        goes_by: StoredClock,
        stored: StoredState,
        covered: Box<[i64]>,
        segments: &mut Segments,
    ) -> Self {
        let is_live = goes_by != StoredClock::Log;
        let mut state = Self::new(Arc::clone(&site), is_live, stored.clock, segments);
        state.is_live_by_default = goes_by == StoredClock::Undecided;
        state.triggers = SiteTriggers::restore(stored.triggers, stored.clock);
        state.every.restore(stored.every);
        let names = stored.goals.iter().map(|(id, name)| (name.as_str(), *id));
        let renames = GoalRenames::between(names, &site);
        state.rename_goals(&renames, segments);
        // A trigger that was made since does not know the visitors before it.
        state.adopt_settings(NOT_KNOWN, segments);
        state.first_event = stored.first_event;
        state.window.set_kept_from(stored.kept_from.unwrap_or(0));
        if stored
            .window_seconds
            .is_some_and(|seconds| seconds < state.window.longest())
        {
            state.window.set_kept_from(NOT_KNOWN);
        }
        if let Some(latest) = &stored.latest {
            state.latest.read_text(latest);
        }
        state.lacks_visitors = state.window.kept_from() == NOT_KNOWN || state.triggers.lack_latest();
        state.unconfirmed = Unconfirmed::restore(stored.unconfirmed, &state.id);
        *state.rows = EpisodeRows::restore(stored.rows, &state.id, stored.clock);
        for (source, last) in covered.iter().enumerate() {
            if *last >= 0 {
                state.note_source(source);
                // There are few sources.
                state.source = source as u16;
            }
        }
        state.last_event = state.latest.newest().unwrap_or(0);
        state.covered = Some(covered);
        state.stored_parts = stored.parts;
        state.foreign = stored.foreign;
        if let Some(hour) = stored.hour {
            let mut counts = hour.to_summary();
            renames.apply_to_counts(&mut counts.goals);
            state.activity.carry(hour.at, counts);
        }
        state
    }

    /// True if events were counted in the present hour of which the stored state does not know.
    pub(crate) fn has_unstored_counts(&self) -> bool {
        self.activity.has_unstored(self.events)
    }

    /// Notes that the site is known only by records that are read again. They cover only the
    /// windows that it had, so a longer window lacks the time before them.
    pub(crate) fn begin_by_replay(&mut self) {
        if self.triggers.needs.without_events && self.window.longest() > DEFAULT_WINDOW_SECONDS {
            self.window.set_kept_from(NOT_KNOWN);
            self.lacks_visitors = true;
        }
    }

    /// Notes that the site is known from its first webhook on: earlier events were passed over.
    pub(crate) fn begin_with_webhooks(&mut self) {
        let since_ms = self
            .site
            .webhooks
            .iter()
            .map(|webhook| webhook.active_since_ms)
            .min();
        let since = since_ms.unwrap_or(0).div_euclid(1_000);
        self.window.set_kept_from(u32::try_from(since).unwrap_or(0));
    }

    /// Begins anew by the clock of a log, from which its first event came.
    pub(crate) fn go_by_log(&mut self, resources: &mut PartitionResources) {
        self.release(resources);
        let (stored_parts, dirty) = (self.stored_parts, self.dirty);
        let beginning = self.beginning.take();
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        let rows = std::mem::take(&mut self.rows);
        *self = Self::new(Arc::clone(&self.site), false, 0, &mut resources.segments);
        (self.stored_parts, self.dirty) = (stored_parts, dirty);
        (self.unconfirmed, self.rows) = (unconfirmed, rows);
        if let Some(beginning) = beginning {
            self.begin_at(beginning);
        }
    }

    /// Notes that events were missed until now: nothing that is known of visitors and of the latest
    /// event holds.
    pub(crate) fn miss_events(&mut self) {
        self.window.set_kept_from(NOT_KNOWN);
        self.latest = LatestVisitors::default();
        self.latest.set_kept(self.triggers.needs.latest as usize);
        self.triggers.miss_events();
        self.lacks_visitors = true;
    }

    /// Notes that from a second on no visitor is missing. Asked only where some may be.
    pub(crate) fn end_lack(&mut self, from: u32) {
        self.lacks_visitors = false;
        self.next_due = 0;
        if self.window.kept_from() == NOT_KNOWN {
            self.window.set_kept_from(from);
        }
        self.triggers.end_lack(from);
    }

    /// Returns the records to be written. The last one has the decisions that are in the state for
    /// the first time.
    pub(crate) fn store(
        &mut self,
        covered: BTreeMap<String, i64>,
        beginning: Option<StoredBeginning>,
        segments: &mut Segments,
    ) -> Vec<StateRecord> {
        self.sync_latest();
        let now = self.window.now();
        let mut stored = StoredState::new(self.id.clone(), now, covered);
        stored.registered = Some(self.site.registered_ms);
        stored.goes_by = Some(match (self.is_live_by_default, self.live) {
            (true, _) => StoredClock::Undecided,
            (false, true) => StoredClock::Live,
            (false, false) => StoredClock::Log,
        });
        stored.beginning = beginning;
        stored.triggers = self.triggers.stored(now);
        stored.window_seconds = Some(self.window.longest());
        stored.kept_from = Some(self.window.kept_from()).filter(|from| *from > 0);
        if self.triggers.needs.timers {
            stored.first_event = self.first_event;
        }
        if self.triggers.needs.latest > 0 {
            stored.latest = Some(self.latest.to_text());
        }
        stored.every = self.every.stored();
        stored.goals = self.goals_gone_by();
        stored.foreign.clone_from(&self.foreign);
        let counts = self.activity.counts(self.events);
        self.activity.note_stored(counts.as_ref());
        stored.hour = counts.map(|(at, counts)| StoredHour::of(at, &counts));
        let (unconfirmed, new) = self.unconfirmed.store();
        stored.unconfirmed = unconfirmed;
        stored.rows = self.rows.store();
        self.dirty = false;
        if let Some(unsaved) = self.unsaved.take() {
            segments.release(unsaved);
        }
        let mut records: Vec<StateRecord> = (0..)
            .zip(stored.to_parts())
            .map(|(part, bytes)| StateRecord {
                site_id: self.id.clone(),
                part,
                bytes: Some(bytes),
                decisions: Vec::new(),
            })
            .collect();
        // No site has nearly 2³² parts.
        let parts = records.len() as u32;
        let gone = parts..std::mem::replace(&mut self.stored_parts, parts);
        records.extend(gone.map(|part| StateRecord::tombstone(self.id.clone(), part)));
        if let Some(last) = records.last_mut() {
            last.decisions = new;
        }
        records
    }

    /// The configured goals whose names triggers and counters go by.
    fn goals_gone_by(&self) -> BTreeMap<GoalId, String> {
        let names: BTreeSet<&str> = self
            .triggers
            .goal_names()
            .chain(self.every.goal_names())
            .collect();
        let goals = self.site.goals.iter();
        goals
            .filter(|goal| names.contains(goal.name.as_str()))
            .map(|goal| (goal.id, goal.name.clone()))
            .collect()
    }

    /// True if the topic has a state of the site.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored_parts > 0
    }

    /// Records that remove the state from the topic.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = StateRecord> + '_ {
        (0..self.stored_parts).map(|part| StateRecord::tombstone(self.id.clone(), part))
    }
}

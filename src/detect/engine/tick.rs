//! The passing of time without a record.

use super::event_time::whole_second;
use super::{Engine, MAX_EPISODES};
use crate::detect::site::coverage::next_unread;
use crate::detect::site::passing::{Passing, PassingClock};
use crate::domain::event::SourceClock;

/// Time in milliseconds between two writes of a site's state for its minor changes.
const SAVE_INTERVAL_MS: i64 = 60_000;

impl Engine {
    /// Moves silent sites on: live ones by the wall clock if every record stored before `now_ms`
    /// has been handled, and so all is `caught_up`; those of logs by the latest time read. Once a
    /// second is enough. The instant of the call changes no decision about a log.
    pub fn tick(&mut self, now_ms: i64, caught_up: bool) {
        if self.completeness.is_rebuilding() {
            return;
        }
        self.note_rebuilt();
        if caught_up {
            self.completeness.forget_covered();
            let floor = whole_second(now_ms.saturating_sub(self.config.out_of_order_ms));
            self.live_floor = self.live_floor.max(floor);
            self.silent_sources.note_floor(self.live_floor);
            // No state covers anything any more, as the loop says.
            self.behind.clear();
        }
        for index in 0..self.sites.len() {
            let state = &mut self.sites[index];
            if caught_up {
                // A state that covers more than the topic holds is from a deleted topic of the same
                // name.
                state.covered = None;
            }
            if state.is_behind(&self.completeness, &self.resources.segments) {
                continue;
            }
            let (clock, source) = (state.clock(), usize::from(state.source));
            self.end_lack(index);
            if clock == SourceClock::Log {
                let second = whole_second(self.log_record_ms);
                self.sites[index].forget_rejects(second, &mut self.resources.segments);
            }
            self.move_silent(index, self.moves_on_to(clock, source), now_ms);
            self.save(index, now_ms);
            self.tell_peaks(index, now_ms);
        }
    }

    /// Moves a silent site to `floor`, and decides what was left for after the batch.
    fn move_silent(&mut self, index: usize, floor: u32, now_ms: i64) {
        let passing = Passing {
            includes_overdue: true,
            ..self.passing_without_record(index, now_ms)
        };
        if self.sites[index].watch_silence(floor) {
            self.mark_dirty(index);
        }
        let state = &mut self.sites[index];
        if state.next_due == 0 {
            state.schedule(&passing);
        }
        let is_moved = floor > state.window.now() && !state.is_idle(floor);
        if is_moved || state.is_overdue {
            let to = floor.max(state.window.now());
            let outcome = state.move_to(to, Some(&passing), &mut self.resources);
            self.apply(index, outcome);
        } else {
            self.timers.put(&mut self.sites[index]);
        }
    }

    /// Finds out when something falls due next on a site whose settings changed.
    pub(super) fn schedule(&mut self, index: usize) {
        let is_ready = !self.was_rebuilding
            && !self.sites[index].is_behind(&self.completeness, &self.resources.segments);
        if is_ready {
            let passing = self.passing_without_record(index, 0);
            self.sites[index].schedule(&passing);
            self.timers.put(&mut self.sites[index]);
        }
    }

    /// Finds out when something falls due next on every site, once their windows are complete.
    pub(super) fn schedule_all(&mut self) {
        for index in 0..self.sites.len() {
            self.end_lack(index);
            self.schedule_or_wait(index);
        }
    }

    /// Finds out when something falls due next on a site, or puts it in among those that wait for
    /// records.
    fn schedule_or_wait(&mut self, index: usize) {
        let state = &self.sites[index];
        match state.waits_for(&self.completeness, &self.resources.segments) {
            Some((source, offset)) => self.behind.put(source, offset, state.id.clone()),
            None => {
                self.pass_over_inherited(index);
                self.schedule(index);
            }
        }
    }

    /// Moves a live site to where the wall clock had moved it at the commit: what fell due on the
    /// way is decided and stored, and what came late was counted after it.
    fn pass_over_inherited(&mut self, index: usize) {
        let (state, floor) = (&self.sites[index], self.resources.inherited_floor);
        if state.live && (1..floor).contains(&state.window.now()) {
            let passing = self.passing_without_record(index, 0);
            self.sites[index].pass_over(floor, &passing, &mut self.resources);
        }
    }

    /// Lets happen what fell due on the sites of logs by the record just read.
    pub(super) fn pass_log_timers(&mut self, record: (usize, i64), record_ms: i64) {
        for source in 0..self.config.sources.len() {
            let next = next_unread(&self.completeness, &self.resources.segments, source);
            while let Some(site_id) = self.behind.take(source, next.unwrap_or_default()) {
                if let Some(index) = self.find(site_id.as_str()) {
                    self.schedule_or_wait(index);
                }
            }
        }
        let floor = self.moves_on_to(SourceClock::Log, record.0);
        while let Some((at, site_id)) = self.timers.take(floor) {
            let Some(index) = self.find(site_id.as_str()) else {
                continue;
            };
            if self.sites[index].queued_at != at {
                continue;
            }
            let passing = Passing {
                clock: PassingClock::Log { record_ms },
                record: Some(record),
                ..self.passing_without_record(index, 0)
            };
            let state = &mut self.sites[index];
            state.queued_at = u32::MAX;
            if state.live {
                continue;
            }
            if let Some((source, offset)) = state.waits_for(&self.completeness, &self.resources.segments) {
                self.behind.put(source, offset, site_id);
                continue;
            }
            let outcome = state.move_to(floor, Some(&passing), &mut self.resources);
            self.apply(index, outcome);
        }
    }

    /// The facts by which the passing of time is judged when no record moves it.
    pub(super) fn passing_without_record(&self, index: usize, now_ms: i64) -> Passing {
        let state = &self.sites[index];
        let clock = match state.live {
            true => PassingClock::Live {
                now_ms,
                stale_after_ms: self.config.stale_after_ms,
                silent_until: self.silent_sources.until(usize::from(state.source)),
            },
            false => PassingClock::Log {
                record_ms: self.log_record_ms,
            },
        };
        Passing {
            clock,
            complete_from: state.complete_from(&self.completeness, &self.resources.segments),
            record: None,
            includes_overdue: false,
        }
    }

    /// Sums up what lies beyond the bounds of minutes that have not ended, before the partition is
    /// given back: its next owner does not know of it.
    pub(crate) fn end_minutes(&mut self, now_ms: i64) {
        for index in 0..self.sites.len() {
            if self.sites[index].has_summaries() {
                let passing = self.passing_without_record(index, now_ms);
                let outcome = self.sites[index].end_minutes(&passing);
                self.apply(index, outcome);
            }
        }
    }

    /// Lists a state with minor changes to be written, once a minute at most.
    fn save(&mut self, index: usize, now_ms: i64) {
        let state = &mut self.sites[index];
        if !state.is_unsaved() && !state.rows.is_outdated() {
            return;
        }
        if state.saved_at_ms == 0 {
            // Sites begin at different times within the minute, so that they are not all written at
            // once.
            state.saved_at_ms = now_ms - (index as i64).wrapping_mul(7_919).rem_euclid(SAVE_INTERVAL_MS);
        }
        if now_ms - state.saved_at_ms >= SAVE_INTERVAL_MS {
            state.saved_at_ms = now_ms;
            self.mark_dirty(index);
        }
    }

    /// Hands over the rows of a site's episodes going on whose peak grew, once a minute at most: it
    /// may do so with every event. They wait while there is little room, for the rows of episodes
    /// that begin or end.
    fn tell_peaks(&mut self, index: usize, now_ms: i64) {
        let state = &mut self.sites[index];
        if state.episodes() == 0
            || now_ms - state.rows.peaks_told_ms < SAVE_INTERVAL_MS
            || self.episodes.len() >= MAX_EPISODES / 2
        {
            return;
        }
        let grown = state.take_grown();
        if !grown.is_empty() {
            state.rows.peaks_told_ms = now_ms;
            self.hand_over_later(grown);
        }
    }

    /// Number of sites whose latest event came from a source, at `since` or later.
    pub(crate) fn active_sites(&self, source: usize, since: u32) -> usize {
        let sites = self.sites.iter();
        sites
            .filter(|state| state.last_event >= since && usize::from(state.source) == source)
            .count()
    }
}

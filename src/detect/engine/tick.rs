//! The passing of time without a record.

use super::Engine;
use super::event_time::{SourceClock, whole_second};
use crate::detect::site::passing::{Passing, PassingClock};

/// Longest time in seconds for which the sites of a silent source are held back.
const HELD_BACK_SECONDS: u32 = 900;

/// Time in milliseconds between two writes of a site's state for its minor changes.
const SAVE_INTERVAL_MS: i64 = 60_000;

impl Engine {
    /// Sets for each source if it delivers nothing though it should. Drops and silences of its
    /// sites wait for it, for a while.
    pub(crate) fn set_silent_sources(&mut self, silent: &[bool]) {
        self.silent_sources.copy_from_slice(silent);
    }

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
        }
        let (live, log) = (self.floor(SourceClock::Live), self.floor(SourceClock::Log));
        for index in 0..self.sites.len() {
            let state = &mut self.sites[index];
            if caught_up {
                // A state that covers more than the topic holds is from a deleted topic of the same
                // name.
                state.covered = None;
            }
            if state.is_behind(&self.resources.segments) {
                continue;
            }
            let is_silent = state.live && self.silent_sources[usize::from(state.source)];
            let floor = match (state.live, is_silent) {
                (true, false) => live,
                (true, true) => live.saturating_sub(HELD_BACK_SECONDS),
                (false, _) => log,
            };
            self.move_silent(index, floor, now_ms, is_silent);
        }
        self.save(now_ms);
    }

    /// Moves a silent site to `floor`, and decides what was left for after the batch.
    fn move_silent(&mut self, index: usize, floor: u32, now_ms: i64, is_source_silent: bool) {
        let passing = Passing {
            includes_overdue: true,
            ..self.passing_without_record(index, now_ms, is_source_silent)
        };
        let state = &mut self.sites[index];
        if state.next_due == 0 {
            state.schedule(&passing);
        }
        let is_moved = floor > state.window.now() && !state.is_idle(floor);
        if is_moved || state.is_overdue {
            let to = floor.max(state.window.now());
            let outcome = state.move_to(to, Some(&passing), &mut self.resources);
            self.take_up(index, outcome);
        } else {
            self.timers.put(&mut self.sites[index]);
        }
    }

    /// Finds out when something falls due next on a site whose settings changed.
    pub(super) fn schedule(&mut self, index: usize) {
        let is_ready = !self.was_rebuilding && !self.sites[index].is_behind(&self.resources.segments);
        if is_ready {
            let passing = self.passing_without_record(index, 0, false);
            self.sites[index].schedule(&passing);
            self.timers.put(&mut self.sites[index]);
        }
    }

    /// Finds out when something falls due next on every site, once their windows are complete.
    pub(super) fn schedule_all(&mut self) {
        for index in 0..self.sites.len() {
            if self.sites[index].is_behind(&self.resources.segments) {
                self.behind.push(self.sites[index].id.clone());
            } else {
                self.schedule(index);
            }
        }
    }

    /// Lets happen what fell due on the sites of logs by the record just read.
    pub(super) fn pass_log_timers(&mut self, record: (usize, i64), record_ms: i64) {
        if !self.behind.is_empty() {
            for site_id in std::mem::take(&mut self.behind) {
                match self.find(site_id.as_str()) {
                    Some(index) if self.sites[index].is_behind(&self.resources.segments) => {
                        self.behind.push(site_id);
                    }
                    Some(index) => self.schedule(index),
                    None => {}
                }
            }
        }
        let floor = self.floor(SourceClock::Log);
        while let Some(site_id) = self.timers.take(floor) {
            let Some(index) = self.find(site_id.as_str()) else {
                continue;
            };
            let passing = Passing {
                clock: PassingClock::Log { record_ms },
                record: Some(record),
                ..self.passing_without_record(index, 0, false)
            };
            let state = &mut self.sites[index];
            state.queued_at = u32::MAX;
            if state.live {
                continue;
            }
            if state.is_behind(&self.resources.segments) {
                self.behind.push(site_id);
                continue;
            }
            let outcome = state.move_to(floor, Some(&passing), &mut self.resources);
            self.take_up(index, outcome);
        }
    }

    /// The facts by which the passing of time is judged when no record moves it.
    pub(super) fn passing_without_record(
        &self,
        index: usize,
        now_ms: i64,
        is_source_silent: bool,
    ) -> Passing {
        let state = &self.sites[index];
        let clock = match state.live {
            true => PassingClock::Live {
                now_ms,
                stale_after_ms: self.config.stale_after_ms,
                is_source_silent,
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

    /// Lists the states with minor changes to be written, each once a minute at most.
    fn save(&mut self, now_ms: i64) {
        for index in 0..self.sites.len() {
            let state = &mut self.sites[index];
            if !state.is_unsaved() {
                continue;
            }
            if state.saved_at_ms == 0 {
                // Sites begin at different times within the minute, so that they are not all
                // written at once.
                state.saved_at_ms = now_ms - (index as i64).wrapping_mul(7_919).rem_euclid(SAVE_INTERVAL_MS);
            }
            if now_ms - state.saved_at_ms >= SAVE_INTERVAL_MS {
                state.saved_at_ms = now_ms;
                self.mark_dirty(index);
            }
        }
    }

    /// For each source, the number of sites whose latest event came from it at `since` or later.
    pub(crate) fn active_sites(&self, since: u32) -> Vec<usize> {
        let mut counts = vec![0; self.config.sources.len()];
        for state in &self.sites {
            if state.last_event >= since
                && let Some(count) = counts.get_mut(usize::from(state.source))
            {
                *count += 1;
            }
        }
        counts
    }
}

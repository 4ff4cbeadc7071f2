//! Samples of a site's visitors by the minute, gathered into hours.
//!
//! Minute m has the count at its last second, when every event of the minute that came in order is
//! in it. It is taken as soon as the site's clock has left the minute.

use crate::domain::activity::{HourSummary, SiteHour};
use crate::domain::goal_renames::GoalRenames;

/// Seconds between two samples.
const MINUTE_SECONDS: u32 = 60;

/// Minutes of an hour.
const HOUR_MINUTES: u32 = 60;

/// Samples whose mean is compared with what is usual.
const MEAN_SAMPLES: usize = 15;

/// The minute in which a second lies, since the Unix epoch.
pub(crate) fn minute_of(second: u32) -> u32 {
    second / MINUTE_SECONDS
}

/// The first second after a minute: from then on its sample can be taken.
pub(crate) fn end_of(minute: u32) -> u32 {
    (minute + 1).saturating_mul(MINUTE_SECONDS)
}

/// The hour of a site that is being gathered.
#[derive(Debug)]
pub(crate) struct Samples {
    /// Whole hours since the Unix epoch.
    hour: u32,
    gathered: SiteHour,
    /// True if the hour has something that was not handed over.
    is_changed: bool,
    /// Hours that ended, to be handed over.
    ended: Vec<(u32, SiteHour)>,
    /// The last samples, the latest in front; fewer after a minute that was not covered.
    latest: Vec<u32>,
    /// The first hour, while the counts of an earlier owner in it are not known.
    first: Option<u32>,
    /// Counts that the last owner handed over with the site's state, and their hour.
    carried: Option<(u32, HourSummary)>,
}

impl Samples {
    /// Begins in the hour of `minute`.
    pub(crate) fn new(minute: u32) -> Self {
        let hour = minute / HOUR_MINUTES;
        Self {
            hour,
            gathered: SiteHour::default(),
            is_changed: false,
            ended: Vec::new(),
            latest: Vec::with_capacity(MEAN_SAMPLES),
            first: Some(hour),
            carried: None,
        }
    }

    /// Goes on from the counts that came with the site's state, of an hour.
    pub(crate) fn carrying(mut self, carried: Option<(u32, HourSummary)>) -> Self {
        self.carried = carried;
        self
    }

    /// Adds the sample of a minute, and the events since the one before. Minutes come in their
    /// order, each followed by [`end`](Self::end). `None` stands for a count that may lack
    /// visitors: the minute is not covered.
    pub(crate) fn take(&mut self, minute: u32, visitors: Option<u32>, events: u32) {
        debug_assert_eq!(minute / HOUR_MINUTES, self.hour, "gaps are skipped");
        self.add_events(events);
        let Some(visitors) = visitors else {
            return self.latest.clear();
        };
        self.gathered.set((minute % HOUR_MINUTES) as usize, visitors);
        self.is_changed = true;
        self.latest.truncate(MEAN_SAMPLES - 1);
        self.latest.insert(0, visitors);
    }

    /// Counts events, in the hour that is being gathered.
    pub(crate) fn add_events(&mut self, events: u32) {
        self.gathered.events = self.gathered.events.saturating_add(u64::from(events));
        self.is_changed |= events > 0;
    }

    /// Counts an event that completed a goal. False if there is no room for its name.
    pub(crate) fn add_goal(&mut self, name: &str) -> bool {
        self.is_changed = true;
        self.gathered.add_goal(name)
    }

    /// Gives goals their new names, in what is not handed over yet.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames) {
        let ended = self.ended.iter_mut().map(|(_, hour)| hour);
        for hour in ended.chain([&mut self.gathered]) {
            renames.apply_to_counts(&mut hour.goals);
        }
        if let Some((_, counts)) = &mut self.carried {
            renames.apply_to_counts(&mut counts.goals);
        }
        // What was handed over has the names before.
        self.is_changed |= !self.gathered.goals.is_empty();
    }

    /// The hour that is being gathered, in whole hours since the Unix epoch.
    pub(crate) fn hour(&self) -> u32 {
        self.hour
    }

    /// Ends a minute whose sample was taken. The last one of an hour ends the hour: returns its
    /// number and what is learned of it, if enough of it was covered.
    pub(crate) fn end(&mut self, minute: u32) -> Option<(u32, HourSummary)> {
        self.enter((minute + 1) / HOUR_MINUTES)
    }

    /// Passes over minutes up to that of the next sample, none of which is covered. Returns what
    /// [`end`](Self::end) does.
    pub(crate) fn skip_to(&mut self, minute: u32) -> Option<(u32, HourSummary)> {
        self.latest.clear();
        let hour = minute / HOUR_MINUTES;
        if self.first == Some(self.hour) && self.gathered == SiteHour::default() {
            // Nothing was counted yet: windows are being rebuilt.
            self.first = Some(hour);
        }
        self.enter(hour)
    }

    /// The mean of the last 15 samples; `None` unless all of them were covered.
    pub(crate) fn mean(&self) -> Option<f64> {
        let sum: u64 = self.latest.iter().copied().map(u64::from).sum();
        (self.latest.len() == MEAN_SAMPLES).then(|| sum as f64 / MEAN_SAMPLES as f64)
    }

    /// Notes a distance from what is usual, in deviations, of either sign.
    pub(crate) fn note_z(&mut self, z: f64) {
        let z = z.abs() as f32;
        if self.gathered.peak_z.is_none_or(|peak| z > peak) {
            self.gathered.peak_z = Some(z);
            self.is_changed = true;
        }
    }

    /// Adds the counts that earlier owners left in an hour, if that is the first one; `None` if
    /// they left none. Those that came with the site's state are of the same events: the greater of
    /// two counts holds.
    pub(crate) fn set_earlier(&mut self, hour: u32, earlier: Option<&HourSummary>) {
        let Some(first) = self.first.take_if(|first| *first == hour) else {
            return;
        };
        let mut counts = earlier.cloned().unwrap_or_default();
        if let Some((_, carried)) = self.carried.take_if(|(at, _)| *at == first) {
            counts.take_greater(&carried);
        }
        if self.hour == first {
            self.gathered.add_counts(&counts);
            // What came with the state may not be written yet.
            self.is_changed |= counts.events > earlier.map_or(0, |earlier| earlier.events);
        } else if let Some((_, hour)) = self.ended.iter_mut().find(|(hour, _)| *hour == first) {
            hour.add_counts(&counts);
        }
    }

    /// The present hour, and the number of events in it, as far as they are known.
    pub(crate) fn counted(&self) -> (u32, u64) {
        let earlier = self.carried_now().map_or(0, |carried| carried.events);
        (self.hour, self.gathered.events.saturating_add(earlier))
    }

    /// Counts of events in the present hour, as far as they are known, for the site's state.
    pub(crate) fn counts(&self) -> (u32, HourSummary) {
        let mut hour = self.gathered.clone();
        if let Some(carried) = self.carried_now() {
            hour.add_counts(carried);
        }
        let counts = HourSummary {
            events: hour.events,
            goals: hour.goals,
            ..HourSummary::default()
        };
        (self.hour, counts)
    }

    /// Counts of the present hour that came with the site's state.
    fn carried_now(&self) -> Option<&HourSummary> {
        let carried = self.carried.as_ref().filter(|(at, _)| *at == self.hour);
        carried.map(|(_, counts)| counts)
    }

    /// The first hour, as long as the counts of an earlier owner in it are not known.
    pub(crate) fn waits_for_earlier(&self) -> Option<u32> {
        self.first
    }

    /// Returns what changed since the last call, as it is to be kept. The first hour waits until
    /// the counts of an earlier owner are known, unless this is the last call.
    pub(crate) fn hand_over(&mut self, is_last: bool) -> Vec<(u32, SiteHour)> {
        if let (true, Some((at, _))) = (is_last, &self.carried) {
            // These are all that count. An answer would have what is handed over here.
            self.set_earlier(*at, None);
        }
        let waiting = self.first.filter(|_| !is_last);
        let (kept, mut handed_over) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|(hour, _)| Some(*hour) == waiting);
        self.ended = kept;
        if self.is_changed && Some(self.hour) != waiting {
            self.is_changed = false;
            handed_over.push((self.hour, self.gathered.clone()));
        }
        handed_over
    }

    /// Begins an hour, unless it is the one that is being gathered.
    fn enter(&mut self, hour: u32) -> Option<(u32, HourSummary)> {
        if hour == self.hour {
            return None;
        }
        let at = std::mem::replace(&mut self.hour, hour);
        let ended = std::mem::take(&mut self.gathered);
        if self.first != Some(hour)
            && let Some((_, carried)) = self.carried.take_if(|(at, _)| *at == hour)
        {
            self.gathered.add_counts(&carried);
        }
        let learned = ended.is_learned().then(|| ended.summary());
        if std::mem::take(&mut self.is_changed) {
            self.ended.push((at, ended));
        }
        learned.map(|summary| (at, summary))
    }
}

#[cfg(test)]
mod tests;

//! Rows that detector threads leave for Postgres, and what they ask to know from it.
//!
//! In: hours of activity, episodes and the present of sites, merged while they wait. Out: rows in
//! batches, what was learned of a site before, and which rows of episodes are written. Guaranteed:
//! a thread never waits here, memory is bounded, and what finds no room is counted or given back.
//! Not guaranteed: that the last minute of activity of a process that is killed is written. (Rows
//! of episodes are: the sites' states have them until then. And what a partition's owner counted in
//! the hour that goes on is in the sites' states when it is given back as planned.)

/// The task that writes and reads.
pub(crate) mod writer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono_tz::Tz;
use tokio::sync::Notify;
use uuid::Uuid;

use super::usual::baseline::KEPT_HOURS;
use super::usual::past::HistoryAnswer;
use super::usual::rates::KEPT_FOR_RATES;
use crate::domain::activity::{HourKey, SiteHour};
use crate::domain::episode::{EpisodeEntry, SavedEpisode, SettledSite};
use crate::domain::site::SiteId;
use crate::domain::site_now::SiteNow;
use crate::telemetry::Metrics;
use crate::telemetry::words::BoundedMap;

/// Most hours that wait, some 40 MB.
const MAX_HOURS: usize = 100_000;
/// Most sites whose present waits.
const MAX_PRESENTS: usize = 100_000;
/// Most episodes that wait, some 30 MB.
const MAX_EPISODES: usize = 50_000;
/// Most sites that wait for what was learned of them.
const MAX_QUESTIONS: usize = 200_000;

/// Rows of one batch.
const BATCH: usize = 500;
/// Sites of which is read at once; each has some hundreds of rows.
const QUESTIONS_BATCH: usize = 50;

/// A question for what was learned of a site before.
#[derive(Debug, Clone)]
pub(crate) struct HistoryQuestion {
    pub(crate) partition: i32,
    pub(crate) site: SiteId,
    pub(crate) zone: Tz,
    /// The hour in which the site is, in whole hours since the Unix epoch.
    pub(crate) hour: u32,
    /// True if rates of events are to be learned too.
    pub(crate) wants_rates: bool,
    pub(crate) answer_to: Sender<HistoryAnswer>,
}

/// The partition that a row came from, and the way back to its thread.
#[derive(Debug, Clone)]
pub(crate) struct RowOrigin {
    pub(crate) partition: i32,
    pub(crate) report_to: Sender<SavedRow>,
}

/// A row of an episode that is written, or that Postgres will never take.
#[derive(Debug)]
pub(crate) struct SavedRow {
    pub(crate) partition: i32,
    pub(crate) episode: SavedEpisode,
}

impl RowOrigin {
    fn report(&self, row: &EpisodeEntry) {
        let saved = SavedRow {
            partition: self.partition,
            episode: SavedEpisode::of(row),
        };
        // The thread may be gone: whoever has its partition now writes the row again.
        drop(self.report_to.send(saved));
    }
}

impl HistoryQuestion {
    /// The first hour that the answer is found out from.
    fn first_hour(&self) -> u32 {
        let kept = if self.wants_rates {
            KEPT_FOR_RATES
        } else {
            KEPT_HOURS
        };
        self.hour.saturating_sub(kept)
    }
}

/// Rows on their way to Postgres.
#[derive(Debug)]
pub struct HistoryQueue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    hours: BTreeMap<HourKey, SiteHour>,
    presents: HashMap<SiteId, SiteNow>,
    episodes: BTreeMap<Uuid, (EpisodeEntry, RowOrigin)>,
    settled: Vec<SettledSite>,
    questions: Vec<HistoryQuestion>,
}

/// A batch of work.
#[derive(Debug, Default)]
struct HistoryBatch {
    hours: BTreeMap<HourKey, SiteHour>,
    presents: Vec<SiteNow>,
    /// Each once.
    episodes: Vec<EpisodeEntry>,
    /// Of each episode.
    origins: Vec<RowOrigin>,
    settled: Vec<SettledSite>,
    questions: Vec<HistoryQuestion>,
}

impl HistoryQueue {
    /// Makes an empty queue.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
            metrics,
        }
    }

    /// Adds hours of activity. An hour that waits already is merged.
    pub(crate) fn add_hours(&self, hours: Vec<(HourKey, SiteHour)>) {
        if hours.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let mut refused = 0;
        for (key, hour) in hours {
            if let Some(known) = waiting.hours.get_mut(&key) {
                known.merge(&hour);
            } else if waiting.hours.len() < MAX_HOURS {
                waiting.hours.insert(key, hour);
            } else {
                refused += 1;
            }
        }
        drop(waiting);
        self.report(refused);
    }

    /// Adds the present of sites, in the place of what waits.
    pub(crate) fn add_presents(&self, presents: Vec<SiteNow>) {
        if presents.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let mut refused = 0;
        for present in presents {
            if waiting.presents.len() < MAX_PRESENTS || waiting.presents.contains_key(&present.site_id) {
                waiting.presents.insert(present.site_id.clone(), present);
            } else {
                refused += 1;
            }
        }
        drop(waiting);
        self.report(refused);
    }

    /// Adds changes of episodes. One that waits already takes its end, its notification and its
    /// peak. Returns those that found no room, to be handed over again.
    pub(crate) fn add_episodes(&self, episodes: Vec<EpisodeEntry>, origin: &RowOrigin) -> Vec<EpisodeEntry> {
        if episodes.is_empty() {
            return episodes;
        }
        let mut waiting = self.lock();
        let mut refused = Vec::new();
        for later in episodes {
            if let Some((known, known_origin)) = waiting.episodes.get_mut(&later.id) {
                known.take_later(&later);
                *known_origin = origin.clone();
            } else if waiting.episodes.len() < MAX_EPISODES {
                waiting.episodes.insert(later.id, (later, origin.clone()));
            } else {
                refused.push(later);
            }
        }
        drop(waiting);
        self.report(0);
        refused
    }

    /// Lets the open rows of sites be ended that belong to nobody. Returns the sites that found no
    /// room.
    pub(crate) fn settle(&self, settled: Vec<SettledSite>) -> Vec<SettledSite> {
        self.fill(settled, |waiting| &mut waiting.settled)
    }

    /// Asks for what was learned of sites. Returns the sites that found no room, to be asked for
    /// again.
    pub(crate) fn ask(&self, questions: Vec<HistoryQuestion>) -> Vec<HistoryQuestion> {
        self.fill(questions, |waiting| &mut waiting.questions)
    }

    /// Removes the questions that wait.
    fn forget_questions(&self) {
        self.lock().questions.clear();
    }

    /// Adds to a list of what waits, and returns what finds no room there.
    fn fill<T>(&self, mut items: Vec<T>, list: impl FnOnce(&mut Waiting) -> &mut Vec<T>) -> Vec<T> {
        if items.is_empty() {
            return items;
        }
        let mut waiting = self.lock();
        let list = list(&mut waiting);
        let room = MAX_QUESTIONS - list.len();
        let rest = items.split_off(room.min(items.len()));
        list.extend(items);
        drop(waiting);
        self.report(0);
        rest
    }

    fn report(&self, refused: u64) {
        if refused > 0 {
            let map = BoundedMap::History.as_str();
            self.metrics.evictions.with_label_values(&[map]).inc_by(refused);
        }
        self.filled.notify_one();
    }

    /// Removes a batch of what waits.
    fn take(&self) -> HistoryBatch {
        let mut waiting = self.lock();
        let mut batch = HistoryBatch::default();
        while batch.hours.len() < BATCH
            && let Some((key, hour)) = waiting.hours.pop_first()
        {
            batch.hours.insert(key, hour);
        }
        let sites: Vec<SiteId> = waiting.presents.keys().take(BATCH).cloned().collect();
        batch.presents = sites
            .iter()
            .filter_map(|site| waiting.presents.remove(site))
            .collect();
        while batch.episodes.len() < BATCH
            && let Some((_, (episode, origin))) = waiting.episodes.pop_first()
        {
            batch.episodes.push(episode);
            batch.origins.push(origin);
        }
        let count = BATCH.min(waiting.settled.len());
        batch.settled = waiting.settled.drain(..count).collect();
        if waiting.hours.is_empty() {
            // Later than the rows that a thread left before it asked.
            let count = QUESTIONS_BATCH.min(waiting.questions.len());
            batch.questions = waiting.questions.drain(..count).collect();
        }
        batch
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistoryBatch {
    fn is_empty(&self) -> bool {
        self.hours.is_empty()
            && self.presents.is_empty()
            && self.episodes.is_empty()
            && self.settled.is_empty()
            && self.questions.is_empty()
    }

    /// The sites of the questions, each once.
    fn sites(&self) -> Vec<String> {
        let sites: HashSet<&str> = self
            .questions
            .iter()
            .map(|question| question.site.as_str())
            .collect();
        sites.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests;

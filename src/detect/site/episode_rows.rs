//! The rows of a site's episodes that are not known to be in Postgres. The site's stored state has
//! them, so that neither a crash nor a stop beside an unreachable server loses one.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::state_record::row::StoredRow;
use crate::domain::episode::{EpisodeEntry, SavedEpisode, SettledSite};
use crate::domain::site::SiteId;
use crate::domain::time::from_second;

/// Most rows of a site that its state keeps.
const MAX_ROWS: usize = 64;
/// Most webhooks that they name in all, some 90 KB.
const MAX_WEBHOOKS: usize = 2_000;

/// The unsaved rows of one site.
#[derive(Debug, Default)]
pub(crate) struct EpisodeRows {
    rows: Vec<EpisodeEntry>,
    /// Rows of a newer version, passed on as they are.
    foreign: Vec<Box<RawValue>>,
    /// True if the stored state has a row that was saved since.
    is_outdated: bool,
    /// The site's second when its state was stored, if one was loaded.
    loaded_at: Option<u32>,
    /// True once it was asked for open rows that belong to nobody.
    is_settled: bool,
    /// When peaks of episodes going on were last told, in milliseconds since the Unix epoch.
    pub(crate) peaks_told_ms: i64,
}

impl EpisodeRows {
    /// Restores the rows of a state that was stored at a second.
    pub(super) fn restore(stored: Vec<Box<RawValue>>, site_id: &SiteId, loaded_at: u32) -> Self {
        let mut foreign = Vec::new();
        let known = stored.into_iter().filter_map(|raw| {
            let row = StoredRow::read(&raw, site_id);
            if row.is_none() {
                foreign.push(raw);
            }
            row
        });
        Self {
            rows: known.collect(),
            foreign,
            loaded_at: Some(loaded_at),
            ..Self::default()
        }
    }

    /// Adds a row, or what is new of it. Returns the number of older rows that found no room.
    pub(crate) fn put(&mut self, row: &EpisodeEntry) -> u64 {
        match self.rows.iter_mut().find(|known| known.id == row.id) {
            Some(known) => known.take_later(row),
            None => self.rows.push(row.clone()),
        }
        let mut removed = 0;
        let webhooks = |rows: &[EpisodeEntry]| rows.iter().map(|row| row.webhooks.len()).sum::<usize>();
        while self.rows.len() > MAX_ROWS || self.rows.len() > 1 && webhooks(&self.rows) > MAX_WEBHOOKS {
            // The one that is most likely to be saved by now.
            self.rows.remove(0);
            removed += 1;
        }
        removed
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &EpisodeEntry> {
        self.rows.iter()
    }

    /// Removes a row that is saved as it is known here.
    pub(crate) fn confirm(&mut self, saved: &SavedEpisode) {
        let before = self.rows.len();
        self.rows.retain(|row| !saved.has_all_of(row));
        self.is_outdated |= self.rows.len() < before;
    }

    /// Returns all of them as they are stored.
    pub(super) fn store(&mut self) -> Vec<Box<RawValue>> {
        self.is_outdated = false;
        let rows = self.rows.iter().map(StoredRow::to_raw);
        rows.chain(self.foreign.iter().cloned()).collect()
    }

    /// True if the stored state has rows that are saved.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// True once it was asked for open rows that belong to nobody.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Notes that it is asked for open rows of others: those that are neither of these nor of the
    /// `running` episodes of a site, at its second `now`.
    pub(super) fn settle(&mut self, site_id: &SiteId, now: u32, running: Vec<Uuid>) -> SettledSite {
        self.is_settled = true;
        let mut known = running;
        known.extend(self.rows.iter().map(|row| row.id));
        SettledSite {
            site_id: site_id.clone(),
            ended_by: from_second(self.loaded_at.unwrap_or(now)),
            known_from: from_second(now),
            known,
        }
    }

    /// Asks for open rows again.
    pub(crate) fn unsettle(&mut self) {
        self.is_settled = false;
    }
}

#[cfg(test)]
mod tests;

//! Sites that are deleted and registered again under the same id: of the earlier one nothing stays,
//! also if nobody looked at the configuration in between.

use std::cmp::Ordering;

use super::Engine;
use crate::detect::site::state_record::{StateRecord, StoredState, split_key};
use crate::domain::site::SiteId;

impl Engine {
    /// Removes what is known here of an earlier site of this id, and lists tombstones for its
    /// state.
    pub(super) fn bury_earlier(&mut self, site_id: &SiteId) {
        let (Some(index), Some(site)) = (self.find(site_id.as_str()), self.registry.sites.get(site_id))
        else {
            return;
        };
        if self.sites[index].site.registered_ms != site.registered_ms {
            self.others.extend(self.sites[index].tombstones());
            self.remove(index);
            self.episodes.retain(|row| row.site_id != *site_id);
        }
    }

    /// Writes what is known of a site after the tombstone of an earlier one. If nothing was stored
    /// of it, it was registered while nobody read, and begins where reading goes on.
    fn begin_after_earlier(&mut self, site_id: &SiteId) {
        let known = self.beginnings.remove(site_id);
        let beginning = known.unwrap_or_else(|| Box::new(self.present_beginning()));
        let Some(index) = self.find(site_id.as_str()) else {
            return self.keep_beginning(site_id, beginning);
        };
        let state = &mut self.sites[index];
        if state.covered.is_none() && state.beginning.is_none() {
            state.begin_at(beginning);
        }
        self.mark_dirty(index);
    }

    /// True if a stored record is of a site as it is registered now. Of a site that is not known
    /// yet, since the registry is behind, it is kept; of an earlier site it is buried.
    pub(super) fn is_of_known_site(&mut self, key: &str, bytes: &[u8], stored: &StoredState) -> bool {
        let part = split_key(key).1;
        let site = self.registry.sites.get(&stored.site);
        let registration = match (stored.registered, site) {
            (Some(stored), Some(site)) => stored.cmp(&site.registered_ms),
            // An earlier build did not store it.
            (None, Some(_)) => Ordering::Equal,
            (_, None) => Ordering::Greater,
        };
        match registration {
            Ordering::Greater => {
                self.unclaimed.insert(key.to_owned(), bytes.to_vec());
            }
            Ordering::Less => {
                self.others
                    .push(StateRecord::tombstone(stored.site.clone(), part));
                self.begin_after_earlier(&stored.site);
            }
            // It lies after the records of earlier sites.
            Ordering::Equal => self
                .others
                .retain(|gone| gone.part != part || gone.site_id != stored.site),
        }
        registration == Ordering::Equal
    }
}

#[cfg(test)]
mod tests;

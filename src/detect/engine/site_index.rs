//! An index of the sites: positions in the engine's list by the hash of the site's id.

use hashbrown::HashTable;

/// Positions by 64 bits of a keyed hash. A look-up reads one line of the table and none of the
/// states, so that many look-ups can be under way at once; the owner checks that a position is
/// really the site's.
#[derive(Debug, Default)]
pub(crate) struct SiteIndex {
    table: HashTable<(u64, usize)>,
}

impl SiteIndex {
    /// The first position with this hash.
    pub(crate) fn guess(&self, hash: u64) -> Option<usize> {
        self.find(hash, |_| true)
    }

    /// The position with this hash for which `is_it` returns true.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let found = self
            .table
            .find(hash, |(known, position)| *known == hash && is_it(*position));
        found.map(|(_, position)| *position)
    }

    pub(crate) fn insert(&mut self, hash: u64, position: usize) {
        self.table
            .insert_unique(hash, (hash, position), |(hash, _)| *hash);
    }

    /// Moves a site from position `from` to `to`, or removes it.
    pub(crate) fn set(&mut self, hash: u64, from: usize, to: Option<usize>) {
        if let Ok(entry) = self.table.find_entry(hash, |(_, position)| *position == from) {
            entry.remove();
        }
        if let Some(to) = to {
            self.insert(hash, to);
        }
    }
}

#[cfg(test)]
mod tests;

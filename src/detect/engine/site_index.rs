//! Where each site's state is, by the hash of its id; and asking memory for it ahead of time.

use hashbrown::HashTable;

/// Places of states in a list, by 64 bits of a keyed hash. A look-up reads one line of the table and none of the
/// states, so that many can be under way at once; whether the place is really the site's is for its owner to see.
#[derive(Debug, Default)]
pub(crate) struct Places {
    table: HashTable<(u64, usize)>,
}

impl Places {
    /// The first place with this hash.
    pub(crate) fn guess(&self, hash: u64) -> Option<usize> {
        self.find(hash, |_| true)
    }

    /// The place with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let found = self
            .table
            .find(hash, |(known, place)| *known == hash && is_it(*place));
        found.map(|(_, place)| *place)
    }

    pub(crate) fn insert(&mut self, hash: u64, place: usize) {
        self.table.insert_unique(hash, (hash, place), |(hash, _)| *hash);
    }

    /// What was at `from` is at `to` from now on, or nowhere.
    pub(crate) fn set(&mut self, hash: u64, from: usize, to: Option<usize>) {
        if let Ok(entry) = self.table.find_entry(hash, |(_, place)| *place == from) {
            entry.remove();
        }
        if let Some(to) = to {
            self.insert(hash, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_equal_hash_are_told_apart_by_their_owner() {
        let mut places = Places::default();
        places.insert(7, 0);
        places.insert(7, 1);
        places.insert(8, 2);
        assert!(places.guess(7).is_some());
        assert_eq!(places.find(7, |place| place == 1), Some(1));
        places.set(7, 0, None);
        places.set(8, 2, Some(0));
        assert_eq!(places.guess(7), Some(1));
        assert_eq!(places.guess(8), Some(0));
        assert_eq!(places.guess(9), None);
    }
}

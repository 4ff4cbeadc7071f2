//! Visitors by hash: the table behind a site's window.

use crate::detect::table::{Entry, Table};

/// The label of a visitor without a source or page.
pub(crate) const NO_LABEL: u16 = u16::MAX;

/// One visitor. The hash 0 stands for none: a visitor with that hash is counted as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) hash: u64,
    /// Whole second of the latest event, since the Unix epoch.
    pub(crate) second: u32,
    /// Label of the latest source, or [`NO_LABEL`].
    pub(crate) source: u16,
    /// Label of the latest page, or [`NO_LABEL`].
    pub(crate) page: u16,
}

impl Entry for Visitor {
    const EMPTY: Self = Self {
        hash: 0,
        second: 0,
        source: NO_LABEL,
        page: NO_LABEL,
    };

    fn is_empty(&self) -> bool {
        self.hash == 0
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

/// Visitors by hash. Expired ones stay until a sweep finds them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitors {
    table: Table<Visitor>,
    /// Slot at which the next sweep begins.
    cursor: usize,
}

impl Visitors {
    /// Number of visitors, the expired ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn get(&self, hash: u64) -> Option<&Visitor> {
        self.table.get(hash.max(1))
    }

    pub(crate) fn get_mut(&mut self, hash: u64) -> Option<&mut Visitor> {
        self.table.get_mut(hash.max(1))
    }

    /// Asks memory for the slot at which the search for a visitor begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash.max(1));
    }

    /// True if one more visitor makes the table grow.
    pub(crate) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// Adds a visitor who is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, second: u32, source: u16, page: u16) {
        self.table.insert(Visitor {
            hash: hash.max(1),
            second,
            source,
            page,
        });
    }

    /// Every visitor whose latest event is not before `oldest`.
    pub(crate) fn since(&self, oldest: u32) -> impl Iterator<Item = &Visitor> {
        self.table.iter().filter(move |visitor| visitor.second >= oldest)
    }

    /// Every visitor whose latest event is not before `oldest`, to change their labels.
    pub(crate) fn since_mut(&mut self, oldest: u32) -> impl Iterator<Item = &mut Visitor> {
        self.table
            .iter_mut()
            .filter(move |visitor| visitor.second >= oldest)
    }

    /// Looks at up to `budget` slots, from where the last sweep ended, and removes the visitors
    /// whose latest event is before `oldest`.
    pub(crate) fn sweep(&mut self, budget: usize, oldest: u32) {
        let is_current = |visitor: &Visitor| visitor.second >= oldest;
        self.cursor = self.table.sweep(self.cursor, budget, is_current);
    }

    /// Removes everyone and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;

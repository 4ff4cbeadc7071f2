//! A hash table with open addressing that holds entries and nothing beside them.
//!
//! An event's cost is mostly cache misses. A general table reads its control bytes and then the
//! entry; this one reads the entry, and can ask memory for it ahead of time. Its keys are hashed
//! already, with a secret key, so that their own bits place them and nobody can choose keys that
//! collide.
//!
//! The search for a hash begins at hash × capacity ÷ 2⁶⁴, which allows any capacity: growing by
//! half instead of doubling keeps an entry of 16 bytes at 20 to 30 bytes.

use crate::prefetch::prefetch;

/// An entry of a table, which knows the hash of its key.
pub(crate) trait Entry: Copy {
    /// The value of a slot without an entry.
    const EMPTY: Self;

    /// True for [`Self::EMPTY`] alone.
    fn is_empty(&self) -> bool;

    /// The hash of the key, which no two entries share.
    fn hash(&self) -> u64;
}

/// Entries by the hash of their key.
#[derive(Debug, Clone)]
pub(crate) struct Table<E> {
    slots: Box<[E]>,
    len: usize,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            slots: Box::default(),
            len: 0,
        }
    }
}

impl<E: Entry> Table<E> {
    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, hash: u64) -> Option<&E> {
        self.find(hash).map(|at| &self.slots[at])
    }

    pub(crate) fn get_mut(&mut self, hash: u64) -> Option<&mut E> {
        self.find(hash).map(|at| &mut self.slots[at])
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let capacity = self.slots.len();
        if capacity == 0 {
            return None;
        }
        let mut at = home(hash, capacity);
        // The loop ends, because a fifth of the slots is always empty.
        loop {
            let entry = &self.slots[at];
            if entry.is_empty() {
                return None;
            }
            if entry.hash() == hash {
                return Some(at);
            }
            at = next(at, capacity);
        }
    }

    /// Asks memory for the slot at which the search for a hash begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        let capacity = self.slots.len();
        if capacity > 0 {
            prefetch(&self.slots[home(hash, capacity)]);
        }
    }

    /// True if one more entry makes the table grow.
    pub(crate) fn is_full(&self) -> bool {
        (self.len + 1) * 5 > self.slots.len() * 4
    }

    /// Adds an entry whose hash is not in the table.
    pub(crate) fn insert(&mut self, entry: E) {
        if self.is_full() {
            self.resize(self.slots.len() + self.slots.len() / 2 + 8);
        }
        self.place(entry);
        self.len += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().filter(|entry| !entry.is_empty())
    }

    /// Every entry, to change anything but its hash.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.slots.iter_mut().filter(|entry| !entry.is_empty())
    }

    /// Looks at up to `budget` slots from `from` on, around the end of the table, and removes the
    /// entries that `keep` rejects. Gives memory back when few entries are left. Returns the slot
    /// at which the next sweep continues.
    pub(crate) fn sweep(&mut self, from: usize, budget: usize, keep: impl Fn(&E) -> bool) -> usize {
        let capacity = self.slots.len();
        if capacity == 0 {
            return 0;
        }
        let mut at = from % capacity;
        let mut left = budget.min(capacity);
        while left > 0 {
            if self.slots[at].is_empty() || keep(&self.slots[at]) {
                at = next(at, capacity);
                left -= 1;
            } else {
                // Another entry may move into this slot, which is looked at again. No entry moves
                // behind the sweep, so that a sweep over the whole table misses none.
                self.remove_at(at);
            }
        }
        if capacity > 64 && self.len * 4 < capacity {
            self.resize(self.len + self.len / 2 + 8);
            return 0;
        }
        at
    }

    /// Number of bytes for the slots.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    fn place(&mut self, entry: E) {
        let capacity = self.slots.len();
        let mut at = home(entry.hash(), capacity);
        while !self.slots[at].is_empty() {
            at = next(at, capacity);
        }
        self.slots[at] = entry;
    }

    /// Removes an entry, and moves back the entries behind it so that no search ends before them.
    fn remove_at(&mut self, mut free: usize) {
        let capacity = self.slots.len();
        let mut at = next(free, capacity);
        while !self.slots[at].is_empty() {
            let home = home(self.slots[at].hash(), capacity);
            // The distance from the home, around the end of the table.
            let distance = |index: usize| (index + capacity - home) % capacity;
            if distance(free) < distance(at) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = next(at, capacity);
        }
        self.slots[free] = E::EMPTY;
        self.len -= 1;
    }

    fn resize(&mut self, capacity: usize) {
        let slots = vec![E::EMPTY; capacity].into_boxed_slice();
        let old = std::mem::replace(&mut self.slots, slots);
        for entry in old.iter().filter(|entry| !entry.is_empty()) {
            self.place(*entry);
        }
    }
}

/// The slot at which the search for a hash begins.
fn home(hash: u64, capacity: usize) -> usize {
    // The product's upper half is below `capacity`, so it fits.
    ((u128::from(hash) * capacity as u128) >> 64) as usize
}

fn next(at: usize, capacity: usize) -> usize {
    if at + 1 == capacity { 0 } else { at + 1 }
}

#[cfg(test)]
mod tests;

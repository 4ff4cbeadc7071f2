//! Visitors by hash, with the second of each one's latest event: the table behind a window.
//!
//! Open addressing with 16-byte slots and nothing beside them, because what an event costs here is
//! cache misses: a general hash table reads its control bytes and then the entry, this one reads
//! the entry. Keys are already hashed with a secret key, so that their own bits place them and
//! nobody can choose ids that collide.
//!
//! A slot's home is hash × capacity ÷ 2⁶⁴, which allows any capacity: growing by half instead of
//! doubling keeps a visitor at 20 to 30 bytes.

use crate::prefetch::prefetch;

/// A label that there is none of.
pub(crate) const NO_LABEL: u16 = u16::MAX;

/// One visitor. The hash 0 marks an empty slot; a visitor that hashes to it is counted as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    hash: u64,
    /// Whole second of the latest event, since the Unix epoch.
    pub(crate) second: u32,
    /// Labels of the latest source and page, or [`NO_LABEL`].
    pub(crate) source: u16,
    pub(crate) page: u16,
}

const EMPTY: Slot = Slot {
    hash: 0,
    second: 0,
    source: NO_LABEL,
    page: NO_LABEL,
};

/// Visitors by hash. Those gone too long stay until a sweep comes by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitors {
    slots: Box<[Slot]>,
    len: usize,
    /// Slot at which the next sweep goes on.
    cursor: usize,
}

impl Visitors {
    /// Visitors held, those gone included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The visitor, if held.
    pub(crate) fn get(&self, hash: u64) -> Option<&Slot> {
        self.find(hash).map(|at| &self.slots[at])
    }

    /// The visitor, if held.
    pub(crate) fn get_mut(&mut self, hash: u64) -> Option<&mut Slot> {
        self.find(hash).map(|at| &mut self.slots[at])
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let hash = hash.max(1);
        let capacity = self.slots.len();
        if capacity == 0 {
            return None;
        }
        let mut at = home(hash, capacity);
        loop {
            // A full table cannot be: a fifth of the slots stays empty.
            match self.slots[at].hash {
                0 => return None,
                found if found == hash => return Some(at),
                _ => at = next(at, capacity),
            }
        }
    }

    /// Asks memory for the slot where the search for a visitor begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        let capacity = self.slots.len();
        if capacity > 0 {
            prefetch(&self.slots[home(hash.max(1), capacity)]);
        }
    }

    /// Adds a visitor that is not held.
    pub(crate) fn insert(&mut self, hash: u64, second: u32, source: u16, page: u16) {
        if self.is_full() {
            self.resize(self.slots.len() + self.slots.len() / 2 + 8);
        }
        self.place(Slot {
            hash: hash.max(1),
            second,
            source,
            page,
        });
        self.len += 1;
    }

    /// True if one more visitor makes the table grow.
    pub(crate) fn is_full(&self) -> bool {
        (self.len + 1) * 5 > self.slots.len() * 4
    }

    /// Every visitor whose latest event is not before `oldest`.
    pub(crate) fn since(&self, oldest: u32) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter(move |slot| slot.hash != 0 && slot.second >= oldest)
    }

    /// The same, to change their labels.
    pub(crate) fn since_mut(&mut self, oldest: u32) -> impl Iterator<Item = &mut Slot> {
        self.slots
            .iter_mut()
            .filter(move |slot| slot.hash != 0 && slot.second >= oldest)
    }

    /// Looks at up to `budget` slots, going on where the last sweep stopped, and forgets the
    /// visitors in them whose latest event is before `oldest`. Gives memory back when few are left.
    pub(crate) fn sweep(&mut self, budget: usize, oldest: u32) {
        let capacity = self.slots.len();
        if capacity == 0 {
            return;
        }
        let mut at = self.cursor % capacity;
        let mut left = budget.min(capacity);
        while left > 0 {
            let slot = self.slots[at];
            if slot.hash != 0 && slot.second < oldest {
                // Another one may move into this slot: it is looked at again. What moves never
                // moves behind the sweep, so that one over the whole table misses nobody.
                self.remove_at(at);
            } else {
                at = next(at, capacity);
                left -= 1;
            }
        }
        self.cursor = at;
        if capacity > 64 && self.len * 4 < capacity {
            self.resize(self.len + self.len / 2 + 8);
        }
    }

    /// Forgets everyone and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn place(&mut self, slot: Slot) {
        let capacity = self.slots.len();
        let mut at = home(slot.hash, capacity);
        while self.slots[at].hash != 0 {
            at = next(at, capacity);
        }
        self.slots[at] = slot;
    }

    /// Moves back what was pushed past the freed slot, so that no search stops short of it.
    fn remove_at(&mut self, mut free: usize) {
        let capacity = self.slots.len();
        let mut at = next(free, capacity);
        while self.slots[at].hash != 0 {
            let home = home(self.slots[at].hash, capacity);
            // How far each lies behind the home, around the end of the table.
            let behind = |index: usize| (index + capacity - home) % capacity;
            if behind(free) < behind(at) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = next(at, capacity);
        }
        self.slots[free] = EMPTY;
        self.len -= 1;
    }

    fn resize(&mut self, capacity: usize) {
        let slots = vec![EMPTY; capacity].into_boxed_slice();
        let old = std::mem::replace(&mut self.slots, slots);
        self.cursor = 0;
        for slot in old.iter().filter(|slot| slot.hash != 0) {
            self.place(*slot);
        }
    }
}

/// Slot at which the search for a hash begins, below `capacity`.
fn home(hash: u64, capacity: usize) -> usize {
    // The product's upper half is below `capacity`, so it fits.
    ((u128::from(hash) * capacity as u128) >> 64) as usize
}

fn next(at: usize, capacity: usize) -> usize {
    if at + 1 == capacity { 0 } else { at + 1 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        See(u64, u32),
        Sweep(usize, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few homes, so that runs grow long and wrap around the end.
        let hash = prop_oneof![
            (0_u64..40).prop_map(|low| low << 58),
            (0_u64..6).prop_map(|low| u64::MAX - low),
            0_u64..6,
        ];
        prop_oneof![
            8 => (hash, 0_u32..100).prop_map(|(hash, second)| Step::See(hash, second)),
            1 => (0_usize..200, 0_u32..100).prop_map(|(budget, oldest)| Step::Sweep(budget, oldest)),
        ]
    }

    proptest! {
        #[test]
        fn holds_what_a_map_holds(steps in proptest::collection::vec(step(), 0..300)) {
            let mut table = Visitors::default();
            let mut model = HashMap::<u64, u32>::new();
            for step in steps {
                match step {
                    Step::See(hash, second) => {
                        match table.get_mut(hash) {
                            Some(slot) => slot.second = second,
                            None => table.insert(hash, second, 0, 0),
                        }
                        model.insert(hash.max(1), second);
                    }
                    Step::Sweep(budget, oldest) => {
                        table.sweep(budget, oldest);
                        model.retain(|hash, second| *second >= oldest || table.get_mut(*hash).is_some());
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                for (hash, second) in &model {
                    prop_assert_eq!(table.get_mut(*hash).map(|slot| slot.second), Some(*second));
                }
            }
            table.sweep(usize::MAX, 50);
            model.retain(|_, second| *second >= 50);
            prop_assert_eq!(table.since(0).count(), model.len());
        }
    }

    #[test]
    fn a_visitor_takes_at_most_forty_bytes() {
        let mut table = Visitors::default();
        for n in 0_u64..200_000 {
            table.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0, NO_LABEL, NO_LABEL);
            let bytes = table.slots.len() * size_of::<Slot>();
            assert!(n < 100 || bytes <= 40 * table.len(), "{bytes} for {n}");
        }
    }
}

//! Names of sources and pages as small numbers, so that a visitor's latest ones cost four bytes.
//!
//! Two bounds hold: labels a site may have, and bytes all sites of a partition may spend on them.
//! Beyond either a new name becomes `OTHER`, which the engine counts; it is then missing from top
//! lists and nothing else. Labels nobody wears any more are collected when they outnumber those
//! that are worn.

use crate::detect::window::visitors::{NO_LABEL, Slot};
use crate::prefetch::prefetch;

/// A name that found no room.
pub(crate) const OTHER: u16 = NO_LABEL - 1;

/// Longest name kept, in bytes; a longer one is shown cut, but still told apart.
const MAX_NAME_BYTES: usize = 300;

/// Bytes of a label beside its name: its entries in two tables.
const LABEL_OVERHEAD_BYTES: usize = 48;

/// Bound of the names that the sites of one partition hold together.
#[derive(Debug, Clone)]
pub(crate) struct LabelBudget {
    /// Most labels of one site.
    pub(crate) per_site: usize,
    /// Bytes that may be spent.
    pub(crate) bytes: usize,
    pub(crate) spent: usize,
}

/// The labels of one site.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiteLabels {
    /// Open addressing: 48 bits of a name's hash above 16 bits of its label. Two names of a site
    /// that share 48 bits of a keyed hash would be shown as one; no count depends on it.
    slots: Box<[u64]>,
    names: Vec<Box<str>>,
    /// Labels when they were last collected.
    collected: usize,
}

const EMPTY: u64 = u64::MAX;
const LABEL_BITS: u64 = 0xFFFF;

impl SiteLabels {
    /// The label of a name with this hash, or [`OTHER`]; `None` if it is new and there are so many
    /// labels that those nobody wears should be collected first.
    pub(crate) fn label(
        &mut self,
        hash: u64,
        name: &str,
        visitors: u32,
        budget: &mut LabelBudget,
    ) -> Option<u16> {
        let tag = hash & !LABEL_BITS;
        let capacity = self.slots.len();
        let mut at = 0;
        if capacity > 0 {
            at = home(hash, capacity);
            while self.slots[at] != EMPTY {
                if self.slots[at] & !LABEL_BITS == tag {
                    return Some((self.slots[at] & LABEL_BITS) as u16);
                }
                at = next(at, capacity);
            }
        }
        let len = self.names.len();
        let kept = cut(name);
        let cost = kept.len() + LABEL_OVERHEAD_BYTES;
        let room = len < budget.per_site.min(usize::from(OTHER)) && budget.spent + cost <= budget.bytes;
        let unworn = len > self.collected.max(2 * visitors as usize) * 2 + 32;
        // Near a bound, collecting is worth it once a quarter was added since the last time.
        if unworn || (!room && len > self.collected + len / 4) {
            return None;
        }
        if !room {
            return Some(OTHER);
        }
        if (len + 1) * 3 > capacity * 2 {
            self.grow();
            at = free(&self.slots, hash);
        }
        self.slots[at] = tag | len as u64;
        self.names.push(kept.into());
        budget.spent += cost;
        // Below `OTHER`, so it fits.
        Some(len as u16)
    }

    /// Asks memory for the slot where the search for a name begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        let capacity = self.slots.len();
        if capacity > 0 {
            prefetch(&self.slots[home(hash, capacity)]);
        }
    }

    /// The name of a label; none for [`NO_LABEL`] and [`OTHER`].
    pub(crate) fn name(&self, label: u16) -> Option<&str> {
        self.names.get(usize::from(label)).map(|name| &**name)
    }

    /// Labels in use, worn or not.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Forgets the labels that none of these visitors wears. The others get new numbers.
    pub(crate) fn collect<'a>(
        &mut self,
        visitors: impl Iterator<Item = &'a mut Slot>,
        budget: &mut LabelBudget,
    ) {
        let mut renamed = vec![NO_LABEL; self.names.len()];
        let mut kept = Vec::new();
        for slot in visitors {
            for label in [&mut slot.source, &mut slot.page] {
                let Some(new) = renamed.get_mut(usize::from(*label)) else {
                    continue;
                };
                if *new == NO_LABEL {
                    *new = kept.len() as u16;
                    kept.push(std::mem::take(&mut self.names[usize::from(*label)]));
                }
                *label = *new;
            }
        }
        let entries: Vec<u64> = self
            .slots
            .iter()
            .filter(|slot| **slot != EMPTY)
            .filter_map(|slot| {
                let new = renamed[(slot & LABEL_BITS) as usize];
                (new != NO_LABEL).then_some(slot & !LABEL_BITS | u64::from(new))
            })
            .collect();
        // What was moved to `kept` left an empty name behind: the rest are the names let go.
        let forgotten = self.names.len() - kept.len();
        let bytes: usize = self.names.iter().map(|name| name.len()).sum();
        budget.spent -= bytes + forgotten * LABEL_OVERHEAD_BYTES;
        self.collected = kept.len();
        self.names = kept;
        self.slots = place(entries.len() * 2 + 8, entries);
    }

    /// Forgets every label and gives the memory back.
    pub(crate) fn clear(&mut self, budget: &mut LabelBudget) {
        let bytes: usize = self.names.iter().map(|name| name.len()).sum();
        budget.spent -= bytes + self.names.len() * LABEL_OVERHEAD_BYTES;
        *self = Self::default();
    }

    fn grow(&mut self) {
        let entries: Vec<u64> = self.slots.iter().copied().filter(|slot| *slot != EMPTY).collect();
        self.slots = place(self.slots.len() * 2 + 8, entries);
    }
}

fn place(capacity: usize, entries: Vec<u64>) -> Box<[u64]> {
    let mut slots = vec![EMPTY; capacity].into_boxed_slice();
    for entry in entries {
        slots[free(&slots, entry)] = entry;
    }
    slots
}

/// The first empty slot for a hash. Its lower bits are the label's in an entry, and too low to
/// matter here.
fn free(slots: &[u64], hash: u64) -> usize {
    let mut at = home(hash, slots.len());
    while slots[at] != EMPTY {
        at = next(at, slots.len());
    }
    at
}

fn home(hash: u64, capacity: usize) -> usize {
    let hash = hash & !LABEL_BITS;
    ((u128::from(hash) * capacity as u128) >> 64) as usize
}

fn next(at: usize, capacity: usize) -> usize {
    if at + 1 == capacity { 0 } else { at + 1 }
}

/// The name, or its beginning and an ellipsis.
fn cut(name: &str) -> std::borrow::Cow<'_, str> {
    if name.len() <= MAX_NAME_BYTES {
        return name.into();
    }
    let end = name.floor_char_boundary(MAX_NAME_BYTES - '…'.len_utf8());
    format!("{}…", &name[..end]).into()
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;
    use crate::detect::window::segments::Segments;
    use crate::detect::window::{SlidingWindow, Visit};

    fn budget(per_site: usize, bytes: usize) -> LabelBudget {
        LabelBudget {
            per_site,
            bytes,
            spent: 0,
        }
    }

    fn hash(name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    }

    fn label(labels: &mut SiteLabels, name: &str, visitors: u32, budget: &mut LabelBudget) -> Option<u16> {
        labels.label(hash(name), name, visitors, budget)
    }

    #[test]
    fn the_same_name_has_the_same_label() {
        let (mut labels, mut budget) = (SiteLabels::default(), budget(1_000, 1 << 20));
        let given: Vec<u16> = (0..500)
            .map(|n| label(&mut labels, &format!("/page/{n}"), 1_000, &mut budget).expect("room"))
            .collect();
        for (n, given) in given.into_iter().enumerate() {
            let name = format!("/page/{n}");
            assert_eq!(label(&mut labels, &name, 1_000, &mut budget), Some(given));
            assert_eq!(labels.name(given), Some(&*name));
        }
        assert_eq!(labels.len(), 500);
        labels.clear(&mut budget);
        assert_eq!(budget.spent, 0);
    }

    #[test]
    fn without_room_a_name_is_other() {
        let (mut labels, mut budget) = (SiteLabels::default(), budget(2, 1 << 20));
        label(&mut labels, "a", 9, &mut budget);
        label(&mut labels, "b", 9, &mut budget);
        labels.collected = 2;
        assert_eq!(label(&mut labels, "c", 9, &mut budget), Some(OTHER));
        assert_eq!(label(&mut labels, "a", 9, &mut budget), Some(0));
        assert_eq!(labels.name(OTHER), None);
        budget.per_site = 9;
        budget.bytes = budget.spent;
        assert_eq!(label(&mut labels, "c", 9, &mut budget), Some(OTHER));
    }

    #[test]
    fn labels_nobody_wears_are_collected() {
        let (mut labels, mut budget) = (SiteLabels::default(), budget(10_000, 1 << 20));
        let mut segments = Segments::new(1);
        let segment = segments.begin_record(0, 0);
        let mut window = SlidingWindow::new(&[300], 1_000);
        let worn = label(&mut labels, "/worn", 1, &mut budget).expect("room");
        let mut n = 0;
        while let Some(page) = label(&mut labels, &format!("/{n}"), window.live(), &mut budget) {
            let seen = Visit {
                hash: 1 << 60,
                second: 1_000,
                source: worn,
                page,
            };
            window.visit(seen, 10, segment, &mut segments);
            n += 1;
        }
        assert!((30..100).contains(&n), "{n}");
        let last = format!("/{}", n - 1);
        labels.collect(window.live_mut(), &mut budget);
        assert_eq!(labels.len(), 2);
        let slot = window.within(300).next().expect("one visitor");
        assert_eq!(labels.name(slot.source), Some("/worn"));
        assert_eq!(labels.name(slot.page), Some(&*last));
        assert_eq!(
            budget.spent,
            "/worn".len() + last.len() + 2 * LABEL_OVERHEAD_BYTES
        );
        assert!(label(&mut labels, &last, 1, &mut budget) == Some(slot.page));
        labels.clear(&mut budget);
        assert_eq!(budget.spent, 0);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = "é".repeat(400);
        let shown = cut(&long);
        assert!(shown.len() <= MAX_NAME_BYTES && shown.ends_with('…'));
        assert_eq!(cut("short"), "short");
    }
}

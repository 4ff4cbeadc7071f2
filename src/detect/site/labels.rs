//! Names of sources and pages as small numbers, so that a visitor's latest ones cost four bytes.
//!
//! Two bounds hold: on the labels of a site, and on the bytes that all sites of a partition spend
//! on them. Beyond either, a new name becomes `OTHER`, which the engine counts; its only effect is
//! that the name is missing from top lists. Labels that no visitor has any more are collected when
//! they outnumber the others, and as soon as a name finds no room: what was seen before keeps
//! nothing unnamed that is seen now. If nearly all are in use, those of so few visitors that no
//! list would name them make room too.

use crate::detect::table::{Entry, Table};
use crate::detect::window::visitors::{NO_LABEL, Visitor};

/// The label of a name that found no room.
pub(crate) const OTHER: u16 = NO_LABEL - 1;

/// Smallest number of visitors of a name in a list: fewer could identify a person.
pub(super) const MIN_VISITORS: u32 = 3;

/// Longest name kept, in bytes. A longer one is shown cut, but has a label of its own.
const MAX_NAME_BYTES: usize = 300;

/// Visitors that are looked at for unused labels in a second of the site's clock, in the mean, by a
/// site that has no room for further ones.
const VISITORS_PER_SECOND: u32 = 20_000;

/// Bytes for a label beside its name: an entry in the table and one in the list of names.
const LABEL_OVERHEAD_BYTES: usize = 48;

/// Bounds on labels, shared by the sites of one partition.
#[derive(Debug, Clone)]
pub(crate) struct LabelBudget {
    /// Greatest number of labels of one site.
    pub(crate) per_site: usize,
    /// Bytes that may be spent.
    pub(crate) bytes: usize,
    /// Bytes that are spent.
    pub(crate) spent: usize,
    /// Names of present visitors that were forgotten for want of room, until somebody counts them.
    pub(crate) forgotten: u64,
}

impl LabelBudget {
    /// Names that were forgotten since the last call.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

/// The labels of one site.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiteLabels {
    table: Table<LabelEntry>,
    /// Names by their label.
    names: Vec<Box<str>>,
    /// Number of labels after the last collection.
    collected: usize,
    /// Second of the last collection.
    collected_at: u32,
}

/// The upper 48 bits of a name's hash, and its label in the lower 16. Two names of a site whose
/// keyed hashes share 48 bits would be shown as one; no count depends on it.
#[derive(Debug, Clone, Copy)]
struct LabelEntry(u64);

const LABEL_BITS: u64 = 0xFFFF;

impl LabelEntry {
    fn new(hash: u64, label: u16) -> Self {
        Self(hash & !LABEL_BITS | u64::from(label))
    }

    fn label(self) -> u16 {
        (self.0 & LABEL_BITS) as u16
    }
}

impl Entry for LabelEntry {
    // No entry has this label.
    const EMPTY: Self = Self(u64::MAX);

    fn is_empty(&self) -> bool {
        self.0 == u64::MAX
    }

    fn hash(&self) -> u64 {
        self.0 & !LABEL_BITS
    }
}

impl SiteLabels {
    /// The label of a name with this hash, or [`OTHER`]. `None` if it is new and unused
    /// labels should be collected first.
    pub(crate) fn label(
        &mut self,
        hash: u64,
        name: &str,
        visitors: u32,
        now: u32,
        budget: &mut LabelBudget,
    ) -> Option<u16> {
        if let Some(entry) = self.table.get(hash & !LABEL_BITS) {
            return Some(entry.label());
        }
        let len = self.names.len();
        let kept = cut(name);
        let cost = kept.len() + LABEL_OVERHEAD_BYTES;
        let has_room = len < budget.per_site.min(usize::from(OTHER)) && budget.spent + cost <= budget.bytes;
        let has_unused = len > self.collected.max(2 * visitors as usize) * 2 + 32;
        // In the same second, or soon if there are many visitors, it would find little more.
        let was_just_collected = now.saturating_sub(self.collected_at) <= visitors / VISITORS_PER_SECOND;
        if has_unused || (!has_room && !was_just_collected) {
            return None;
        }
        if !has_room {
            return Some(OTHER);
        }
        // It fits, being below `OTHER`.
        let label = len as u16;
        self.table.insert(LabelEntry::new(hash, label));
        self.names.push(kept.into());
        budget.spent += cost;
        Some(label)
    }

    /// Asks memory for the slot at which the search for a name begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash & !LABEL_BITS);
    }

    /// The name of a label; `None` for [`NO_LABEL`] and [`OTHER`].
    pub(crate) fn name(&self, label: u16) -> Option<&str> {
        self.names.get(usize::from(label)).map(|name| &**name)
    }

    /// Number of labels, the unused ones included.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Marks the labels that too few of these visitors have for any list, if nearly all labels are
    /// in use. None otherwise.
    pub(crate) fn rare<'a>(
        &self,
        visitors: impl Iterator<Item = &'a Visitor>,
        budget: &LabelBudget,
    ) -> Vec<bool> {
        let mut counts = vec![0_u32; self.names.len()];
        for visitor in visitors {
            for label in [visitor.source, visitor.page] {
                if let Some(count) = counts.get_mut(usize::from(label)) {
                    *count += 1;
                }
            }
        }
        let used = counts.iter().filter(|count| **count > 0).count();
        let is_most_of = |part: usize, whole: usize| part * 4 > whole * 3;
        match is_most_of(used, budget.per_site) || is_most_of(budget.spent, budget.bytes) {
            true => counts.iter().map(|count| *count < MIN_VISITORS).collect(),
            false => Vec::new(),
        }
    }

    /// Removes the labels that none of these visitors has, and the `rare` ones, at the second
    /// `now`. The others are numbered anew.
    pub(crate) fn collect<'a>(
        &mut self,
        visitors: impl Iterator<Item = &'a mut Visitor>,
        rare: &[bool],
        now: u32,
        budget: &mut LabelBudget,
    ) {
        let mut renumbered = vec![NO_LABEL; self.names.len()];
        let mut kept = Vec::new();
        for visitor in visitors {
            for label in [&mut visitor.source, &mut visitor.page] {
                let Some(new) = renumbered.get_mut(usize::from(*label)) else {
                    continue;
                };
                if rare.get(usize::from(*label)) == Some(&true) {
                    *label = OTHER;
                    budget.forgotten += 1;
                    continue;
                }
                if *new == NO_LABEL {
                    *new = kept.len() as u16;
                    kept.push(std::mem::take(&mut self.names[usize::from(*label)]));
                }
                *label = *new;
            }
        }
        let mut table = Table::default();
        for entry in self.table.iter() {
            let new = renumbered[usize::from(entry.label())];
            if new != NO_LABEL {
                table.insert(LabelEntry::new(entry.hash(), new));
            }
        }
        // Names that were kept left an empty text behind: the others are those removed.
        let removed = self.names.len() - kept.len();
        let bytes: usize = self.names.iter().map(|name| name.len()).sum();
        budget.spent -= bytes + removed * LABEL_OVERHEAD_BYTES;
        self.collected = kept.len();
        self.collected_at = now;
        self.names = kept;
        self.table = table;
    }

    /// Removes every label and gives the memory back.
    pub(crate) fn clear(&mut self, budget: &mut LabelBudget) {
        let bytes: usize = self.names.iter().map(|name| name.len()).sum();
        budget.spent -= bytes + self.names.len() * LABEL_OVERHEAD_BYTES;
        *self = Self::default();
    }
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
mod tests;

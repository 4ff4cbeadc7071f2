//! The latest distinct visitors of a site, for windows of many hours.
//!
//! A count within any window is exact up to the number of visitors that is kept. More than that
//! number lie in the table for a while: only when half as many again are there, the earliest are
//! removed in one pass, so that an event costs one look-up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::detect::table::{Entry, Table};

/// Bytes of a visitor as stored: the second and the hash.
const STORED_BYTES: usize = 12;

/// The latest distinct visitors.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestVisitors {
    /// Visitors that are kept at least, if so many were seen.
    kept: usize,
    table: Table<LatestVisitor>,
}

/// A visitor with the second of the latest event. The hash 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LatestVisitor {
    hash: u64,
    second: u32,
}

impl Entry for LatestVisitor {
    const EMPTY: Self = Self { hash: 0, second: 0 };

    fn is_empty(&self) -> bool {
        self.hash == 0
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

impl LatestVisitors {
    /// Number of visitors up to which counts are exact; 0 if nobody is kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Changes the number of visitors to keep. A greater one is reached only with time.
    pub(crate) fn set_kept(&mut self, kept: usize) {
        self.kept = kept;
        if self.table.len() > kept {
            self.trim();
        }
    }

    /// Forgets everyone, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.table = Table::default();
    }

    /// True if so many visitors are known that an older one changes no count up to it.
    pub(crate) fn has(&self, count: u32) -> bool {
        self.table.len() >= count as usize
    }

    /// Notes an event of a visitor. Returns true if it changed anything.
    pub(crate) fn visit(&mut self, hash: u64, second: u32) -> bool {
        let hash = hash.max(1);
        if let Some(known) = self.table.get_mut(hash) {
            let is_later = second > known.second;
            known.second = known.second.max(second);
            return is_later;
        }
        self.table.insert(LatestVisitor { hash, second });
        if self.table.len() > self.kept + self.kept / 2 + 8 {
            self.trim();
        }
        true
    }

    /// Asks memory for the slot at which the search for a visitor begins.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash.max(1));
    }

    /// Visitors whose latest event is not before `oldest`: exact up to the number kept.
    pub(crate) fn since(&self, oldest: u32) -> u32 {
        let recent = self.table.iter().filter(|visitor| visitor.second >= oldest);
        // Few thousand are kept.
        recent.count() as u32
    }

    /// The second of the n-th latest visitor.
    pub(crate) fn nth_latest(&self, n: u32) -> Option<u32> {
        let mut seconds: Vec<u32> = self.table.iter().map(|visitor| visitor.second).collect();
        let place = (n as usize)
            .checked_sub(1)
            .filter(|place| *place < seconds.len())?;
        let (_, second, _) = seconds.select_nth_unstable_by(place, |a, b| b.cmp(a));
        Some(*second)
    }

    /// The second of the latest visitor.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.table.iter().map(|visitor| visitor.second).max()
    }

    /// The visitors that are kept, as text.
    pub(crate) fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.table.len() * STORED_BYTES);
        for visitor in self.latest_first().iter().take(self.kept) {
            bytes.extend(visitor.second.to_be_bytes());
            bytes.extend(visitor.hash.to_be_bytes());
        }
        BASE64.encode(bytes)
    }

    /// Notes the visitors of [`Self::to_text`]. A text that is none of the kind holds nobody.
    pub(crate) fn read_text(&mut self, text: &str) {
        let bytes = BASE64.decode(text).unwrap_or_default();
        for visitor in bytes.chunks_exact(STORED_BYTES) {
            let (second, hash) = visitor.split_at(4);
            if let (Ok(second), Ok(hash)) = (second.try_into(), hash.try_into()) {
                self.visit(u64::from_be_bytes(hash), u32::from_be_bytes(second));
            }
        }
    }

    /// Everyone in the table, the latest first.
    fn latest_first(&self) -> Vec<LatestVisitor> {
        let mut list: Vec<LatestVisitor> = self.table.iter().copied().collect();
        list.sort_unstable_by_key(|visitor| std::cmp::Reverse((visitor.second, visitor.hash)));
        list
    }

    /// Removes everyone but the latest.
    fn trim(&mut self) {
        let list = self.latest_first();
        self.table = Table::default();
        for visitor in list.into_iter().take(self.kept) {
            self.table.insert(visitor);
        }
    }
}

#[cfg(test)]
mod tests;

//! An index of paths and patterns: by the whole path, or by a piece of the pattern.
//!
//! Of each pattern one literal piece is its key. One automaton looks for all keys in one pass over
//! the path, and only the patterns whose keys it found are tried.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use hashbrown::HashMap;

use super::canonical_path::{canonical, may_begin_otherwise, may_end_otherwise};
use super::pattern::Pattern;

/// Longest key in bytes. It bounds the automaton, and the keys that can end at one place.
const MAX_KEY_BYTES: usize = 24;

/// The paths and patterns of a site's goals, each with the number of its goal.
#[derive(Debug, Clone, Default)]
pub(super) struct PathIndex {
    /// Goals on one whole path.
    literal: HashMap<Box<str>, Vec<u32>>,
    patterns: Vec<(u32, Pattern)>,
    /// For each key, the indices of the patterns that have it.
    by_key: Vec<Vec<u32>>,
    /// Indices of the patterns that consist of stars.
    keyless: Vec<u32>,
    /// Finds keys; `None` if there are none.
    keys: Option<AhoCorasick>,
}

impl PathIndex {
    pub(super) fn new(patterns: Vec<(u32, Pattern)>) -> Self {
        let mut index = Self::default();
        let (literal, starred): (Vec<_>, Vec<_>) = patterns
            .into_iter()
            .partition(|(_, pattern)| pattern.is_literal());
        for (number, pattern) in literal {
            let path = pattern.prefix().into();
            index.literal.entry(path).or_default().push(number);
        }
        index.patterns = starred;
        let mut keys: Vec<&[u8]> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        // A site has nowhere near 2³² goals.
        for (place, (_, pattern)) in (0_u32..).zip(&index.patterns) {
            let piece = pattern.longest_piece().as_bytes();
            let key = &piece[piece.len().saturating_sub(MAX_KEY_BYTES)..];
            if key.is_empty() {
                index.keyless.push(place);
                continue;
            }
            let number = *known.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            });
            if number == index.by_key.len() {
                index.by_key.push(Vec::new());
            }
            index.by_key[number].push(place);
        }
        drop(known);
        if !keys.is_empty() {
            let kind = Some(AhoCorasickKind::ContiguousNFA);
            index.keys = AhoCorasick::builder().kind(kind).build(&keys).ok();
            if index.keys.is_none() {
                // Too many for an automaton: each is tried.
                index.keyless = (0_u32..).zip(&index.patterns).map(|(place, _)| place).collect();
            }
        }
        index
    }

    /// The ends of the paths that may match.
    pub(super) fn ends(&self) -> PathEnds {
        let literal = self.literal.keys().map(|path| &**path);
        PathEnds::new(literal, self.patterns.iter().map(|(_, pattern)| pattern))
    }

    /// Adds the numbers of the goals that `path` matches to `found`.
    pub(super) fn find(&self, path: &str, found: &mut Vec<u32>) {
        let path = &*canonical(path);
        found.extend(self.literal.get(path).into_iter().flatten());
        let mut try_at = |place: u32| {
            let (number, pattern) = &self.patterns[place as usize];
            if pattern.matches(path) {
                found.push(*number);
            }
        };
        self.keyless.iter().for_each(|place| try_at(*place));
        let Some(keys) = &self.keys else { return };
        // A key may be found many times.
        let mut seen: Vec<u64> = Vec::new();
        for key in keys.find_overlapping_iter(path) {
            let key = key.pattern().as_usize();
            if seen.is_empty() {
                seen = vec![0; self.by_key.len().div_ceil(64)];
            }
            let (word, bit) = (&mut seen[key / 64], 1 << (key % 64));
            if *word & bit == 0 {
                *word |= bit;
                self.by_key[key].iter().for_each(|place| try_at(*place));
            }
        }
    }
}

/// The bytes at which all paths that may match begin and end, as sets of 64 classes of bytes: the
/// second byte (the first is nearly always `/`), or the last one where a pattern begins with a
/// star. They are small enough to lie in the site's state, where every event finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PathEnds {
    heads: u64,
    tails: u64,
}

impl PathEnds {
    fn new<'a>(literal: impl Iterator<Item = &'a str>, patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut ends = Self::default();
        for path in literal {
            ends.heads |= class(path.as_bytes().get(1));
        }
        for pattern in patterns {
            match (
                pattern.prefix().as_bytes().get(1),
                pattern.suffix().as_bytes().last(),
            ) {
                (Some(second), _) => ends.heads |= class(Some(second)),
                (None, Some(last)) => ends.tails |= class(Some(last)),
                // Any path may match.
                (None, None) => ends.heads = u64::MAX,
            }
        }
        ends
    }

    /// False if nothing can match the path.
    pub(crate) fn may_match(self, path: &str) -> bool {
        let bytes = path.as_bytes();
        self.heads & class(bytes.get(1)) != 0
            || self.tails & class(bytes.last()) != 0
            || (self.heads != 0 && may_begin_otherwise(path))
            || (self.tails != 0 && may_end_otherwise(path))
    }
}

/// The class of a byte; an absent one is taken for zero.
fn class(byte: Option<&u8>) -> u64 {
    1 << (byte.copied().unwrap_or_default() & 63)
}

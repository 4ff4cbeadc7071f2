//! An index of paths and patterns: by the whole path, or by the literal beginning of the pattern.

use hashbrown::HashMap;

use super::pattern::Pattern;

/// The paths and patterns of a site's goals, each with the number of its goal.
#[derive(Debug, Clone, Default)]
pub(super) struct PathIndex {
    /// Goals on one whole path.
    literal: HashMap<Box<str>, Vec<u32>>,
    /// Beginnings of the patterns, sorted, each once.
    prefixes: Vec<Prefix>,
}

/// The patterns that begin with one literal text.
#[derive(Debug, Clone)]
struct Prefix {
    text: Box<str>,
    /// Index of the longest other prefix that this one begins with.
    parent: Option<usize>,
    patterns: Vec<(u32, Pattern)>,
}

impl PathIndex {
    pub(super) fn new(patterns: Vec<(u32, Pattern)>) -> Self {
        let mut index = Self::default();
        let (literal, mut starred): (Vec<_>, Vec<_>) = patterns
            .into_iter()
            .partition(|(_, pattern)| pattern.is_literal());
        for (number, pattern) in literal {
            let path = pattern.prefix().into();
            index.literal.entry(path).or_default().push(number);
        }
        starred.sort_by(|(_, a), (_, b)| a.prefix().cmp(b.prefix()));
        for (number, pattern) in starred {
            match index.prefixes.last_mut() {
                Some(last) if &*last.text == pattern.prefix() => last.patterns.push((number, pattern)),
                _ => {
                    let text: Box<str> = pattern.prefix().into();
                    let before = index.prefixes.len().checked_sub(1);
                    index.prefixes.push(Prefix {
                        parent: index.ancestor(before, &text),
                        text,
                        patterns: vec![(number, pattern)],
                    });
                }
            }
        }
        index
    }

    /// The beginnings of the paths that may match.
    pub(super) fn heads(&self) -> PathHeads {
        let literal = self.literal.keys().map(|path| &**path);
        let starred = self.prefixes.iter().map(|prefix| &*prefix.text);
        PathHeads::new(literal, starred)
    }

    /// Adds the numbers of the goals that `path` matches to `found`.
    pub(super) fn find(&self, path: &str, found: &mut Vec<u32>) {
        found.extend(self.literal.get(path).into_iter().flatten());
        // In sorted order, every text between a prefix of the path and the path begins with that
        // prefix too. So the last prefix that is not after the path and its parents include all
        // prefixes of the path.
        let last = self.prefixes.partition_point(|prefix| &*prefix.text <= path);
        let mut at = self.ancestor(last.checked_sub(1), path);
        while let Some(index) = at {
            let prefix = &self.prefixes[index];
            let matching = prefix
                .patterns
                .iter()
                .filter(|(_, pattern)| pattern.matches(path));
            found.extend(matching.map(|(number, _)| number));
            at = prefix.parent;
        }
    }

    /// The length of the chain of the last prefix and its parents.
    #[cfg(test)]
    pub(super) fn chain_of_last(&self) -> usize {
        let last = self.prefixes.len().checked_sub(1);
        std::iter::successors(last, |index| self.prefixes[*index].parent).count()
    }

    /// The first of `from` and its parents that `text` begins with.
    fn ancestor(&self, mut from: Option<usize>, text: &str) -> Option<usize> {
        while let Some(index) = from {
            let prefix = &self.prefixes[index];
            if text.starts_with(&*prefix.text) {
                return from;
            }
            from = prefix.parent;
        }
        None
    }
}

/// The second bytes of all paths that may match (the first is nearly always `/`), as a set of 64
/// classes of bytes. It is small enough to lie in the site's state, where every event finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PathHeads(u64);

impl PathHeads {
    fn new<'a>(literal: impl Iterator<Item = &'a str>, prefixes: impl Iterator<Item = &'a str>) -> Self {
        let literal = literal.map(Self::class_of);
        // A prefix without a second byte allows every one.
        let prefixes = prefixes.map(|prefix| {
            if prefix.len() < 2 {
                u64::MAX
            } else {
                Self::class_of(prefix)
            }
        });
        Self(literal.chain(prefixes).fold(0, |all, one| all | one))
    }

    fn class_of(path: &str) -> u64 {
        1 << (path.as_bytes().get(1).copied().unwrap_or_default() & 63)
    }

    /// False if nothing can match the path.
    pub(crate) fn may_match(self, path: &str) -> bool {
        self.0 & Self::class_of(path) != 0
    }
}

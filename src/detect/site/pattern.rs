//! Page patterns. `*` and `**` both match any run of characters, also an empty one and one with
//! `/`; everything else is literal, and both ends are anchored.
//!
//! A pattern is a list of literal pieces. The first and the last are fixed at the ends of the path;
//! each piece between is matched at its first occurrence, which leaves the most room for the
//! others. So no match is ever taken back, and the cost is linear in the path.

use memchr::memmem::Finder;

use super::canonical_path::canonical;

/// A path or a pattern of paths.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// Up to the first `*`.
    prefix: Box<str>,
    /// Pieces between the stars; none is empty.
    middle: Box<[Piece]>,
    /// After the last `*`; `None` for a pattern without stars.
    suffix: Option<Box<str>>,
}

/// A piece between two stars, and the search for it.
#[derive(Debug, Clone)]
struct Piece {
    text: Box<str>,
    finder: Finder<'static>,
}

impl Piece {
    fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            finder: Finder::new(text).into_owned(),
        }
    }
}

impl Pattern {
    /// Parses a pattern; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        let Some((prefix, rest)) = text.split_once('*') else {
            return Self {
                prefix: canonical(text).into(),
                middle: Box::default(),
                suffix: None,
            };
        };
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        Self {
            prefix: canonical(prefix).into(),
            middle: middle
                .split('*')
                .filter(|piece| !piece.is_empty())
                .map(|piece| Piece::new(&canonical(piece)))
                .collect(),
            suffix: Some(canonical(suffix).into()),
        }
    }

    /// The literal text that every matching path begins with; the whole text if
    /// [`Self::is_literal`].
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The literal text that every matching path ends with, behind the last star.
    pub(crate) fn suffix(&self) -> &str {
        self.suffix.as_deref().unwrap_or_default()
    }

    /// True if the pattern has no star and matches one path only.
    pub(crate) fn is_literal(&self) -> bool {
        self.suffix.is_none()
    }

    /// The longest literal piece; empty if the pattern has only stars.
    pub(crate) fn longest_piece(&self) -> &str {
        let middle = self.middle.iter().map(|piece| &*piece.text);
        let ends = [Some(&*self.prefix), self.suffix.as_deref()];
        let pieces = middle.chain(ends.into_iter().flatten());
        pieces.max_by_key(|piece| piece.len()).unwrap_or_default()
    }

    /// True if the whole path, in its canonical form, matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some(suffix) = &self.suffix else {
            return path == &*self.prefix;
        };
        let rest = path.strip_prefix(&*self.prefix);
        let Some(rest) = rest.and_then(|rest| rest.strip_suffix(&**suffix)) else {
            return false;
        };
        let mut rest = rest.as_bytes();
        self.middle.iter().all(|piece| match piece.finder.find(rest) {
            Some(at) => {
                rest = &rest[at + piece.text.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests;

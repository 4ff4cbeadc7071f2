//! Page patterns. `*` and `**` both match any run of characters, also an empty one and one with
//! `/`; everything else is literal, and both ends are anchored.
//!
//! A pattern is a list of literal pieces. The first and the last are fixed at the ends of the path;
//! each piece between is matched at its first occurrence, which leaves the most room for the
//! others. So no match is ever taken back, and the cost is linear in the path.

/// A path or a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Up to the first `*`.
    prefix: Box<str>,
    /// Pieces between the stars; none is empty.
    middle: Box<[Box<str>]>,
    /// After the last `*`; `None` for a pattern without stars.
    suffix: Option<Box<str>>,
}

impl Pattern {
    /// Parses a pattern; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        let Some((prefix, rest)) = text.split_once('*') else {
            return Self {
                prefix: text.into(),
                middle: Box::default(),
                suffix: None,
            };
        };
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        Self {
            prefix: prefix.into(),
            middle: middle
                .split('*')
                .filter(|piece| !piece.is_empty())
                .map(Into::into)
                .collect(),
            suffix: Some(suffix.into()),
        }
    }

    /// The literal text that every matching path begins with; the whole text if
    /// [`Self::is_literal`].
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// True if the pattern has no star and matches one path only.
    pub(crate) fn is_literal(&self) -> bool {
        self.suffix.is_none()
    }

    /// True if the whole path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some(suffix) = &self.suffix else {
            return path == &*self.prefix;
        };
        let rest = path.strip_prefix(&*self.prefix);
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(&**suffix)) else {
            return false;
        };
        self.middle.iter().all(|piece| match rest.find(&**piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests;

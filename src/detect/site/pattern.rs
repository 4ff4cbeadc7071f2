//! Page patterns: `*` and `**` both match any run of characters, `/` and nothing included; everything else is literal
//! and both ends are anchored.
//!
//! A pattern is its literal pieces. The first and the last are fixed at the ends, each one between is found as far to
//! the left as it goes; that leaves the most room for the rest, so there is never a reason to go back and the cost is
//! linear in the path.

/// A path or a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Up to the first `*`.
    prefix: Box<str>,
    /// Between the stars; none is empty.
    middle: Box<[Box<str>]>,
    /// After the last `*`; `None` if there is none, and the whole is literal.
    suffix: Option<Box<str>>,
}

impl Pattern {
    /// Every text is a pattern.
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

    /// The literal text every matching path begins with; the whole text if [`Self::is_literal`].
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether there is no star: the pattern matches one path.
    pub(crate) fn is_literal(&self) -> bool {
        self.suffix.is_none()
    }

    /// Whether the whole path matches.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_matches_any_run_of_characters() {
        for (pattern, path, matches) in [
            ("/blog", "/blog", true),
            ("/blog", "/blog/", false),
            ("/Blog", "/blog", false),
            ("/blog*", "/blog", true),
            ("/blog*", "/blog/", true),
            ("/blog*", "/blog/a/b", true),
            ("/blog*", "/a/blog", false),
            ("/blog/*", "/blog", false),
            ("/*/admin", "/sites/2/admin", true),
            ("/*/admin", "/admin", false),
            ("/**/admin", "/sites/2/admin", true),
            ("*", "", true),
            ("*", "/anything", true),
            ("**", "/anything", true),
            ("*a", "/a/a", true),
            ("/a*b*c", "/abbc", true),
            ("/a*b*c", "/acb", false),
            // The ends must not share a character.
            ("/aa*aa", "/aaa", false),
            ("/a?b", "/axb", false),
            ("/ä*ü", "/äöü", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = Pattern::new(&"*a".repeat(1_000));
        assert!(!pattern.matches(&"a".repeat(999)));
        assert!(pattern.matches(&"a".repeat(2_000)));
        let pattern = Pattern::new(&format!("{}b", "a*".repeat(500)));
        assert!(!pattern.matches(&"a".repeat(2_000)));
    }

    /// By trying everything.
    fn naive(pattern: &[char], path: &[char]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=path.len()).any(|skip| naive(rest, &path[skip..])),
            (Some((a, rest)), Some((b, tail))) => a == b && naive(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_what_trying_everything_matches(pattern in "[ab/ä*]{0,8}", path in "[ab/ä]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Pattern::new(&pattern).matches(&path),
                naive(&chars(&pattern), &chars(&path))
            );
        }
    }
}

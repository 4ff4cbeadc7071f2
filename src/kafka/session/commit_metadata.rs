//! Text beside a committed offset: `v1 <nonce> <addition>`. Each group has its own addition: of
//! `detect` it is a `ReplayPoint`, from which windows are rebuilt; of `deliver` a `HandOver`, which
//! says what the owner may have sent.
//!
//! During a rolling upgrade processes of two versions read each other's commits, so this form stays
//! readable.

use std::fmt;
use std::str::FromStr;

/// First word of the form that is written here.
const VERSION: &str = "v1";

/// Metadata of a commit. `T` is what the group adds; reading one that is not readable gives its
/// default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommitMetadata<T> {
    /// Random name of the consumer thread that committed, empty when it is unknown.
    pub(crate) nonce: String,
    pub(crate) addition: T,
}

impl<T> CommitMetadata<T> {
    pub(crate) fn new(nonce: &str, addition: T) -> Self {
        Self {
            nonce: nonce.to_owned(),
            addition,
        }
    }
}

impl<T: Default + FromStr> CommitMetadata<T> {
    /// Reads the text beside a commit.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        if parts.next() != Some(VERSION) {
            return Self::default();
        }
        Self {
            nonce: parts.next().unwrap_or_default().to_owned(),
            addition: parts
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for CommitMetadata<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION} {} {}", self.nonce, self.addition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_written_and_read_in_one_form() {
        let metadata = CommitMetadata::new("5f3a", 17);
        assert_eq!(metadata.to_string(), "v1 5f3a 17");
        assert_eq!(CommitMetadata::parse("v1 5f3a 17"), metadata);
    }

    #[test]
    fn unreadable_parts_are_absent() {
        let parse = CommitMetadata::<u32>::parse;
        assert_eq!(parse("v1 5f3a x").nonce, "5f3a");
        for unreadable in ["", "5f3a 17", "v2 5f3a 17", "v1"] {
            assert_eq!(parse(unreadable), CommitMetadata::default(), "{unreadable}");
        }
    }
}

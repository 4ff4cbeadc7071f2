//! A site: what events belong to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::texts::has_control;

/// Most aliases of a site.
pub(crate) const MAX_ALIASES: usize = 100;
/// Longest site id, in bytes.
pub(crate) const MAX_SITE_ID_BYTES: usize = 255;

/// A site's id: 1 to 255 bytes, chosen by the producer (a domain, or its own id). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SiteId(Arc<str>);

/// Reason why a text is not a site id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSiteId {
    #[error("a site id has at least one character")]
    Empty,
    #[error("a site id has at most {MAX_SITE_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    #[error("a site id has no control characters")]
    ControlCharacter,
    #[error("`.` and `..` are no site ids: in a path they mean another place")]
    Dots,
}

impl SiteId {
    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a site id, by the same rule on events, in the API and on the command line.
pub(crate) fn check_site_id(text: &str) -> Result<(), InvalidSiteId> {
    match text.len() {
        0 => Err(InvalidSiteId::Empty),
        n if n > MAX_SITE_ID_BYTES => Err(InvalidSiteId::TooLong(n)),
        // Every client takes them out of a path before it sends it (RFC 3986 §5.2.4).
        _ if matches!(text, "." | "..") => Err(InvalidSiteId::Dots),
        // A NUL cannot be stored in Postgres, and the others would make logs and pages lie.
        _ if has_control(text) => Err(InvalidSiteId::ControlCharacter),
        _ => Ok(()),
    }
}

impl FromStr for SiteId {
    type Err = InvalidSiteId;

    fn from_str(text: &str) -> Result<Self, InvalidSiteId> {
        check_site_id(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for SiteId {
    type Error = InvalidSiteId;

    fn try_from(text: String) -> Result<Self, InvalidSiteId> {
        text.parse()
    }
}

impl std::borrow::Borrow<str> for SiteId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Everything but the characters that a segment of a path holds unescaped (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A site id as one segment of a URL's path.
pub(crate) fn escape_segment(site_id: &str) -> String {
    utf8_percent_encode(site_id, SEGMENT).to_string()
}

/// Settings of a site by its owner, within every limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteSettings {
    pub(crate) name: Option<String>,
    pub(crate) time_zone: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) include_paths: bool,
}

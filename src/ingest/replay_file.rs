//! The lines of a file that `replay` publishes: native events, or an access log.

use std::collections::BTreeMap;

use serde_json::json;

use super::access_log::{self, Skip};
use super::formats::{self, Format};
use crate::domain::site::SiteId;

/// Bad lines that are shown one by one; the rest is only counted.
const SHOWN: u64 = 10;

/// Reads one kind of line.
#[derive(Debug)]
pub(crate) enum LineReader {
    Events,
    AccessLog {
        site: SiteId,
        lines: access_log::LineReader,
    },
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Blank,
    /// Not published, by what reason.
    Skipped(Skipped),
    Event {
        key: String,
        value: Vec<u8>,
        /// Milliseconds since the Unix epoch; absent when the line names no time.
        at_ms: Option<i64>,
    },
}

/// Why a line is not published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// As it should be: an access log holds more than pageviews.
    Expected(&'static str),
    /// The line is not what the file should hold.
    Bad(String),
}

impl LineReader {
    /// Native events, one JSON object a line.
    pub(crate) fn events() -> Self {
        Self::Events
    }

    /// Common or combined log format, of one site; `salt` hides who the visitors were.
    pub(crate) fn access_log(site: SiteId, salt: [u8; 16]) -> Self {
        let lines = access_log::LineReader::new(salt, Some(site.as_str()));
        Self::AccessLog { site, lines }
    }

    /// Reads one line, without its end.
    pub(crate) fn read(&self, line: &[u8]) -> Parsed {
        if line.trim_ascii().is_empty() {
            return Parsed::Blank;
        }
        match self {
            Self::Events => match formats::read(Format::Native, line) {
                Ok(event) => Parsed::Event {
                    key: event.site_id.into_owned(),
                    at_ms: event.timestamp_ms,
                    value: line.to_vec(),
                },
                Err(reject) => Parsed::Skipped(Skipped::Bad(reject.to_string())),
            },
            Self::AccessLog { site, lines } => {
                let Ok(text) = std::str::from_utf8(line) else {
                    return Parsed::Skipped(Skipped::Bad("not UTF-8".into()));
                };
                match lines.read(text) {
                    Ok(hit) => {
                        let mut event = json!({
                            "site_id": site, "type": "pageview", "visitor_id": hit.visitor, "path": hit.path, "timestamp": hit.timestamp_ms,
                        });
                        if let Some(source) = hit.source {
                            event["source"] = source.into();
                        }
                        let value = event.to_string().into_bytes();
                        Parsed::Event {
                            key: site.as_str().to_owned(),
                            value,
                            at_ms: Some(hit.timestamp_ms),
                        }
                    }
                    Err(Skip::NotGet) => Parsed::Skipped(Skipped::Expected("not a GET")),
                    Err(Skip::Status(_)) => {
                        Parsed::Skipped(Skipped::Expected("answered with neither 2xx nor 304"))
                    }
                    Err(Skip::Asset) => Parsed::Skipped(Skipped::Expected("of assets")),
                    Err(Skip::Unreadable) => Parsed::Skipped(Skipped::Bad("not an access log line".into())),
                }
            }
        }
    }
}

/// Counts what was skipped.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    expected: BTreeMap<&'static str, u64>,
    bad: u64,
}

impl Skips {
    /// Counts a line; the text, if there is one, should be shown.
    pub(crate) fn note(&mut self, line: u64, skipped: Skipped) -> Option<String> {
        match skipped {
            Skipped::Expected(reason) => {
                *self.expected.entry(reason).or_default() += 1;
                None
            }
            Skipped::Bad(reason) => {
                self.bad += 1;
                (self.bad <= SHOWN).then(|| format!("line {line} is not published: {reason}"))
            }
        }
    }

    /// `; not published: 12 not a GET, 3 unreadable`
    pub(crate) fn summary(&self) -> String {
        let mut parts: Vec<String> = self
            .expected
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if self.bad > 0 {
            parts.push(format!("{} unreadable", self.bad));
        }
        if parts.is_empty() {
            String::new()
        } else {
            format!("; not published: {}", parts.join(", "))
        }
    }
}

//! Lines of a file that `replay` publishes: native events, or an access log.

use std::collections::BTreeMap;

use serde_json::json;

use super::access_log::{AccessLogReader, LogPageview, Skip};
use super::formats::RecordReader;
use crate::domain::reject::NotAnEvent;
use crate::domain::site::SiteId;

/// Bad lines that are shown one by one; further ones are only counted.
const SHOWN: u64 = 10;

/// Reads the lines of a file of one kind.
#[derive(Debug)]
pub(crate) enum ReplayLineReader {
    Events,
    AccessLog { site: SiteId, lines: AccessLogReader },
}

/// The result of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Blank,
    /// Not published, with the reason.
    Skipped(Skipped),
    Event {
        key: String,
        value: Vec<u8>,
        /// Milliseconds since the Unix epoch; absent when the line names no time.
        at_ms: Option<i64>,
    },
}

/// Reason why a line is not published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// An ordinary line that is no pageview, as every access log has them.
    Expected(&'static str),
    /// A line that does not belong into the file.
    Bad(String),
}

impl ReplayLineReader {
    /// Makes a reader of native events, one JSON object a line.
    pub(crate) fn events() -> Self {
        Self::Events
    }

    /// Makes a reader of one site's access log, in common or combined format; `salt` hides who the
    /// visitors were.
    pub(crate) fn access_log(site: SiteId, salt: [u8; 16]) -> Self {
        let lines = AccessLogReader::new(salt, Some(site.as_str()));
        Self::AccessLog { site, lines }
    }

    /// Reads one line, without its line break.
    pub(crate) fn read(&self, line: &[u8]) -> Parsed {
        if line.trim_ascii().is_empty() {
            return Parsed::Blank;
        }
        let skipped = match self {
            Self::Events => match RecordReader::default().read(line, &[]) {
                Ok(event) => {
                    return Parsed::Event {
                        key: event.site_id.into_owned(),
                        at_ms: event.timestamp_ms,
                        value: line.to_vec(),
                    };
                }
                Err(NotAnEvent::Rejected(reject) | NotAnEvent::RejectedBefore(reject, _)) => {
                    Skipped::Bad(reject.to_string())
                }
                Err(newer @ NotAnEvent::Newer { .. }) => Skipped::Bad(newer.to_string()),
                Err(NotAnEvent::Ignored) => Skipped::Expected("of types that are ignored"),
            },
            Self::AccessLog { site, lines } => match std::str::from_utf8(line).map(|line| lines.read(line)) {
                Ok(Ok(view)) => return pageview(site, &view),
                Ok(Err(Skip::NotGet)) => Skipped::Expected("not a GET"),
                Ok(Err(Skip::Status(_))) => Skipped::Expected("answered with neither 2xx nor 304"),
                Ok(Err(Skip::Asset)) => Skipped::Expected("of assets"),
                Ok(Err(Skip::Unreadable)) => Skipped::Bad("not an access log line".into()),
                Err(_) => Skipped::Bad("not UTF-8".into()),
            },
        };
        Parsed::Skipped(skipped)
    }
}

/// Writes a pageview of a log as a native event.
fn pageview(site: &SiteId, view: &LogPageview<'_>) -> Parsed {
    let mut event = json!({
        "site_id": site,
        "type": "pageview",
        "visitor_id": view.visitor,
        "path": view.path,
        "timestamp": view.timestamp_ms,
    });
    if let Some(source) = &view.source {
        event["source"] = source.as_str().into();
    }
    Parsed::Event {
        key: site.as_str().to_owned(),
        value: event.to_string().into_bytes(),
        at_ms: Some(view.timestamp_ms),
    }
}

/// Counts the lines that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    expected: BTreeMap<&'static str, u64>,
    bad: u64,
}

impl Skips {
    /// Counts a line; returns a message to show for the first bad ones.
    pub(crate) fn count(&mut self, line: u64, skipped: Skipped) -> Option<String> {
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

    /// Returns a text such as `; not published: 12 not a GET, 3 unreadable`.
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

//! Lines of a file that `replay` publishes: native events, or an access log.

use std::collections::BTreeMap;

use serde_json::json;

use super::access_log::{AccessLogReader, LogPageview, Skip};
use super::formats::{RecordReader, retimed};
use crate::domain::event::Event;
use crate::domain::reject::NotAnEvent;
use crate::domain::site::SiteId;

/// Bad lines that are shown one by one; further ones are only counted.
const SHOWN: u64 = 10;

/// Reads the lines of a file of one kind.
#[derive(Debug)]
pub(crate) enum ReplayLineReader {
    Events(RecordReader),
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
    /// Makes a reader of native events, one JSON object a line. One that names no site is of
    /// `site`, as on its source.
    pub(crate) fn events(site: Option<&str>) -> Self {
        Self::Events(RecordReader::native(site))
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
            Self::Events(reader) => match reader.read(line, &[]) {
                Ok(event) => return native(&event, line),
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

/// Takes a native event as it is written, but for a time in another unit: a detector would count it
/// as of its publication.
fn native(event: &Event<'_>, line: &[u8]) -> Parsed {
    let key = event.site_id.clone().into_owned();
    let Some(unit) = event.wrong_unit else {
        return Parsed::Event {
            key,
            value: line.to_vec(),
            at_ms: event.timestamp_ms,
        };
    };
    let converted = retimed::converted_ms(line)
        .and_then(|at_ms| Some((at_ms, retimed::with_timestamp(line, at_ms).ok()?)));
    match converted {
        Some((at_ms, value)) => Parsed::Event {
            key,
            value,
            at_ms: Some(at_ms),
        },
        None => Parsed::Skipped(Skipped::Bad(format!(
            "`timestamp` is in {unit}, and as such lies outside of the years 1970 to 9999"
        ))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reader: &ReplayLineReader, line: &str) -> (String, String, Option<i64>) {
        match reader.read(line.as_bytes()) {
            Parsed::Event { key, value, at_ms } => (key, String::from_utf8(value).expect("UTF-8"), at_ms),
            other => panic!("{other:?}: {line}"),
        }
    }

    #[test]
    fn a_time_in_another_unit_is_published_in_milliseconds() {
        let reader = ReplayLineReader::events(None);
        for time in ["1431857103", "1431857103000000", "1431857103000000000"] {
            let line = format!(r#"{{"site_id":"s","type":"error","timestamp":{time}}}"#);
            let (key, value, at_ms) = event(&reader, &line);
            assert_eq!((&*key, at_ms), ("s", Some(1_431_857_103_000)), "{time}");
            assert_eq!(
                value,
                r#"{"site_id":"s","timestamp":1431857103000,"type":"error"}"#
            );
        }
        let negative = reader.read(br#"{"site_id":"s","type":"error","timestamp":-5}"#);
        assert!(
            matches!(&negative, Parsed::Skipped(Skipped::Bad(why)) if why.contains("seconds")),
            "{negative:?}"
        );
    }

    #[test]
    fn a_line_that_names_no_site_is_of_the_sources() {
        let line = r#"{"type":"error"}"#;
        let (key, value, _) = event(&ReplayLineReader::events(Some("configured")), line);
        assert_eq!((&*key, &*value), ("configured", line));
        assert!(matches!(
            ReplayLineReader::events(None).read(line.as_bytes()),
            Parsed::Skipped(Skipped::Bad(_))
        ));
    }

    #[test]
    fn a_mark_before_an_access_log_makes_no_second_visitor() {
        let site = "s".parse().expect("a site id");
        let reader = ReplayLineReader::access_log(site, [7; 16]);
        let line = r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 1 "-" "UA""#;
        assert_eq!(event(&reader, &format!("\u{feff}{line}")), event(&reader, line));
    }
}

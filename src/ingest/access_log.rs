//! Pageviews from the lines of a web server's access log, in the common and combined formats of
//! Apache and nginx.
//!
//! Only pages that somebody looked at count: a `GET` of a page, answered with 2xx or 304. A file is
//! an asset by its extension (`ASSET_EXTENSIONS`) or name (`ASSET_NAMES`), compared without regard
//! to case; feeds, documents and files without an extension are pages.
//!
//! The path keeps the percent-encoding that the browser sent: a goal's pattern is written against
//! what the address bar shows, and a path that is decoded twice may become equal to another one.

use std::fmt;
use std::hash::Hasher;

use chrono::NaiveDate;
use siphasher::sip::SipHasher13;

use crate::domain::texts::has_control;

/// Longest path that is read, in characters: the limit of the event format.
const MAX_PATH_CHARS: usize = 2_000;

/// Extensions of the files a page is made of: styles and scripts, images, fonts, sound and video.
#[rustfmt::skip]
pub(crate) const ASSET_EXTENSIONS: &[&str] = &[
    "css", "js", "mjs", "map", "wasm",
    "png", "jpg", "jpeg", "gif", "ico", "svg", "webp", "avif", "bmp", "tif", "tiff", "cur",
    "woff", "woff2", "ttf", "otf", "eot",
    "mp3", "mp4", "m4a", "m4v", "webm", "ogg", "ogv", "wav", "flac", "mov", "avi",
];

/// Names of files that are assets in any folder, whatever their extension.
pub(crate) const ASSET_NAMES: &[&str] = &["robots.txt", "favicon.ico"];

/// Reads pageviews from lines.
#[derive(Debug, Clone)]
pub(crate) struct AccessLogReader {
    salt: [u8; 16],
    own_host: Option<String>,
}

/// A pageview of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPageview<'a> {
    /// 16 hexadecimal digits: the hash of host and user agent, keyed with the salt.
    pub(crate) visitor: String,
    /// Milliseconds since the Unix epoch; logs have whole seconds.
    pub(crate) timestamp_ms: i64,
    /// Without query and fragment, percent-encoded as in the log.
    pub(crate) path: &'a str,
    /// Host of the referrer without `www.`, in lower case; `None` without a referrer and for the
    /// site's own.
    pub(crate) source: Option<String>,
}

/// Reason why a line is no pageview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Skip {
    /// Another method than `GET`.
    NotGet,
    /// Answered with another status than 2xx or 304.
    Status(u16),
    /// A file that is part of a page.
    Asset,
    /// Not in common or combined format, or a request that no browser sends.
    Unreadable,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGet => f.write_str("not a GET"),
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::Asset => f.write_str("an asset"),
            Self::Unreadable => f.write_str("not a line of an access log"),
        }
    }
}

impl AccessLogReader {
    /// Makes a reader. `salt` keys the visitors' hashes, one salt for a run; referrers of
    /// `own_host` are not sources.
    pub(crate) fn new(salt: [u8; 16], own_host: Option<&str>) -> Self {
        Self {
            salt,
            own_host: own_host.map(plain_host),
        }
    }

    /// Reads one line, with or without its line break, and the byte order mark before a first one.
    /// Pure and total.
    pub(crate) fn read<'a>(&self, line: &'a str) -> Result<LogPageview<'a>, Skip> {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let line = split_line(line.trim_end_matches(['\n', '\r'])).ok_or(Skip::Unreadable)?;
        let timestamp_ms = time_ms(line.time).ok_or(Skip::Unreadable)?;
        // `-` stands for a connection that sent no request.
        let mut words = line.request.split(' ').filter(|word| !word.is_empty());
        let method = words.next().ok_or(Skip::Unreadable)?;
        // HTTP/0.9 has no third word; no HTTP version has more than three.
        let target = words.next().ok_or(Skip::Unreadable)?;
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some(version), None) if version.starts_with("HTTP/") => {}
            _ => return Err(Skip::Unreadable),
        }
        if method != "GET" {
            return Err(Skip::NotGet);
        }
        let status = line.status.parse().map_err(|_| Skip::Unreadable)?;
        if !(200..300).contains(&status) && status != 304 {
            return Err(Skip::Status(status));
        }
        let path = path_of(target).ok_or(Skip::Unreadable)?;
        if is_asset(path) {
            return Err(Skip::Asset);
        }
        Ok(LogPageview {
            visitor: self.visitor(line.host, line.user_agent),
            timestamp_ms,
            path,
            source: self.source(line.referrer),
        })
    }

    fn visitor(&self, host: &str, user_agent: &str) -> String {
        let mut hash = SipHasher13::new_with_key(&self.salt);
        hash.write(host.as_bytes());
        // Neither part holds a line break, so no two pairs give the same bytes.
        hash.write(b"\n");
        hash.write(user_agent.as_bytes());
        format!("{:016x}", hash.finish())
    }

    fn source(&self, referrer: &str) -> Option<String> {
        let (_, rest) = referrer.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let host = plain_host(host);
        let is_source = !host.is_empty()
            && host.len() <= 253
            && !host.chars().any(|c| c.is_control() || c.is_whitespace())
            && self.own_host.as_ref() != Some(&host);
        is_source.then_some(host)
    }
}

fn plain_host(host: &str) -> String {
    let host = host.to_lowercase();
    host.strip_prefix("www.").map_or(host.clone(), str::to_owned)
}

/// The parts of a line that are used, unchanged.
struct LogLine<'a> {
    host: &'a str,
    time: &'a str,
    request: &'a str,
    status: &'a str,
    /// `-` or empty in common format.
    referrer: &'a str,
    user_agent: &'a str,
}

fn split_line(line: &str) -> Option<LogLine<'_>> {
    let (host, rest) = line.split_once(' ')?;
    if host.is_empty() {
        return None;
    }
    // The user's name between host and time may hold spaces and brackets, so the time is the
    // bracket right before ` "`.
    let (before, rest) = rest.split_once("] \"")?;
    let (_, time) = before.rsplit_once('[')?;
    let (request, rest) = quoted(rest)?;
    let mut words = rest.trim_start().splitn(3, ' ');
    let status = words.next()?;
    let bytes = words.next()?;
    if bytes != "-" && (bytes.is_empty() || !bytes.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let mut extra = words.next().unwrap_or_default();
    let mut next_quoted = || {
        let (text, rest) = quoted(extra.trim_start().strip_prefix('"')?)?;
        extra = rest;
        Some(text)
    };
    Some(LogLine {
        host,
        time,
        request,
        status,
        referrer: next_quoted().unwrap_or_default(),
        user_agent: next_quoted().unwrap_or_default(),
    })
}

/// Splits after the quote that ends the text; a quote inside it has a backslash before it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// Reads a time such as `17/May/2015:10:05:03 +0000`.
fn time_ms(text: &str) -> Option<i64> {
    let (day, rest) = text.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, rest) = rest.split_once(':')?;
    let (clock, offset) = rest.split_once(' ')?;
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = (1_u32..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let date = NaiveDate::from_ymd_opt(i32::try_from(digits(year, 4)?).ok()?, month, digits(day, 2)?)?;
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // Second 60 is a leap second. Unix time has none, so it becomes the next minute's first second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, digits(offset, 4)?),
        ("-", offset) => (-1, digits(offset, 4)?),
        _ => return None,
    };
    let offset_seconds = sign * i64::from(offset / 100 * 3_600 + offset % 100 * 60);
    let of_day = i64::from(hour * 3_600 + minute * 60 + second);
    Some((i64::from(date.to_epoch_days()) * 86_400 + of_day - offset_seconds) * 1_000)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Returns the path of a request target: `/path?query`, or `http://host/path` as sent to a proxy.
fn path_of(target: &str) -> Option<&str> {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            let start = rest.find('/')?;
            &rest[start..]
        }
        _ => target,
    };
    let path = target.split(['?', '#']).next()?;
    let readable = path.starts_with('/') && path.chars().count() <= MAX_PATH_CHARS && !has_control(path);
    readable.then_some(path)
}

fn is_asset(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is = |list: &[&str], text: &str| list.iter().any(|one| one.eq_ignore_ascii_case(text));
    is(ASSET_NAMES, name) || extension.is_some_and(|extension| is(ASSET_EXTENSIONS, extension))
}

#[cfg(test)]
mod tests;

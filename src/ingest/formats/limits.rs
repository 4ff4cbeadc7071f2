//! Limits of an event's fields, and the messages for what breaks them. No message repeats a value.

use std::borrow::Cow;

use memchr::memchr2;

use super::loose::Loose;
use crate::domain::reject::{Reject, RejectReason};
use crate::domain::site::{InvalidSiteId, MAX_SITE_ID_BYTES, check_site_id};
use crate::domain::texts::has_control;

/// Longest event name, in characters (Unicode scalar values, as in every limit but the site id's).
pub(super) const MAX_NAME_CHARS: usize = 120;
/// Longest visitor id, in characters.
pub(super) const MAX_VISITOR_ID_CHARS: usize = 255;
/// Longest path, in characters, after query and fragment were cut off.
pub(super) const MAX_PATH_CHARS: usize = 2_000;
/// Longest event id, in characters.
pub(super) const MAX_EVENT_ID_CHARS: usize = 128;
/// Most properties of one event.
pub(super) const MAX_PROPS: usize = 30;
/// Longest source, in characters.
pub(super) const MAX_SOURCE_CHARS: usize = 255;
/// Longest amount or currency, in characters: they are passed through, so only their size is
/// bounded.
pub(super) const MAX_MONEY_CHARS: usize = 32;

/// The rule for texts that are kept or sent.
const NO_CONTROL: &str = "not contain control characters";

/// The first field of a record that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InvalidField {
    pub(super) reason: RejectReason,
    pub(super) field: Option<&'static str>,
    pub(super) detail: String,
}

impl InvalidField {
    pub(super) fn missing(field: &'static str) -> Self {
        Self {
            reason: RejectReason::MissingField,
            field: Some(field),
            detail: format!("`{field}` is required"),
        }
    }

    /// A field that breaks a rule. The rule completes the sentence "the field must …", so that
    /// nobody takes it for a statement about the value.
    pub(super) fn bad(field: &'static str, rule: impl std::fmt::Display) -> Self {
        Self {
            reason: RejectReason::BadField,
            field: Some(field),
            detail: format!("`{field}` must {rule}"),
        }
    }

    /// A field that is larger than allowed, with the rule as in [`InvalidField::bad`].
    pub(super) fn over(field: &'static str, rule: impl std::fmt::Display) -> Self {
        Self {
            reason: RejectReason::OverLimit,
            field: Some(field),
            detail: format!("`{field}` must {rule}"),
        }
    }

    /// The reject of a record of this site, if that much could be read.
    pub(super) fn into_reject(self, site_id: Option<&str>) -> Reject {
        Reject {
            reason: self.reason,
            field: self.field,
            detail: self.detail,
            site_id: site_id.filter(|id| check_site_id(id).is_ok()).map(str::to_owned),
        }
    }
}

/// Reads a string; an empty one is absent, since producers write `""` where they have no value.
#[inline]
pub(super) fn text<'a>(field: &'static str, value: Loose<'a>) -> Result<Option<Cow<'a, str>>, InvalidField> {
    match value {
        Loose::Absent => Ok(None),
        Loose::Text(text) if text.is_empty() => Ok(None),
        Loose::Text(text) => Ok(Some(text)),
        other => Err(InvalidField::bad(
            field,
            format_args!("be a string, not {}", other.type_name()),
        )),
    }
}

/// Reads a string of at most `max` characters.
#[inline]
pub(super) fn bounded<'a>(
    field: &'static str,
    value: Loose<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, InvalidField> {
    let text = text(field, value)?;
    if let Some(text) = &text {
        check_length(field, text, max)?;
    }
    Ok(text)
}

/// Reads a string that is hashed or compared: bounded, and without NUL, which no producer means.
#[inline]
pub(super) fn opaque<'a>(
    field: &'static str,
    value: Loose<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, InvalidField> {
    let text = bounded(field, value, max)?;
    if let Some(text) = &text {
        check_no_nul(field, text)?;
    }
    Ok(text)
}

#[inline]
pub(super) fn check_no_nul(field: &'static str, text: &str) -> Result<(), InvalidField> {
    if text.as_bytes().contains(&0) {
        return Err(InvalidField::bad(field, "not contain NUL"));
    }
    Ok(())
}

/// Reads a string that is kept or sent: bounded and without control characters, because Postgres
/// cannot store NUL and the others falsify logs and pages.
#[inline]
pub(super) fn printable<'a>(
    field: &'static str,
    value: Loose<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, InvalidField> {
    let text = bounded(field, value, max)?;
    if let Some(text) = &text {
        check_printable(field, text)?;
    }
    Ok(text)
}

/// Counts characters only when there are more than `max` bytes: no text has more characters than
/// bytes.
#[inline]
pub(super) fn check_length(field: &'static str, text: &str, max: usize) -> Result<(), InvalidField> {
    if text.len() > max {
        let chars = text.chars().count();
        if chars > max {
            return Err(InvalidField::over(
                field,
                format_args!("have at most {max} characters; this one has {chars}"),
            ));
        }
    }
    Ok(())
}

#[inline]
pub(super) fn check_printable(field: &'static str, text: &str) -> Result<(), InvalidField> {
    if has_control(text) {
        return Err(InvalidField::bad(field, NO_CONTROL));
    }
    Ok(())
}

/// Reads a site id, by the rule of `domain::site`. A record that names no site is of the `default`
/// one.
#[inline]
pub(super) fn site_id<'a>(value: Loose<'a>, default: Option<&str>) -> Result<Cow<'a, str>, InvalidField> {
    const FIELD: &str = "site_id";
    let Some(id) = text(FIELD, value)? else {
        let default = default.ok_or_else(|| InvalidField::missing(FIELD))?;
        return Ok(Cow::Owned(default.to_owned()));
    };
    match check_site_id(&id) {
        Ok(()) => Ok(id),
        Err(InvalidSiteId::Empty) => Err(InvalidField::missing(FIELD)),
        Err(InvalidSiteId::TooLong(bytes)) => Err(InvalidField::over(
            FIELD,
            format_args!("have at most {MAX_SITE_ID_BYTES} bytes; this one has {bytes}"),
        )),
        Err(InvalidSiteId::ControlCharacter) => Err(InvalidField::bad(FIELD, NO_CONTROL)),
        Err(InvalidSiteId::Dots) => Err(InvalidField::bad(FIELD, "not be `.` or `..`")),
    }
}

/// Reads a path without query and fragment, which are cut off before the limit is checked and never
/// kept. A full URL, with its scheme or without, is cut to its path. Blanks at the ends are no part
/// of it.
pub(super) fn path<'a>(value: Loose<'a>) -> Result<Option<Cow<'a, str>>, InvalidField> {
    const FIELD: &str = "path";
    let Some(path) = text(FIELD, value)? else {
        return Ok(None);
    };
    let end = memchr2(b'?', b'#', path.as_bytes()).unwrap_or(path.len());
    let end = path[..end].trim_end_matches(' ').len();
    let blanks = end - path[..end].trim_start_matches(' ').len();
    // What is cut is cut once: `route` writes it, and the detector reads it again.
    let mut start = blanks;
    while let host @ 1.. = path_start(&path[start..end]) {
        start += host;
    }
    let path = match path {
        _ if start == end && start > blanks => Cow::Borrowed("/"),
        Cow::Borrowed(path) => Cow::Borrowed(&path[start..end]),
        Cow::Owned(mut path) => {
            path.truncate(end);
            path.drain(..start);
            Cow::Owned(path)
        }
    };
    if path.is_empty() {
        return Ok(None);
    }
    check_length(FIELD, &path, MAX_PATH_CHARS)?;
    check_printable(FIELD, &path)?;
    Ok(Some(path))
}

/// The position of the path in a text that is a path or a full URL.
fn path_start(text: &str) -> usize {
    if let Some(path) = text.strip_prefix('/') {
        return path.strip_prefix('/').map_or(0, host_end);
    }
    let Some(scheme) = text.find("://").filter(|scheme| is_scheme(&text[..*scheme])) else {
        return 0;
    };
    let host = scheme + "://".len();
    text[host..].find('/').map_or(text.len(), |path| host + path)
}

/// The position after the host of a URL without a scheme, of which `text` follows the two slashes;
/// 0 if it is a path that begins with two slashes. A host is told by a dot before a last label of
/// letters, and by the path after it.
fn host_end(text: &str) -> usize {
    let Some((host, _)) = text.split_once('/') else {
        return 0;
    };
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_top = |top: &str| top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_host = name.bytes().all(is_allowed) && name.rsplit_once('.').is_some_and(|(_, top)| is_top(top));
    match is_host {
        true => "//".len() + host.len(),
        false => 0,
    }
}

/// True for the scheme of a URL (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_allowed)
}

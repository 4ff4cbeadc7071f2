//! The limits of an event's fields, and what is said when one is broken. No message repeats a value.

use std::borrow::Cow;

use memchr::memchr2;

use super::loose::Loose;
use crate::domain::reject::RejectReason;
use crate::domain::site::{InvalidSiteId, check_site_id};
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
/// Longest amount or currency, in characters: they are passed through, so only their size is bounded.
pub(super) const MAX_MONEY_CHARS: usize = 32;

/// What is wrong with a record, before it is known whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: RejectReason,
    pub(super) field: Option<&'static str>,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn missing(field: &'static str) -> Self {
        Self {
            reason: RejectReason::MissingField,
            field: Some(field),
            detail: format!("`{field}` is required"),
        }
    }

    pub(super) fn bad(field: &'static str, detail: impl std::fmt::Display) -> Self {
        Self {
            reason: RejectReason::BadField,
            field: Some(field),
            detail: format!("`{field}` {detail}"),
        }
    }

    pub(super) fn over(field: &'static str, detail: impl std::fmt::Display) -> Self {
        Self {
            reason: RejectReason::OverLimit,
            field: Some(field),
            detail: format!("`{field}` {detail}"),
        }
    }
}

/// A string, or nothing for what is absent or empty: producers write `""` where they have no value.
#[inline]
pub(super) fn text<'a>(field: &'static str, value: Loose<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    match value {
        Loose::Absent => Ok(None),
        Loose::Text(text) if text.is_empty() => Ok(None),
        Loose::Text(text) => Ok(Some(text)),
        other => Err(Fault::bad(
            field,
            format_args!("is a string, not {}", other.kind()),
        )),
    }
}

/// A string of at most `max` characters.
#[inline]
pub(super) fn bounded<'a>(
    field: &'static str,
    value: Loose<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let text = text(field, value)?;
    if let Some(text) = &text {
        check_length(field, text, max)?;
    }
    Ok(text)
}

/// A string that is kept or sent: bounded, and without control characters, since Postgres cannot store NUL and the
/// others make logs and pages lie.
#[inline]
pub(super) fn printable<'a>(
    field: &'static str,
    value: Loose<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, Fault> {
    let text = bounded(field, value, max)?;
    if let Some(text) = &text {
        check_printable(field, text)?;
    }
    Ok(text)
}

/// The longest text is the common case's answer: no text has more characters than bytes.
#[inline]
pub(super) fn check_length(field: &'static str, text: &str, max: usize) -> Result<(), Fault> {
    if text.len() > max {
        let chars = text.chars().count();
        if chars > max {
            return Err(Fault::over(
                field,
                format_args!("has at most {max} characters, this one has {chars}"),
            ));
        }
    }
    Ok(())
}

#[inline]
pub(super) fn check_printable(field: &'static str, text: &str) -> Result<(), Fault> {
    if has_control(text) {
        return Err(Fault::bad(field, "has no control characters"));
    }
    Ok(())
}

/// A site id, by the one rule there is for them.
#[inline]
pub(super) fn site_id(value: Loose<'_>) -> Result<Cow<'_, str>, Fault> {
    const FIELD: &str = "site_id";
    let id = text(FIELD, value)?.ok_or_else(|| Fault::missing(FIELD))?;
    match check_site_id(&id) {
        Ok(()) => Ok(id),
        Err(InvalidSiteId::Empty) => Err(Fault::missing(FIELD)),
        Err(why @ InvalidSiteId::TooLong(_)) => Err(Fault::over(FIELD, format_args!("is too long: {why}"))),
        Err(why @ InvalidSiteId::ControlCharacter) => {
            Err(Fault::bad(FIELD, format_args!("is unusable: {why}")))
        }
    }
}

/// A path without query and fragment, which are cut off before the limit is looked at. What is cut is never kept.
pub(super) fn path<'a>(value: Loose<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    const FIELD: &str = "path";
    let Some(path) = text(FIELD, value)? else {
        return Ok(None);
    };
    let end = memchr2(b'?', b'#', path.as_bytes());
    let path = match (end, path) {
        (None, path) => path,
        (Some(end), Cow::Borrowed(path)) => Cow::Borrowed(&path[..end]),
        (Some(end), Cow::Owned(mut path)) => {
            path.truncate(end);
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

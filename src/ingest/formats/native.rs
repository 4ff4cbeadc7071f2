//! The native format: one JSON object an event.
//!
//! Decided here, because the format leaves it open:
//!
//! - Lengths are in characters (Unicode scalar values), the site id's in bytes.
//! - `null` and the empty string both mean that a field is absent.
//! - Of a key given twice the last counts, as in JavaScript.
//! - Anything but an object at the top, an array of events too, is `not_json`.
//! - Control characters (NUL among them: Postgres cannot store it) are refused wherever a text is
//!   kept or sent: site id, name, path, event id, source, revenue. A visitor id is hashed and a
//!   property only compared, so those may hold anything but NUL.
//! - A timestamp is a text near RFC 3339, between 1970 and 9999, or a number of milliseconds. A
//!   number of another unit is told by its size; the event then counts at its record's time.
//! - A limit holds for a field on every type of event; only `scroll_depth` is ignored on all types
//!   but `engagement`.

use std::borrow::Cow;
use std::mem::take;

use super::envelope::EnvelopeFields;
use super::fields::{Money, Props, RecordFields};
use super::limits::{self, InvalidField};
use super::loose::{Loose, LooseObject};
use super::scan::{ScannedValue, scan};
use super::time::{self, NoOffset, NumberTime};
use crate::domain::event::{Event, EventKind, Revenue, WrongTimeUnit};
use crate::domain::reject::{Reject, RejectReason};
use crate::domain::texts::Texts;
use crate::domain::time::LAST_MS;

/// Reads one record; borrows every text that has no escapes. A record that names no site is of
/// `site`. Fields that an envelope has `given` are passed over.
pub(super) fn read<'a>(
    text: &'a str,
    site: Option<&str>,
    given: EnvelopeFields,
) -> Result<Event<'a>, Reject> {
    let mut fields = RecordFields::default();
    if scan_fields(text, &mut fields).is_none() {
        fields = parse_fields(text)?;
    }
    if given.time {
        fields.timestamp = Loose::Absent;
    }
    if given.id {
        fields.event_id = Loose::Absent;
    }
    check_fields(&mut fields, site)
}

/// Reads the fields of a record in the plain form that nearly all have. After `None` the record is
/// of another form, and the fields hold nothing usable.
fn scan_fields<'a>(text: &'a str, fields: &mut RecordFields<'a>) -> Option<()> {
    let mut known = true;
    scan(text, |key, value| match (fields.scalar(key), value) {
        (Some(field), ScannedValue::Scalar(value)) => *field = value,
        (None, ScannedValue::Texts(texts)) if key == "props" => {
            fields.props = LooseObject::Object(Props {
                written: texts,
                ..Props::default()
            });
        }
        (None, ScannedValue::Texts(texts)) if key == "revenue" => {
            fields.revenue = LooseObject::Object(Money::from_texts(texts));
        }
        // The general parser says what is wrong here.
        (Some(_), ScannedValue::Texts(_)) => known = false,
        (None, _) => known &= !matches!(key, "props" | "revenue"),
    })?;
    known.then_some(())
}

/// Reads the fields of any record with the general parser.
fn parse_fields(text: &str) -> Result<RecordFields<'_>, Reject> {
    match serde_json::from_str(text) {
        Ok(LooseObject::Object(fields)) => Ok(fields),
        Ok(LooseObject::Absent) => Err(not_an_object("null")),
        Ok(LooseObject::Other(kind)) => Err(not_an_object(kind)),
        Err(error) => Err(Reject {
            reason: RejectReason::NotJson,
            field: None,
            // Only errors of syntax are left, and their texts repeat nothing of the record.
            detail: format!("not JSON: {error}"),
            site_id: None,
        }),
    }
}

fn not_an_object(kind: &str) -> Reject {
    Reject {
        reason: RejectReason::NotJson,
        field: None,
        detail: format!("a record must be one JSON object, not {kind}"),
        site_id: None,
    }
}

/// Makes an event of the fields, which are left empty.
pub(super) fn check_fields<'a>(
    fields: &mut RecordFields<'a>,
    site: Option<&str>,
) -> Result<Event<'a>, Reject> {
    let site_id =
        limits::site_id(take(&mut fields.site_id), site).map_err(|error| error.into_reject(None))?;
    check_event(site_id.clone(), fields).map_err(|error| error.into_reject(Some(&site_id)))
}

fn check_event<'a>(site_id: Cow<'a, str>, fields: &mut RecordFields<'a>) -> Result<Event<'a>, InvalidField> {
    let kind = kind(take(&mut fields.kind))?;
    let name = limits::printable("name", take(&mut fields.name), limits::MAX_NAME_CHARS)?;
    if name.is_none() && matches!(kind, EventKind::Goal | EventKind::Custom) {
        return Err(InvalidField::missing("name"));
    }
    let visitor_id = limits::opaque(
        "visitor_id",
        take(&mut fields.visitor_id),
        limits::MAX_VISITOR_ID_CHARS,
    )?;
    if visitor_id.is_none() && kind == EventKind::Pageview {
        return Err(InvalidField::missing("visitor_id"));
    }
    let (timestamp_ms, wrong_unit) = timestamp(&fields.timestamp)?;
    Ok(Event {
        site_id,
        kind,
        name,
        visitor_id,
        path: limits::path(take(&mut fields.path))?,
        timestamp_ms,
        wrong_unit,
        event_id: limits::printable("event_id", take(&mut fields.event_id), limits::MAX_EVENT_ID_CHARS)?,
        props: props(take(&mut fields.props))?,
        source: limits::printable("source", take(&mut fields.source), limits::MAX_SOURCE_CHARS)?,
        revenue: revenue(take(&mut fields.revenue))?,
        scroll_depth: match kind {
            EventKind::Engagement => scroll_depth(&fields.scroll_depth)?,
            _ => None,
        },
        historical: flag("historical", &fields.historical)?,
        routed: None,
    })
}

fn flag(field: &'static str, value: &Loose<'_>) -> Result<bool, InvalidField> {
    match value {
        Loose::Absent => Ok(false),
        Loose::Flag(flag) => Ok(*flag),
        other => Err(InvalidField::bad(
            field,
            format_args!("be true or false, not {}", other.type_name()),
        )),
    }
}

fn kind(value: Loose<'_>) -> Result<EventKind, InvalidField> {
    let text = limits::text("type", value)?.ok_or_else(|| InvalidField::missing("type"))?;
    text.parse().map_err(|_| {
        let words = EventKind::WORDS.join("`, `");
        InvalidField::bad("type", format!("be one of `{words}`"))
    })
}

/// A time in milliseconds, or the unit that it was written in instead.
type Timestamp = (Option<i64>, Option<WrongTimeUnit>);

fn timestamp(value: &Loose<'_>) -> Result<Timestamp, InvalidField> {
    let ms = match value {
        Loose::Absent => return Ok((None, None)),
        Loose::Text(text) if text.is_empty() => return Ok((None, None)),
        Loose::Text(text) => time::parse(text, NoOffset::IsRefused),
        Loose::Integer(number) => return Ok(by_unit(time::judge(*number))),
        Loose::Number(number) => return Ok(by_unit(time::judge_float(*number))),
        Loose::Flag(_) | Loose::Other(_) => None,
    };
    let ms = ms.ok_or_else(|| {
        InvalidField::bad(
            "timestamp",
            "be an RFC 3339 time with its offset from UTC, or milliseconds since 1970",
        )
    })?;
    if !(0..=LAST_MS).contains(&ms) {
        return Err(InvalidField::bad(
            "timestamp",
            "lie between the years 1970 and 9999",
        ));
    }
    Ok((Some(ms), None))
}

pub(super) fn by_unit(time: NumberTime) -> Timestamp {
    match time {
        NumberTime::Ms(ms) => (Some(ms), None),
        NumberTime::Wrong(unit) => (None, Some(unit)),
    }
}

fn props<'a>(value: LooseObject<Props<'a>>) -> Result<Texts<'a>, InvalidField> {
    const FIELD: &str = "props";
    match value {
        LooseObject::Absent => Ok(Texts::default()),
        LooseObject::Other(kind) => Err(InvalidField::bad(FIELD, format_args!("be an object, not {kind}"))),
        LooseObject::Object(Props {
            wrong_type: Some(kind),
            ..
        }) => Err(InvalidField::bad(
            FIELD,
            format_args!("have strings as values, not {kind}"),
        )),
        LooseObject::Object(props) if props.pairs.len() > limits::MAX_PROPS => Err(InvalidField::over(
            FIELD,
            format_args!("have at most {} entries", limits::MAX_PROPS),
        )),
        LooseObject::Object(props) if props.pairs.is_empty() => Ok(Texts::Written(props.written)),
        LooseObject::Object(props) => {
            for text in props.pairs.iter().flat_map(|(name, text)| [name, text]) {
                limits::check_no_nul(FIELD, text)?;
            }
            Ok(Texts::Read(props.pairs))
        }
    }
}

fn revenue<'a>(value: LooseObject<Money<'a>>) -> Result<Option<Revenue<'a>>, InvalidField> {
    match value {
        LooseObject::Absent => Ok(None),
        LooseObject::Other(kind) => Err(InvalidField::bad(
            "revenue",
            format_args!("be an object, not {kind}"),
        )),
        LooseObject::Object(money) => {
            let part = |field, value| {
                limits::printable(field, value, limits::MAX_MONEY_CHARS)?
                    .ok_or_else(|| InvalidField::missing(field))
            };
            Ok(Some(Revenue {
                amount: part("revenue.amount", money.amount)?,
                currency: part("revenue.currency", money.currency)?,
            }))
        }
    }
}

/// Reads whole percent. A fraction is cut off, which changes no result: it is compared with whole
/// thresholds.
fn scroll_depth(value: &Loose<'_>) -> Result<Option<u8>, InvalidField> {
    const FIELD: &str = "scroll_depth";
    let depth = match *value {
        Loose::Absent => return Ok(None),
        Loose::Integer(depth) => u8::try_from(depth).ok(),
        Loose::Number(depth) if (0.0..=100.0).contains(&depth) => Some(depth as u8),
        Loose::Number(_) => None,
        Loose::Text(_) | Loose::Flag(_) | Loose::Other(_) => {
            return Err(InvalidField::bad(
                FIELD,
                format_args!("be a number, not {}", value.type_name()),
            ));
        }
    };
    match depth {
        Some(depth) if depth <= 100 => Ok(Some(depth)),
        _ => Err(InvalidField::bad(FIELD, "lie between 0 and 100")),
    }
}

#[cfg(test)]
mod tests;

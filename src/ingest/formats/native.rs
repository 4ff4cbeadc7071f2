//! The native format: one JSON object an event.
//!
//! What the format leaves open is decided here:
//!
//! - Lengths are in characters (Unicode scalar values), the site id's in bytes.
//! - `null` and the empty string both mean that a field is absent.
//! - Of a key given twice the last counts, as in JavaScript.
//! - Anything but an object at the top, an array of events too, is `not_json`.
//! - Control characters (NUL among them: Postgres cannot store it) are refused wherever a text is kept or sent: site
//!   id, name, path, event id, source, revenue. A visitor id is hashed and a property only compared, so those may
//!   hold anything.
//! - A timestamp is RFC 3339 or a whole number of milliseconds, between 1970 and 9999; more is the mark of a producer
//!   that sends micro- or nanoseconds.
//! - A limit holds for a field on every type of event; `scroll_depth` alone is only looked at on `engagement`.

use std::borrow::Cow;
use std::mem::take;

use serde::de::{IgnoredAny, MapAccess};

use super::limits::{self, Fault};
use super::loose::{Entries, Loose, LooseObject};
use super::scan::{Value, scan};
use super::time::rfc3339_ms;
use crate::domain::event::{Event, EventKind, Revenue};
use crate::domain::reject::{Reject, RejectReason};
use crate::domain::site::check_site_id;
use crate::domain::texts::{Texts, WrittenTexts};
use crate::domain::time::LAST_MS;

/// Reads one record of at most [`super::MAX_RECORD_BYTES`]; borrows every text that has no escapes.
pub(crate) fn read(bytes: &[u8]) -> Result<Event<'_>, Reject> {
    // Checked whole, since serde_json looks only at the strings it keeps.
    let text = std::str::from_utf8(bytes).map_err(|error| Reject {
        reason: RejectReason::NotUtf8,
        field: None,
        detail: format!("byte {} is not UTF-8", error.valid_up_to()),
        site_id: None,
    })?;
    let mut fields = Fields::default();
    if plain(text, &mut fields).is_none() {
        fields = general(text)?;
    }
    event(&mut fields)
}

/// The fields of the plain records that nearly all are. They are void if there is none.
fn plain<'a>(text: &'a str, fields: &mut Fields<'a>) -> Option<()> {
    let mut known = true;
    scan(text, |key, value| match (fields.scalar(key), value) {
        (Some(field), Value::Scalar(value)) => *field = value,
        (None, Value::Texts(texts)) if key == "props" => {
            fields.props = LooseObject::Object(Props {
                written: texts,
                ..Props::default()
            });
        }
        (None, Value::Texts(texts)) if key == "revenue" => {
            fields.revenue = LooseObject::Object(Money::of(texts));
        }
        // What is wrong here is for the general parser to say.
        (Some(_), Value::Texts(_)) => known = false,
        (None, _) => known &= !matches!(key, "props" | "revenue"),
    })?;
    known.then_some(())
}

/// The fields of any record.
fn general(text: &str) -> Result<Fields<'_>, Reject> {
    match serde_json::from_str(text) {
        Ok(LooseObject::Object(fields)) => Ok(fields),
        Ok(LooseObject::Absent) => Err(not_an_object("null")),
        Ok(LooseObject::Other(kind)) => Err(not_an_object(kind)),
        Err(error) => Err(Reject {
            reason: RejectReason::NotJson,
            field: None,
            // Every error left is one of syntax, and those repeat nothing of the record.
            detail: format!("not JSON: {error}"),
            site_id: None,
        }),
    }
}

fn not_an_object(kind: &str) -> Reject {
    Reject {
        reason: RejectReason::NotJson,
        field: None,
        detail: format!("a record is one JSON object, not {kind}"),
        site_id: None,
    }
}

/// The fields of a record as they are, before any of them was judged.
#[derive(Default)]
struct Fields<'a> {
    site_id: Loose<'a>,
    kind: Loose<'a>,
    name: Loose<'a>,
    visitor_id: Loose<'a>,
    path: Loose<'a>,
    timestamp: Loose<'a>,
    event_id: Loose<'a>,
    props: LooseObject<Props<'a>>,
    source: Loose<'a>,
    revenue: LooseObject<Money<'a>>,
    scroll_depth: Loose<'a>,
}

impl<'de> Entries<'de> for Fields<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        match (self.scalar(&key), &*key) {
            (Some(field), _) => *field = entries.next_value()?,
            (None, "props") => self.props = entries.next_value()?,
            (None, "revenue") => self.revenue = entries.next_value()?,
            (None, _) => {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'a> Fields<'a> {
    /// The field of this name, unless it is an object or none of ours.
    #[inline]
    fn scalar(&mut self, key: &str) -> Option<&mut Loose<'a>> {
        match key {
            "site_id" => Some(&mut self.site_id),
            "type" => Some(&mut self.kind),
            "name" => Some(&mut self.name),
            "visitor_id" => Some(&mut self.visitor_id),
            "path" => Some(&mut self.path),
            "timestamp" => Some(&mut self.timestamp),
            "event_id" => Some(&mut self.event_id),
            "source" => Some(&mut self.source),
            "scroll_depth" => Some(&mut self.scroll_depth),
            _ => None,
        }
    }
}

/// Properties: as the scanner finds them, or one by one.
#[derive(Default)]
struct Props<'a> {
    written: WrittenTexts<'a>,
    /// One more than allowed is enough to know that there are too many.
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    odd: Option<&'static str>,
}

impl<'de> Entries<'de> for Props<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        if self.pairs.len() > limits::MAX_PROPS {
            entries.next_value::<IgnoredAny>()?;
            return Ok(());
        }
        let known = self.pairs.iter().position(|(name, _)| *name == key);
        match entries.next_value()? {
            Loose::Text(value) => match known {
                Some(at) => self.pairs[at].1 = value,
                None => self.pairs.push((key, value)),
            },
            Loose::Absent => {
                if let Some(at) = known {
                    self.pairs.remove(at);
                }
            }
            other => self.odd = Some(other.kind()),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Money<'a> {
    amount: Loose<'a>,
    currency: Loose<'a>,
}

impl<'a> Money<'a> {
    fn of(texts: WrittenTexts<'a>) -> Self {
        let field = |name| {
            texts
                .get(name)
                .map_or(Loose::Absent, |text| Loose::Text(text.into()))
        };
        Self {
            amount: field("amount"),
            currency: field("currency"),
        }
    }
}

impl<'de> Entries<'de> for Money<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        match &*key {
            "amount" => self.amount = entries.next_value()?,
            "currency" => self.currency = entries.next_value()?,
            _ => {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Takes the fields, which are left empty.
fn event<'a>(fields: &mut Fields<'a>) -> Result<Event<'a>, Reject> {
    let site_id = limits::site_id(take(&mut fields.site_id)).map_err(|fault| reject(fault, None))?;
    checked(site_id.clone(), fields).map_err(|fault| reject(fault, Some(&site_id)))
}

fn reject(fault: Fault, site_id: Option<&str>) -> Reject {
    Reject {
        reason: fault.reason,
        field: fault.field,
        detail: fault.detail,
        site_id: site_id.filter(|id| check_site_id(id).is_ok()).map(str::to_owned),
    }
}

fn checked<'a>(site_id: Cow<'a, str>, fields: &mut Fields<'a>) -> Result<Event<'a>, Fault> {
    let kind = kind(take(&mut fields.kind))?;
    let name = limits::printable("name", take(&mut fields.name), limits::MAX_NAME_CHARS)?;
    if name.is_none() && matches!(kind, EventKind::Goal | EventKind::Custom) {
        return Err(Fault::missing("name"));
    }
    let visitor_id = limits::bounded(
        "visitor_id",
        take(&mut fields.visitor_id),
        limits::MAX_VISITOR_ID_CHARS,
    )?;
    if visitor_id.is_none() && kind == EventKind::Pageview {
        return Err(Fault::missing("visitor_id"));
    }
    Ok(Event {
        site_id,
        kind,
        name,
        visitor_id,
        path: limits::path(take(&mut fields.path))?,
        timestamp_ms: timestamp_ms(&fields.timestamp)?,
        event_id: limits::printable("event_id", take(&mut fields.event_id), limits::MAX_EVENT_ID_CHARS)?,
        props: props(take(&mut fields.props))?,
        source: limits::printable("source", take(&mut fields.source), limits::MAX_SOURCE_CHARS)?,
        revenue: revenue(take(&mut fields.revenue))?,
        scroll_depth: match kind {
            EventKind::Engagement => scroll_depth(&fields.scroll_depth)?,
            _ => None,
        },
    })
}

fn kind(value: Loose<'_>) -> Result<EventKind, Fault> {
    let text = limits::text("type", value)?.ok_or_else(|| Fault::missing("type"))?;
    match &*text {
        "pageview" => Ok(EventKind::Pageview),
        "goal" => Ok(EventKind::Goal),
        "custom" => Ok(EventKind::Custom),
        "engagement" => Ok(EventKind::Engagement),
        "error" => Ok(EventKind::Error),
        _ => Err(Fault::bad(
            "type",
            "is one of `pageview`, `goal`, `custom`, `engagement`, `error`",
        )),
    }
}

fn timestamp_ms(value: &Loose<'_>) -> Result<Option<i64>, Fault> {
    let ms = match value {
        Loose::Absent => return Ok(None),
        Loose::Text(text) if text.is_empty() => return Ok(None),
        Loose::Text(text) => rfc3339_ms(text),
        Loose::Integer(ms) => Some(*ms),
        Loose::Number(_) | Loose::Other(_) => None,
    };
    let ms = ms.ok_or_else(|| {
        Fault::bad(
            "timestamp",
            "is an RFC 3339 time or a whole number of milliseconds since 1970",
        )
    })?;
    if !(0..=LAST_MS).contains(&ms) {
        return Err(Fault::bad(
            "timestamp",
            "lies between the years 1970 and 9999; numbers are milliseconds",
        ));
    }
    Ok(Some(ms))
}

fn props<'a>(value: LooseObject<Props<'a>>) -> Result<Texts<'a>, Fault> {
    const FIELD: &str = "props";
    match value {
        LooseObject::Absent => Ok(Texts::default()),
        LooseObject::Other(kind) => Err(Fault::bad(FIELD, format_args!("is an object, not {kind}"))),
        LooseObject::Object(Props { odd: Some(kind), .. }) => Err(Fault::bad(
            FIELD,
            format_args!("has strings as values, not {kind}"),
        )),
        LooseObject::Object(props) if props.pairs.len() > limits::MAX_PROPS => Err(Fault::over(
            FIELD,
            format_args!("has at most {} entries", limits::MAX_PROPS),
        )),
        LooseObject::Object(props) if props.pairs.is_empty() => Ok(Texts::Written(props.written)),
        LooseObject::Object(props) => Ok(Texts::Read(props.pairs)),
    }
}

fn revenue<'a>(value: LooseObject<Money<'a>>) -> Result<Option<Revenue<'a>>, Fault> {
    match value {
        LooseObject::Absent => Ok(None),
        LooseObject::Other(kind) => Err(Fault::bad("revenue", format_args!("is an object, not {kind}"))),
        LooseObject::Object(money) => {
            let part = |field, value| {
                limits::printable(field, value, limits::MAX_MONEY_CHARS)?.ok_or_else(|| Fault::missing(field))
            };
            Ok(Some(Revenue {
                amount: part("revenue.amount", money.amount)?,
                currency: part("revenue.currency", money.currency)?,
            }))
        }
    }
}

/// Whole percent. A fraction is cut off, which changes no answer: the thresholds compared with it are whole.
fn scroll_depth(value: &Loose<'_>) -> Result<Option<u8>, Fault> {
    const FIELD: &str = "scroll_depth";
    let depth = match *value {
        Loose::Absent => return Ok(None),
        Loose::Integer(depth) => u8::try_from(depth).ok(),
        Loose::Number(depth) if (0.0..=100.0).contains(&depth) => Some(depth as u8),
        Loose::Number(_) => None,
        Loose::Text(_) | Loose::Other(_) => {
            return Err(Fault::bad(
                FIELD,
                format_args!("is a number, not {}", value.kind()),
            ));
        }
    };
    match depth {
        Some(depth) if depth <= 100 => Ok(Some(depth)),
        _ => Err(Fault::bad(FIELD, "lies between 0 and 100")),
    }
}

#[cfg(test)]
mod tests;

//! One engine for the formats of other producers: a table says in which places of a record the
//! fields of an event are, and what its types mean.
//!
//! Decided for all of them: a text may be written as a whole number, an id never as one with a
//! fraction; of several places the first that holds something counts; the name of a pageview is
//! passed over; of more than 30 properties the first 30 by the order of their names are kept. Of
//! PostHog's properties, its own (their names begin with `$`) are left out.

use std::borrow::Cow;

use serde_json::Value;

use super::envelope::EnvelopeFields;
use super::limits::{self, InvalidField};
use super::loose::Loose;
use super::repair;
use super::time::{self, NoOffset, NumberTime};
use crate::config::SourceMapping;
use crate::domain::event::{Event, EventKind, Revenue, WrongTimeUnit};
use crate::domain::reject::{NotAnEvent, Reject, RejectReason};
use crate::domain::texts::Texts;
use crate::domain::time::LAST_MS;
use places::{Places, host_of};
use tables::{FormatTable, MappedKind, Oddity};

/// The tables of the formats.
mod tables;
/// Places of a record.
mod places;
/// Peculiarities of formats that no table holds.
mod oddities;

/// A table, made ready for reading.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    site_id: Places,
    /// URLs whose host is the site.
    site_url: Places,
    visitor_id: Places,
    /// Without a place every record is a pageview.
    kind: Places,
    types: Vec<(String, MappedKind)>,
    /// Meaning of the types that are not listed; without one they are refused.
    other: Option<MappedKind>,
    name: Places,
    path: Places,
    timestamp: Places,
    no_offset: NoOffset,
    event_id: Places,
    source: Places,
    /// URLs whose host is the source, unless it is the page's own.
    source_url: Places,
    props: Places,
    scroll_depth: Places,
    amount: Places,
    currency: Places,
    historical: Places,
    oddity: Oddity,
}

impl Mapping {
    /// Umami's `event` topic.
    pub(super) fn umami() -> Self {
        Self::of(&tables::UMAMI)
    }

    /// Plausible's `events_v2`, as ClickHouse writes it.
    pub(super) fn plausible() -> Self {
        Self::of(&tables::PLAUSIBLE)
    }

    /// PostHog's `clickhouse_events_json`.
    pub(super) fn posthog() -> Self {
        Self::of(&tables::POSTHOG)
    }

    /// Calls of Segment's form, as RudderStack and Jitsu send them.
    pub(super) fn segment() -> Self {
        Self::of(&tables::SEGMENT)
    }

    /// The table of a configuration; without one nothing is found.
    pub(super) fn configured(given: Option<&SourceMapping>) -> Self {
        let mut mapping = Self::of(&tables::EMPTY);
        let Some(given) = given else {
            return mapping;
        };
        let place = |pointer: &Option<String>| Places::one(pointer.as_deref());
        mapping.site_id = place(&given.site_id);
        mapping.visitor_id = place(&given.visitor_id);
        mapping.kind = place(&given.kind);
        mapping.name = place(&given.name);
        mapping.path = place(&given.path);
        mapping.timestamp = place(&given.timestamp);
        mapping.event_id = place(&given.event_id);
        mapping.source = place(&given.source);
        let types = given.types.iter();
        mapping.types = types
            .map(|(word, kind)| (word.clone(), MappedKind::Event(*kind)))
            .chain(EventKind::ALL.map(|kind| (kind.as_str().to_owned(), MappedKind::Event(kind))))
            .collect();
        mapping
    }

    fn of(table: &FormatTable) -> Self {
        Self {
            site_id: Places::of(table.site_id),
            site_url: Places::of(table.site_url),
            visitor_id: Places::of(table.visitor_id),
            kind: Places::of(table.kind),
            types: table
                .types
                .iter()
                .map(|(word, kind)| ((*word).to_owned(), *kind))
                .collect(),
            other: table.other,
            name: Places::of(table.name),
            path: Places::of(table.path),
            timestamp: Places::of(table.timestamp),
            no_offset: table.no_offset,
            event_id: Places::of(table.event_id),
            source: Places::of(table.source),
            source_url: Places::of(table.source_url),
            props: Places::of(table.props),
            scroll_depth: Places::of(table.scroll_depth),
            amount: Places::of(table.amount),
            currency: Places::of(table.currency),
            historical: Places::of(table.historical),
            oddity: table.oddity,
        }
    }

    /// Reads one record. One that names no site is of `site`. Fields that an envelope has `given`
    /// are passed over.
    pub(super) fn read(
        &self,
        text: &str,
        site: Option<&str>,
        given: EnvelopeFields,
    ) -> Result<Event<'static>, NotAnEvent> {
        let mut record = parse_object(text)?;
        let prepared = self.oddity.prepare(&mut record);
        let kind = self.kind(&record);
        if kind == Ok(MappedKind::Ignored) {
            return Err(NotAnEvent::Ignored);
        }
        let site_id = self
            .site_id(&record, site)
            .map_err(|error| error.into_reject(None))?;
        let kind = prepared.and(kind);
        let event = kind.and_then(|kind| self.event(&record, kind, site_id.clone(), given));
        Ok(event.map_err(|error| error.into_reject(Some(&site_id)))?)
    }

    fn event(
        &self,
        record: &Value,
        kind: MappedKind,
        site_id: String,
        given: EnvelopeFields,
    ) -> Result<Event<'static>, InvalidField> {
        let kind = match kind {
            MappedKind::Event(kind) => kind,
            MappedKind::Presence | MappedKind::Ignored => EventKind::Engagement,
        };
        let mut event = Event::new(site_id, kind);
        if matches!(kind, EventKind::Goal | EventKind::Custom | EventKind::Error) {
            event.name = limits::printable("name", self.name.text("name", record)?, limits::MAX_NAME_CHARS)?;
        }
        if event.name.is_none() && matches!(kind, EventKind::Goal | EventKind::Custom) {
            return Err(self.name.missing("name"));
        }
        let visitor_id = self.visitor_id.text("visitor_id", record)?;
        event.visitor_id = limits::opaque("visitor_id", visitor_id, limits::MAX_VISITOR_ID_CHARS)?;
        if event.visitor_id.is_none() && kind == EventKind::Pageview {
            return Err(self.visitor_id.missing("visitor_id"));
        }
        event.path = limits::path(self.path.text("path", record)?)?;
        if !given.time {
            (event.timestamp_ms, event.wrong_unit) = self.timestamp(record)?;
        }
        if !given.id {
            let event_id = self.event_id.text("event_id", record)?;
            event.event_id = limits::printable("event_id", event_id, limits::MAX_EVENT_ID_CHARS)?;
        }
        event.source = limits::printable("source", self.source(record)?, limits::MAX_SOURCE_CHARS)?;
        event.props = self.props(record)?;
        event.revenue = match self.revenue(record) {
            // Its properties are anybody's: one of this name need not be an amount.
            Err(_) if self.oddity == Oddity::Segment => None,
            revenue => revenue?,
        };
        if kind == EventKind::Engagement {
            event.scroll_depth = self.scroll_depth(record)?;
        }
        event.historical = self.historical(record)?;
        self.oddity.finish(record, &mut event);
        Ok(event)
    }

    fn site_id(&self, record: &Value, default: Option<&str>) -> Result<String, InvalidField> {
        let given = match self.site_id.text("site_id", record)? {
            Loose::Absent => match self.site_url.first(record).and_then(host_of) {
                Some(host) => Loose::Text(host.into()),
                None => Loose::Absent,
            },
            given => given,
        };
        match limits::site_id(given, default) {
            Err(error) if error.reason == RejectReason::MissingField => Err(self.site_id.missing("site_id")),
            checked => checked.map(Into::into),
        }
    }

    fn kind(&self, record: &Value) -> Result<MappedKind, InvalidField> {
        if self.kind.is_empty() {
            return Ok(MappedKind::Event(EventKind::Pageview));
        }
        let word = limits::text("type", self.kind.text("type", record)?)?;
        let word = word.ok_or_else(|| self.kind.missing("type"))?;
        let listed = self.types.iter().find(|(known, _)| *known == word);
        listed
            .map(|(_, kind)| *kind)
            .or(self.other)
            .ok_or_else(|| InvalidField::bad("type", "be one of those that the format's table maps"))
    }

    fn timestamp(&self, record: &Value) -> Result<(Option<i64>, Option<WrongTimeUnit>), InvalidField> {
        const FIELD: &str = "timestamp";
        let ms = match self.timestamp.loose(record) {
            Loose::Absent => return Ok((None, None)),
            Loose::Integer(number) => Some(time::judge(number)),
            Loose::Number(number) => Some(time::judge_float(number)),
            Loose::Text(text) => match time::parse(&text, self.no_offset) {
                Some(ms) if (0..=LAST_MS).contains(&ms) => Some(NumberTime::Ms(ms)),
                Some(_) => return Err(InvalidField::bad(FIELD, "lie between the years 1970 and 9999")),
                // Databases write numbers as texts.
                None => number(&text).map(time::judge_float),
            },
            Loose::Flag(_) | Loose::Other(_) => None,
        };
        match ms {
            Some(NumberTime::Ms(ms)) => Ok((Some(ms), None)),
            Some(NumberTime::Wrong(unit)) => Ok((None, Some(unit))),
            None => Err(InvalidField::bad(
                FIELD,
                "be a time such as 2026-02-25T12:00:00Z, or milliseconds since 1970",
            )),
        }
    }

    fn source(&self, record: &Value) -> Result<Loose<'static>, InvalidField> {
        let given = self.source.text("source", record)?;
        if given != Loose::Absent {
            return Ok(given);
        }
        let own = self.site_url.first(record).and_then(host_of);
        let host = self.source_url.first(record).and_then(host_of);
        let host = host.filter(|host| Some(host) != own.as_ref());
        Ok(host.map_or(Loose::Absent, |host| Loose::Text(host.into())))
    }

    fn props(&self, record: &Value) -> Result<Texts<'static>, InvalidField> {
        let Some(Value::Object(entries)) = self.props.first(record) else {
            return Ok(Texts::default());
        };
        let mut props: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        let is_own = |name: &str| self.oddity == Oddity::Posthog && name.starts_with('$');
        for (name, value) in entries.iter().filter(|(name, _)| !is_own(name)) {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            if props.len() == limits::MAX_PROPS {
                break;
            }
            for text in [name, &text] {
                limits::check_no_nul("props", text)?;
            }
            props.push((name.clone().into(), text.into()));
        }
        Ok(Texts::Read(props))
    }

    fn revenue(&self, record: &Value) -> Result<Option<Revenue<'static>>, InvalidField> {
        let amount = match self.amount.first(record) {
            // A larger number has already lost digits.
            Some(Value::Number(number)) if number.as_f64().is_some_and(|n| n.abs() >= repair::LARGEST) => {
                Loose::Absent
            }
            Some(Value::Number(number)) => Loose::Text(number.to_string().into()),
            _ => self.amount.text("revenue.amount", record)?,
        };
        let part = |field, value| limits::printable(field, value, limits::MAX_MONEY_CHARS);
        let amount = part("revenue.amount", amount)?;
        let currency = part(
            "revenue.currency",
            self.currency.text("revenue.currency", record)?,
        )?;
        // Half a revenue is none: both fields are columns that other events leave empty.
        let (Some(amount), Some(currency)) = (amount, currency) else {
            return Ok(None);
        };
        Ok(Some(Revenue { amount, currency }))
    }

    fn historical(&self, record: &Value) -> Result<bool, InvalidField> {
        match self.historical.loose(record) {
            Loose::Absent => Ok(false),
            Loose::Flag(flag) => Ok(flag),
            Loose::Integer(0) => Ok(false),
            Loose::Integer(1) => Ok(true),
            Loose::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(true),
            Loose::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(false),
            _ => Err(InvalidField::bad("historical", "be true or false")),
        }
    }

    fn scroll_depth(&self, record: &Value) -> Result<Option<u8>, InvalidField> {
        let depth = match self.scroll_depth.loose(record) {
            Loose::Absent => return Ok(None),
            Loose::Integer(depth) => u8::try_from(depth).ok(),
            Loose::Number(depth) if (0.0..=100.0).contains(&depth) => Some(depth as u8),
            Loose::Text(text) => text.parse().ok(),
            _ => None,
        };
        match depth {
            Some(depth) if depth <= 100 => Ok(Some(depth)),
            _ => Err(InvalidField::bad("scroll_depth", "lie between 0 and 100")),
        }
    }
}

/// Reads a number from a text; `NaN` and `inf` are none.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Parses a record that is one JSON object.
fn parse_object(text: &str) -> Result<Value, Reject> {
    let not_json = |detail| Reject {
        reason: RejectReason::NotJson,
        field: None,
        detail,
        site_id: None,
    };
    match serde_json::from_str(text) {
        Ok(record @ Value::Object(_)) => Ok(record),
        Ok(_) => Err(not_json("a record must be one JSON object".to_owned())),
        // Only errors of syntax are left, and their texts repeat nothing of the record.
        Err(error) => Err(not_json(format!("not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests;

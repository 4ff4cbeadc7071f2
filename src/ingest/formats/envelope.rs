//! CloudEvents around a record: the Kafka protocol binding, version 1.0.
//!
//! In structured mode the record's value holds the attributes and the event in `data`; in binary
//! mode the attributes are headers and the value is the event. The envelope's id and time win over
//! the event's own.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::limits::{self, InvalidField, MAX_EVENT_ID_CHARS};
use super::loose::{Entries, Loose, LooseObject};
use super::repair;
use super::time::{self, NoOffset};
use crate::domain::event::Event;
use crate::domain::reject::{NotAnEvent, Reject, RejectReason};
use crate::domain::texts::has_control;
use crate::domain::time::LAST_MS;

/// Beginning of the `content-type` of structured mode.
const STRUCTURED: &[u8] = b"application/cloudevents";
/// Beginning of the names of headers that are attributes.
const ATTRIBUTE: &[u8] = b"ce_";

/// Name and value of a record's header.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// An envelope, found by the record's headers.
#[derive(Debug, Clone)]
pub(super) enum Envelope<'a> {
    Structured,
    Binary(Attributes<'a>),
}

/// Fields that an envelope gives, and that are not looked at in the event inside.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EnvelopeFields {
    pub(super) time: bool,
    pub(super) id: bool,
}

/// The attributes that are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes<'a> {
    id: Loose<'a>,
    source: Loose<'a>,
    time: Loose<'a>,
}

/// The value of a record in structured mode.
#[derive(Default)]
struct StructuredValue<'a> {
    attributes: Attributes<'a>,
    data: Option<&'a RawValue>,
    data_base64: Loose<'a>,
}

impl<'de> Entries<'de> for StructuredValue<'de> {
    fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
        match &*key {
            "id" => self.attributes.id = entries.next_value()?,
            "source" => self.attributes.source = entries.next_value()?,
            "time" => self.attributes.time = entries.next_value()?,
            "data" => self.data = entries.next_value()?,
            "data_base64" => self.data_base64 = entries.next_value()?,
            _ => {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'a> Envelope<'a> {
    /// Finds the envelope of a record. Without a header that announces one, `expected` looks for
    /// one in the value.
    pub(super) fn find(
        headers: &[HeaderRef<'a>],
        text: &str,
        expected: bool,
    ) -> Result<Option<Self>, Reject> {
        let content_type = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
        if let Some((_, Some(value))) = content_type
            && value
                .trim_ascii_start()
                .get(..STRUCTURED.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED))
        {
            return Ok(Some(Self::Structured));
        }
        let mut attributes = None::<Attributes<'a>>;
        for (name, value) in headers {
            let Some((start, name)) = name.split_at_checked(ATTRIBUTE.len()) else {
                continue;
            };
            if !start.eq_ignore_ascii_case(ATTRIBUTE) {
                continue;
            }
            let attributes = attributes.get_or_insert_default();
            let (field, shown) = match &*name.to_ascii_lowercase() {
                b"id" => (&mut attributes.id, "ce_id"),
                b"source" => (&mut attributes.source, "ce_source"),
                b"time" => (&mut attributes.time, "ce_time"),
                _ => continue,
            };
            let text = std::str::from_utf8(value.unwrap_or_default())
                .map_err(|_| InvalidField::bad(shown, "be UTF-8").into_reject(None))?;
            *field = Loose::Text(Cow::Borrowed(text));
        }
        match attributes {
            Some(attributes) => Ok(Some(Self::Binary(attributes))),
            None if expected && has_specversion(text) => Ok(Some(Self::Structured)),
            None => Ok(None),
        }
    }

    /// Reads the event inside with `read_data`, and gives it the envelope's id and time.
    pub(super) fn open(
        self,
        text: &'a str,
        read_data: impl Fn(&str, EnvelopeFields) -> Result<Event<'_>, NotAnEvent>,
    ) -> Result<Event<'a>, NotAnEvent> {
        let (attributes, event) = match self {
            Self::Binary(attributes) => {
                let attributes = attributes.check();
                let event = borrow(text, attributes.fields(), &read_data)?;
                (attributes, event)
            }
            Self::Structured => {
                let value = structured(text)?;
                let attributes = value.attributes.check();
                let given = attributes.fields();
                let event = match (value.data, value.data_base64) {
                    (Some(data), _) if data.get().starts_with('"') => {
                        let data: String =
                            serde_json::from_str(data.get()).map_err(|error| not_json(&error))?;
                        read_inner(&data, given, &read_data)?
                    }
                    (Some(data), _) => borrow(data.get(), given, &read_data)?,
                    (None, Loose::Text(text)) => read_inner(&decoded(&text)?, given, &read_data)?,
                    (None, _) => return Err(InvalidField::missing("data").into_reject(None).into()),
                };
                (attributes, event)
            }
        };
        Ok(attributes.apply(event)?)
    }
}

/// Reads a text whose event may borrow from it.
fn borrow<'a>(
    text: &'a str,
    given: EnvelopeFields,
    read_data: &impl Fn(&str, EnvelopeFields) -> Result<Event<'_>, NotAnEvent>,
) -> Result<Event<'a>, NotAnEvent> {
    read_data(text, given)
}

/// Reads an event that stands as a text within another text.
fn read_inner(
    text: &str,
    given: EnvelopeFields,
    read_data: &impl Fn(&str, EnvelopeFields) -> Result<Event<'_>, NotAnEvent>,
) -> Result<Event<'static>, NotAnEvent> {
    let text = repair::without_mark(text);
    match read_data(text, given) {
        Err(NotAnEvent::Rejected(reject)) if reject.reason == RejectReason::NotJson => {
            let repaired = repair::repair(text).ok_or(reject)?;
            read_data(&repaired, given).map(Event::into_owned)
        }
        read => read.map(Event::into_owned),
    }
}

/// Time and id of an envelope, each of which it may lack or have wrong.
struct CheckedAttributes {
    time_ms: Result<Option<i64>, InvalidField>,
    event_id: Result<Option<String>, InvalidField>,
}

impl Attributes<'_> {
    fn check(self) -> CheckedAttributes {
        CheckedAttributes {
            time_ms: time_ms(&self.time),
            event_id: event_id(self.source, self.id),
        }
    }
}

impl CheckedAttributes {
    fn fields(&self) -> EnvelopeFields {
        EnvelopeFields {
            time: matches!(self.time_ms, Ok(Some(_))),
            id: matches!(self.event_id, Ok(Some(_))),
        }
    }

    fn apply(self, mut event: Event<'_>) -> Result<Event<'_>, Reject> {
        let checked = self.time_ms.and_then(|ms| Ok((ms, self.event_id?)));
        let (ms, id) = checked.map_err(|error| error.into_reject(Some(&event.site_id)))?;
        if let Some(ms) = ms {
            event.timestamp_ms = Some(ms);
        }
        if let Some(id) = id {
            event.event_id = Some(id.into());
        }
        Ok(event)
    }
}

fn time_ms(value: &Loose<'_>) -> Result<Option<i64>, InvalidField> {
    match value {
        Loose::Absent => Ok(None),
        Loose::Text(text) if text.is_empty() => Ok(None),
        Loose::Text(text) => time::parse(text, NoOffset::IsRefused)
            .filter(|ms| (0..=LAST_MS).contains(ms))
            .map(Some)
            .ok_or_else(|| InvalidField::bad("ce_time", "be an RFC 3339 time")),
        _ => Err(InvalidField::bad("ce_time", "be an RFC 3339 time")),
    }
}

/// The id that no other event has: source and id together. A URI has no blank, so they do not run
/// into each other.
fn event_id(source: Loose<'_>, id: Loose<'_>) -> Result<Option<String>, InvalidField> {
    let text = |field, value| limits::opaque(field, value, usize::MAX);
    let (source, Some(id)) = (text("ce_source", source)?, text("ce_id", id)?) else {
        return Ok(None);
    };
    let whole = format!("{} {id}", source.unwrap_or_default());
    if whole.chars().count() <= MAX_EVENT_ID_CHARS && !has_control(&whole) {
        return Ok(Some(whole));
    }
    Ok(Some(hex::encode(Sha256::digest(whole))))
}

/// True if a record has the attribute that every CloudEvent has.
fn has_specversion(text: &str) -> bool {
    #[derive(Default)]
    struct Found(bool);

    impl<'de> Entries<'de> for Found {
        fn entry<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, entries: &mut A) -> Result<(), A::Error> {
            self.0 |= key == "specversion";
            entries.next_value::<IgnoredAny>().map(|_| ())
        }
    }

    let found = |text: &str| match serde_json::from_str(text) {
        Ok(LooseObject::Object(Found(found))) => Some(found),
        Ok(_) => Some(false),
        Err(_) => None,
    };
    found(text)
        .or_else(|| found(&repair::repair(text)?))
        .unwrap_or(false)
}

fn structured(text: &str) -> Result<StructuredValue<'_>, Reject> {
    match serde_json::from_str(text) {
        Ok(LooseObject::Object(value)) => Ok(value),
        Ok(_) => Err(Reject {
            reason: RejectReason::NotJson,
            field: None,
            detail: "a CloudEvent in structured mode must be one JSON object".to_owned(),
            site_id: None,
        }),
        Err(error) => Err(not_json(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> Reject {
    Reject {
        reason: RejectReason::NotJson,
        field: None,
        detail: format!("not JSON: {error}"),
        site_id: None,
    }
}

fn decoded(text: &str) -> Result<String, Reject> {
    let bytes = BASE64_STANDARD.decode(text).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| InvalidField::bad("data_base64", "be UTF-8 in base64").into_reject(None))
}

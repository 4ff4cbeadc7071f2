//! Events that `route` has keyed by site: native JSON, with facts about the original record in
//! headers.
//!
//! Visitors are hashed already. A record without our version is one that somebody else wrote to the
//! topic, and is read as any native one.

use super::envelope::{EnvelopeFields, HeaderRef};
use super::limits::InvalidField;
use super::native;
use crate::dispatch::record::header;
use crate::domain::event::{Event, RoutedFacts, SourceClock, WrongTimeUnit};
use crate::domain::reject::{NotAnEvent, Reject, RejectedOriginal};
use crate::domain::time::LAST_MS;

/// Version of the form that is written here, and the newest that is read.
pub(crate) const VERSION: u32 = 1;
/// Header with the record time of the original, in milliseconds since the Unix epoch.
pub(crate) const RECORD_MS: &str = "bw-original-time-ms";
/// Header with the event's own id.
pub(crate) const EVENT_ID: &str = "bw-event-id";
/// Header with the clock of the original's source.
pub(crate) const CLOCK: &str = "bw-clock";
/// Header with the unit of a timestamp that was not in milliseconds.
pub(crate) const WRONG_UNIT: &str = "bw-wrong-unit";
/// Header by which the visitor's id is a hash: 16 hexadecimal digits.
pub(crate) const VISITOR: &str = "bw-visitor";
/// The value of [`VISITOR`].
pub(crate) const HASHED: &str = "hashed";
/// Header by which the record is no event: the reason for which `route` rejected the original. Such
/// a record only tells that the site has a reject; its value is empty.
pub(crate) const REJECTED: &str = "bw-rejected";

/// Refuses a record of a newer version, whatever else is in it.
pub(super) fn check_version(headers: &[HeaderRef<'_>]) -> Result<(), NotAnEvent> {
    let version = RoutedHeaders(headers).text(header::VERSION).ok().flatten();
    match version.and_then(|text| text.parse().ok()) {
        Some(version) if version > VERSION => Err(NotAnEvent::Newer {
            field: header::VERSION,
            version,
            known: VERSION,
        }),
        _ => Ok(()),
    }
}

/// True for a record that `route` wrote. Any other is read as those of a source are.
pub(super) fn is_routed(headers: &[HeaderRef<'_>]) -> bool {
    let names = [header::VERSION.as_bytes(), REJECTED.as_bytes()];
    headers.iter().any(|(name, _)| names.contains(name))
}

/// Reads an event with the facts about its original.
pub(super) fn read<'a>(text: &'a str, headers: &[HeaderRef<'a>]) -> Result<Event<'a>, NotAnEvent> {
    let headers = RoutedHeaders(headers);
    if let Some(reject) = headers.reject() {
        return Err(NotAnEvent::RejectedBefore(reject, headers.original()));
    }
    let mut event = native::read(text, None, EnvelopeFields::default())?;
    if headers.text(header::VERSION)?.is_none() {
        return Ok(event);
    }
    headers
        .apply(&mut event)
        .map_err(|error| error.into_reject(Some(&event.site_id)))?;
    Ok(event)
}

/// Topic, partition and offset of the record that `route` read an event from.
pub(crate) fn original_of(headers: &[HeaderRef<'_>]) -> Option<String> {
    RoutedHeaders(headers).coordinates().ok()
}

/// Reads the time of an original record.
fn original_ms(text: &str) -> Option<i64> {
    text.parse().ok().filter(|ms| (0..=LAST_MS).contains(ms))
}

struct RoutedHeaders<'h, 'a>(&'h [HeaderRef<'a>]);

impl<'a> RoutedHeaders<'_, 'a> {
    /// The reject that the record tells of.
    fn reject(&self) -> Option<Reject> {
        let reason = self.text(REJECTED).ok()??.parse().ok()?;
        let site_id = self.text(header::SITE_ID).ok()??;
        Some(Reject {
            reason,
            field: None,
            detail: "rejected by `route`".to_owned(),
            site_id: Some(site_id.to_owned()),
        })
    }

    /// The record that was rejected. Headers that cannot be read are absent.
    fn original(&self) -> RejectedOriginal {
        RejectedOriginal {
            clock: self.optional(CLOCK, |text| text.parse().ok()).ok().flatten(),
            record_ms: self.optional(RECORD_MS, original_ms).ok().flatten(),
            coordinates: self.coordinates().ok(),
        }
    }

    /// Topic, partition and offset of the original record.
    fn coordinates(&self) -> Result<String, InvalidField> {
        Ok(format!(
            "{}/{}/{}",
            self.required(header::ORIGINAL_TOPIC, |text| Some(text.to_owned()))?,
            self.required(header::ORIGINAL_PARTITION, |text| text.parse::<i32>().ok())?,
            self.required(header::ORIGINAL_OFFSET, |text| text.parse::<i64>().ok())?,
        ))
    }

    fn apply(&self, event: &mut Event<'a>) -> Result<(), InvalidField> {
        self.required(header::VERSION, |text| text.parse::<u32>().ok())?;
        let is_hashed = self
            .optional(VISITOR, |text| (text == HASHED).then_some(()))?
            .is_some();
        let visitor_hash = match (is_hashed, event.visitor_id.take()) {
            (true, Some(id)) => Some(
                u64::from_str_radix(&id, 16)
                    .map_err(|_| InvalidField::bad("visitor_id", "be a hash of 16 hexadecimal digits"))?,
            ),
            (_, id) => {
                event.visitor_id = id;
                None
            }
        };
        event.routed = Some(RoutedFacts {
            clock: self.required(CLOCK, |text| text.parse::<SourceClock>().ok())?,
            record_ms: self.optional(RECORD_MS, original_ms)?,
            visitor_hash,
        });
        event.wrong_unit = self.optional(WRONG_UNIT, |text| text.parse::<WrongTimeUnit>().ok())?;
        let coordinates = self.coordinates()?;
        // The id of an event without one is where it came from, not where it lies now: only then is
        // a second copy the same event.
        let own_id = self.optional(EVENT_ID, |text| Some(text.to_owned()))?;
        event.event_id = Some(own_id.unwrap_or(coordinates).into());
        Ok(())
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, Reject> {
        let mut headers = self.0.iter().rev();
        let Some((_, value)) = headers.find(|(one, _)| *one == name.as_bytes()) else {
            return Ok(None);
        };
        match std::str::from_utf8(value.unwrap_or_default()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(InvalidField::bad(name, "be UTF-8").into_reject(None)),
        }
    }

    fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, InvalidField> {
        let unreadable = || InvalidField::bad(name, "be as `route` writes it");
        let text = self.text(name).map_err(|_| unreadable())?;
        text.map(|text| read(text).ok_or_else(unreadable)).transpose()
    }

    fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, InvalidField> {
        self.optional(name, read)?
            .ok_or_else(|| InvalidField::missing(name))
    }
}

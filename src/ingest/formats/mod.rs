//! The formats a source topic may be in. Each of them yields the same events and the same rejects.

use std::sync::Arc;

use crate::config::{Source, SourceFormat};
use crate::domain::event::Event;
use crate::domain::reject::{NotAnEvent, Reject, RejectReason};
pub use envelope::HeaderRef;
use envelope::{Envelope, EnvelopeFields};
use mapping::Mapping;

/// Formats of other producers, by tables of places.
pub(crate) mod mapping;
/// The native format.
pub(crate) mod native;
/// Events that were keyed by `route`.
pub(crate) mod routed;
/// CloudEvents around a record.
mod envelope;
/// The fields of a record as they were found.
mod fields;
/// A scanner for the JSON that nearly every producer writes.
mod scan;
/// The positions of a record's quotes.
pub mod quotes;
/// Values of the wrong type, kept instead of refused.
mod loose;
/// Limits of an event's fields, the same for every format.
mod limits;
/// Times as producers write them.
mod time;
/// JSON that the parser refuses although the grammar allows it.
pub(crate) mod repair;
/// Halves of surrogate pairs.
mod surrogates;
/// Native records that are published anew, with another time.
pub(crate) mod retimed;

/// Fields of the native format.
pub(crate) const FIELDS: [&str; 12] = [
    "site_id",
    "type",
    "name",
    "visitor_id",
    "path",
    "timestamp",
    "event_id",
    "props",
    "source",
    "revenue",
    "scroll_depth",
    "historical",
];

/// Largest record that is read, in bytes: 1 MiB.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;

/// Reader of a source's records. The default one reads the native format.
#[derive(Debug, Clone, Default)]
pub struct RecordReader {
    /// Absent for the native format.
    mapping: Option<Arc<Mapping>>,
    /// The site of records that name none.
    site: Option<Arc<str>>,
    /// True if an envelope is expected even where no header announces it.
    is_cloudevents: bool,
    /// True for what `route` has written.
    is_routed: bool,
}

impl RecordReader {
    /// The reader that a source asks for.
    pub fn of(source: &Source) -> Self {
        let mapping = match source.format {
            SourceFormat::Native | SourceFormat::Cloudevents => None,
            SourceFormat::Umami => Some(Mapping::umami()),
            SourceFormat::Plausible => Some(Mapping::plausible()),
            SourceFormat::Posthog => Some(Mapping::posthog()),
            SourceFormat::Segment => Some(Mapping::segment()),
            SourceFormat::Mapped => Some(Mapping::configured(source.mapping.as_ref())),
        };
        Self {
            mapping: mapping.map(Arc::new),
            site: source.site.as_deref().map(Into::into),
            is_cloudevents: source.format == SourceFormat::Cloudevents,
            is_routed: false,
        }
    }

    /// The reader of native records. One that names no site is of `site`.
    pub(crate) fn native(site: Option<&str>) -> Self {
        Self {
            site: site.map(Into::into),
            ..Self::default()
        }
    }

    /// The reader of what `route` has written.
    pub fn routed() -> Self {
        Self {
            is_routed: true,
            ..Self::default()
        }
    }

    /// True if records are in the native format, within an envelope or not.
    pub(crate) fn is_native(&self) -> bool {
        self.mapping.is_none()
    }

    /// Reads one record. Pure and total over every byte string, which also makes it the entry for a
    /// fuzzer.
    pub fn read<'a>(&self, value: &'a [u8], headers: &[HeaderRef<'a>]) -> Result<Event<'a>, NotAnEvent> {
        if self.is_routed {
            routed::check_version(headers)?;
        }
        if value.len() > MAX_RECORD_BYTES {
            return Err(too_large(value.len()).into());
        }
        // The whole record is checked: serde_json looks only at the strings it keeps.
        let text = std::str::from_utf8(value).map_err(|error| Reject {
            reason: RejectReason::NotUtf8,
            field: None,
            detail: format!("byte {} is not UTF-8", error.valid_up_to()),
            site_id: None,
        })?;
        if self.is_routed && routed::is_routed(headers) {
            return routed::read(text, headers);
        }
        let text = repair::without_mark(text);
        let envelope = match (headers, self.is_cloudevents) {
            ([], false) => None,
            _ => Envelope::find(headers, text, self.is_cloudevents)?,
        };
        match self.read_text(text, envelope.clone()) {
            Err(NotAnEvent::Rejected(reject)) if reject.reason == RejectReason::NotJson => {
                let repaired = repair::repair(text).ok_or(reject)?;
                self.read_text(&repaired, envelope).map(Event::into_owned)
            }
            read => read,
        }
    }

    fn read_text<'a>(&self, text: &'a str, envelope: Option<Envelope<'a>>) -> Result<Event<'a>, NotAnEvent> {
        match envelope {
            None => self.read_data(text, EnvelopeFields::default()),
            Some(envelope) => envelope.open(text, |data, given| self.read_data(data, given)),
        }
    }

    fn read_data<'a>(&self, text: &'a str, given: EnvelopeFields) -> Result<Event<'a>, NotAnEvent> {
        let site = self.site.as_deref();
        match &self.mapping {
            None => Ok(native::read(text, site, given)?),
            Some(mapping) => mapping.read(text, site, given).map(|event: Event<'static>| event),
        }
    }
}

fn too_large(bytes: usize) -> Reject {
    Reject {
        reason: RejectReason::TooLarge,
        field: None,
        detail: format!("the record has {bytes} bytes, at most {MAX_RECORD_BYTES} are read"),
        site_id: None,
    }
}

#[cfg(test)]
mod tests;

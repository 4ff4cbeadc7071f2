//! The form of an event on `bellwether.events`: native JSON under the site's id, and in headers
//! what its original record was.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::dispatch::record::{Coordinates, header};
use crate::domain::event::{Event, EventKind, Revenue, SourceClock};
use crate::domain::reject::RejectReason;
use crate::ingest::formats::routed::{
    CLOCK, EVENT_ID, HASHED, RECORD_MS, REJECTED, VERSION, VISITOR, WRONG_UNIT,
};
use crate::ingest::visitor_hash::VisitorHasher;
use crate::kafka::producer::outgoing::OwnedRecord;

/// Longest name and value of a property that a goal may ask for, in characters.
const MAX_PROP_NAME_CHARS: usize = 300;
const MAX_PROP_VALUE_CHARS: usize = 2_000;

/// The record that an event was read from.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    pub(crate) read_from: Coordinates,
    /// The record's time in milliseconds since the Unix epoch, if it has one.
    pub(crate) record_ms: Option<i64>,
    pub(crate) clock: SourceClock,
}

/// Key, value and headers of a keyed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutedRecord {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl RoutedRecord {
    pub(crate) fn into_record(self, topic: Arc<str>) -> OwnedRecord {
        OwnedRecord {
            topic,
            partition: None,
            key: Some(self.key),
            value: Some(self.value.into()),
            headers: self.headers,
        }
    }
}

/// The native form of an event, without its id.
#[derive(Serialize)]
struct NativeEvent<'e> {
    site_id: &'e str,
    r#type: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Cow<'e, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    props: BTreeMap<&'e str, &'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revenue: Option<&'e Revenue<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scroll_depth: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    historical: bool,
}

/// Makes the keyed event of `site_id`. Properties that no goal can ask for are left out, so that no
/// record becomes larger than its topic takes.
pub(crate) fn routed_record(
    event: &Event<'_>,
    site_id: &str,
    original: &Original,
    hasher: &VisitorHasher,
) -> serde_json::Result<RoutedRecord> {
    let mut props = event.props.by_name();
    props.retain(|name, value| {
        is_at_most(name, MAX_PROP_NAME_CHARS) && is_at_most(value, MAX_PROP_VALUE_CHARS)
    });
    let hash = event.visitor_id.as_deref().map(|id| hasher.hash(id));
    let native = NativeEvent {
        site_id,
        r#type: event.kind,
        name: event.name.as_deref(),
        visitor_id: hash.map(|hash| format!("{hash:016x}")),
        path: event.path.as_deref(),
        // As text: a number's size would be judged again.
        timestamp: event.timestamp_ms.map(rfc_3339),
        props,
        source: event.source.as_deref(),
        revenue: event.revenue.as_ref(),
        scroll_depth: event.scroll_depth,
        historical: event.historical,
    };
    Ok(RoutedRecord {
        key: site_id.as_bytes().to_vec(),
        value: serde_json::to_vec(&native)?,
        headers: headers(event, original, hash.is_some()),
    })
}

/// Makes the record by which a detector knows that a record of `site_id` was rejected.
pub(crate) fn reject_note(reason: RejectReason, site_id: &str, original: &Original) -> RoutedRecord {
    let mut headers = original_headers(original);
    headers.push((header::SITE_ID, site_id.to_owned()));
    headers.push((REJECTED, reason.to_string()));
    RoutedRecord {
        key: site_id.as_bytes().to_vec(),
        value: Vec::new(),
        headers,
    }
}

fn original_headers(original: &Original) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        (header::VERSION, VERSION.to_string()),
        (CLOCK, original.clock.to_string()),
    ];
    headers.extend(original.read_from.headers());
    headers.extend(original.record_ms.map(|ms| (RECORD_MS, ms.to_string())));
    headers
}

fn headers(event: &Event<'_>, original: &Original, is_hashed: bool) -> Vec<(&'static str, String)> {
    let mut headers = original_headers(original);
    let mut add = |name, value: Option<String>| headers.extend(value.map(|value| (name, value)));
    add(EVENT_ID, event.event_id.as_deref().map(str::to_owned));
    add(WRONG_UNIT, event.wrong_unit.map(|unit| unit.to_string()));
    add(VISITOR, is_hashed.then(|| HASHED.to_owned()));
    headers
}

fn rfc_3339(ms: i64) -> Cow<'static, str> {
    let text = crate::domain::time::from_ms(ms).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    text.into()
}

fn is_at_most(text: &str, chars: usize) -> bool {
    text.len() <= chars || text.chars().count() <= chars
}

#[cfg(test)]
mod tests;

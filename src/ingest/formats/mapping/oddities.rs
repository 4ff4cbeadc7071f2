//! Peculiarities of formats that no table holds.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::places::{Places, host_of, is_given};
use super::tables::{Oddity, SEGMENT};
use crate::domain::event::Event;
use crate::domain::time::LAST_MS;
use crate::ingest::formats::limits::InvalidField;
use crate::ingest::formats::repair;
use crate::ingest::formats::time::{self, NoOffset};

/// ClickHouse's value of a scroll depth that was not measured.
const NO_SCROLL_DEPTH: u64 = 255;
/// Plausible's columns of a fixed length, which ClickHouse fills up with NULs.
const FIXED: [&str; 2] = ["revenue_currency", "revenue_source_currency"];
/// PostHog's word for a visit that came from nowhere.
const DIRECT: &str = "$direct";

impl Oddity {
    /// Brings a record into the shape that the table describes.
    pub(super) fn prepare(self, record: &mut Value) -> Result<(), InvalidField> {
        match self {
            Self::None => {}
            Self::Plausible => prepare_plausible(record),
            Self::Posthog => prepare_posthog(record)?,
            Self::Segment => unwrap_jitsu(record),
        }
        Ok(())
    }

    /// Adds what follows from several fields.
    pub(super) fn finish(self, record: &Value, event: &mut Event<'static>) {
        match self {
            Self::None => {}
            Self::Plausible => event.event_id = Some(hash_plausible(record).into()),
            Self::Posthog if event.source.as_deref() == Some(DIRECT) => event.source = None,
            Self::Posthog => {}
            Self::Segment => correct_clock(record, event),
        }
    }
}

/// Makes an object of the parallel arrays of properties, cuts the NULs that ClickHouse pads columns
/// with, and takes out the values that stand for none.
fn prepare_plausible(record: &mut Value) {
    let Value::Object(fields) = record else { return };
    for name in FIXED {
        if let Some(Value::String(text)) = fields.get_mut(name) {
            text.truncate(text.trim_end_matches('\0').len());
        }
    }
    let array = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name)?.as_array());
    if let (Some(names), Some(values)) = (
        array(["meta_key", "meta.key"]),
        array(["meta_value", "meta.value"]),
    ) {
        let named = |(name, value): (&Value, &Value)| Some((name.as_str()?.to_owned(), value.clone()));
        let props: Map<String, Value> = names.iter().zip(values).filter_map(named).collect();
        fields.insert("props".to_owned(), props.into());
    }
    let is_number = |value: &Value, number: u64| match value {
        Value::String(text) => text.parse() == Ok(number),
        value => value.as_u64() == Some(number),
    };
    for (name, none) in [("scroll_depth", NO_SCROLL_DEPTH), ("session_id", 0)] {
        if fields.get(name).is_some_and(|value| is_number(value, none)) {
            fields.remove(name);
        }
    }
}

/// The id of an event that has none: equal events of the same second are one.
fn hash_plausible(record: &Value) -> String {
    let mut hash = Sha256::new();
    for name in ["site_id", "user_id", "timestamp", "name", "pathname"] {
        let text = match record.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..16])
}

/// Reads the properties, which are JSON in a text.
fn prepare_posthog(record: &mut Value) -> Result<(), InvalidField> {
    if let Some(properties) = record.get_mut("properties")
        && let Value::String(text) = properties
    {
        *properties = match text.as_str() {
            "" => Value::Null,
            text => {
                repair::parse(text).map_err(|_| InvalidField::bad("properties", "be JSON in a string"))?
            }
        };
    }
    Ok(())
}

/// Takes the call out of Jitsu's wrapper. What the call lacks is taken from the wrapper.
fn unwrap_jitsu(record: &mut Value) {
    let Some(Value::Object(mut call)) = record.get_mut("httpPayload").map(Value::take) else {
        return;
    };
    for name in ["messageId", "writeKey", "type"] {
        if let (None, Some(value)) = (call.get(name).filter(is_given), record.get_mut(name)) {
            call.insert(name.to_owned(), value.take());
        }
    }
    let domain = record.pointer_mut("/origin/domain").map(Value::take);
    *record = Value::Object(call);
    let has_host = || {
        Places::of(SEGMENT.site_url)
            .first(record)
            .and_then(host_of)
            .is_some()
    };
    let has_site = Places::of(SEGMENT.site_id).first(record).is_some() || has_host();
    if let (Some(domain), false) = (domain, has_site) {
        record["writeKey"] = domain;
    }
}

/// Corrects a time by how wrong the sender's clock was when it sent.
fn correct_clock(record: &Value, event: &mut Event<'static>) {
    let at = |name| time::parse(record.get(name)?.as_str()?, NoOffset::IsUtc);
    let (Some(original), Some(received), Some(sent)) =
        (at("originalTimestamp"), at("receivedAt"), at("sentAt"))
    else {
        return;
    };
    let corrected = original.saturating_add(received.saturating_sub(sent));
    if event.timestamp_ms == Some(original) && (0..=LAST_MS).contains(&corrected) {
        event.timestamp_ms = Some(corrected);
    }
}

#[cfg(test)]
mod tests;

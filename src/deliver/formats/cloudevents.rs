//! CloudEvents 1.0 in structured mode (<https://github.com/cloudevents/spec>, JSON format 1.0.2).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The unreserved characters of RFC 3986 §2.3 stay as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Deserialize)]
struct NotificationParts<'a> {
    id: String,
    event: String,
    site_id: String,
    timestamp: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// Renders a canonical body; `None` if it is none.
pub(super) fn render(canonical: &[u8]) -> Option<Vec<u8>> {
    let body: NotificationParts<'_> = serde_json::from_slice(canonical).ok()?;
    serde_json::to_vec(&CloudEvent {
        specversion: "1.0",
        id: &body.id,
        source: format!("/sites/{}", utf8_percent_encode(&body.site_id, SEGMENT)),
        kind: format!("bellwether.{}", body.event),
        time: &body.timestamp,
        datacontenttype: "application/json",
        data: body.data,
    })
    .ok()
}

//! The text of a request: a block for people, a line for scripts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::received::{ReceivedRequest, SignatureCheck};
use crate::cli::request_text::{body_lines, joined};
use crate::cli::text::{paint, printable};
use crate::domain::time::{from_ms, rfc3339};

/// A request as one line of JSON. Keys are stable; `null` is unknown, and for `…_ok` that there was
/// no secret.
#[derive(Serialize)]
struct RequestLine<'a> {
    received_at_ms: i64,
    event: Option<&'a str>,
    delivery_id: Option<&'a str>,
    notification_id: Option<&'a str>,
    attempt: Option<u32>,
    signature_ok: Option<bool>,
    standard_signature_ok: Option<bool>,
    signature: SignatureCheck,
    standard_signature: SignatureCheck,
    latency_ms: Option<i64>,
    repeated: bool,
    status: u16,
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    body: BodyText<'a>,
}

/// A body for scripts. JSON on one line is passed on byte for byte, so that its signature can be
/// checked; another body is a string.
#[derive(Serialize)]
#[serde(untagged)]
enum BodyText<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

/// One line, without its line end.
pub(super) fn json_line(received: &ReceivedRequest) -> String {
    let body = match serde_json::from_slice::<&RawValue>(&received.body) {
        Ok(raw) if !raw.get().contains(['\n', '\r']) => BodyText::Json(raw),
        _ => BodyText::Text(String::from_utf8_lossy(&received.body)),
    };
    let line = RequestLine {
        received_at_ms: received.at_ms,
        event: received.event.as_deref(),
        delivery_id: received.delivery_id.as_deref(),
        notification_id: received.notification_id.as_deref(),
        attempt: received.attempt,
        signature_ok: received.signature.is_ok(),
        standard_signature_ok: received.standard_signature.is_ok(),
        signature: received.signature,
        standard_signature: received.standard_signature,
        latency_ms: received.latency_ms,
        repeated: received.repeated,
        status: received.status,
        method: &received.method,
        path: &received.path,
        headers: joined(&received.headers),
        body,
    };
    serde_json::to_string(&line).expect("plain data with string keys always becomes JSON")
}

/// A block of lines for people, with its line ends.
pub(super) fn block(received: &ReceivedRequest, colours: bool) -> String {
    let at = rfc3339(from_ms(received.at_ms));
    let event = printable(received.event.as_deref().unwrap_or("unknown event"));
    let status_colour = if received.status < 300 { "32" } else { "31" };
    let mut text = format!(
        "{} {} attempt {} -> {}",
        paint(colours, "2", &at),
        paint(colours, "1", &event),
        received.attempt.map_or("?".to_owned(), |n| n.to_string()),
        paint(colours, status_colour, &received.status.to_string()),
    );
    if let Some(ms) = received.latency_ms {
        // The timestamp has whole seconds, so more digits would lie.
        let _ = write!(text, ", {} s after its timestamp", ms.div_euclid(1_000));
    }
    if received.repeated {
        let _ = write!(text, ", {}", paint(colours, "33", "REPEATED"));
    }
    let _ = writeln!(
        text,
        "\n  X-Webhook-Signature {}, webhook-signature {}",
        in_words(received.signature, colours),
        in_words(received.standard_signature, colours)
    );
    let _ = writeln!(
        text,
        "  {} {}",
        printable(&received.method),
        printable(&received.path)
    );
    for (name, value) in joined(&received.headers) {
        let name = paint(colours, "2", &format!("{name}:"));
        let _ = writeln!(text, "  {name} {}", printable(&value));
    }
    text.push('\n');
    for line in body_lines(&received.body) {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    text
}

fn in_words(check: SignatureCheck, colours: bool) -> String {
    let (colour, words) = match check {
        SignatureCheck::Ok => ("32", "ok"),
        SignatureCheck::Wrong => ("1;31", "WRONG (by none of the secrets)"),
        SignatureCheck::Missing => ("1;31", "MISSING"),
        SignatureCheck::MissingId => ("1;31", "cannot be verified: webhook-id is MISSING"),
        SignatureCheck::MissingTimestamp => ("1;31", "cannot be verified: webhook-timestamp is MISSING"),
        SignatureCheck::MissingIdAndTimestamp => (
            "1;31",
            "cannot be verified: webhook-id and webhook-timestamp are MISSING",
        ),
        SignatureCheck::BadTimestamp => ("1;31", "right, but webhook-timestamp is NO NUMBER of seconds"),
        SignatureCheck::Old => (
            "1;31",
            "right, but OLD: receivers refuse a webhook-timestamp of more than 5 minutes ago",
        ),
        SignatureCheck::Early => (
            "1;31",
            "right, but EARLY: receivers refuse a webhook-timestamp of more than 5 minutes ahead",
        ),
        SignatureCheck::NotChecked => ("2", "not checked"),
    };
    paint(colours, colour, words)
}

#[cfg(test)]
mod tests;

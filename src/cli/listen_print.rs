//! How `bellwether listen` shows a request: a block for people, a line for scripts.

use crate::domain::time::from_ms;
use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use super::listen::Received;

/// A request as one line of JSON. Keys are stable; `null` is unknown, and for signatures that there was no secret.
#[derive(Serialize)]
struct Line<'a> {
    received_at_ms: i64,
    event: Option<&'a str>,
    delivery_id: Option<&'a str>,
    notification_id: Option<&'a str>,
    attempt: Option<u32>,
    signature_ok: Option<bool>,
    standard_signature_ok: Option<bool>,
    latency_ms: Option<i64>,
    repeated: bool,
    status: u16,
    path: &'a str,
    body: Body<'a>,
}

/// A body that is JSON on one line is passed on byte for byte, so that a script can check its signature; another is a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

/// One line, with its line end.
pub(super) fn json_line(received: &Received) -> String {
    let body = match serde_json::from_slice::<&RawValue>(&received.body) {
        Ok(raw) if !raw.get().contains(['\n', '\r']) => Body::Json(raw),
        _ => Body::Text(String::from_utf8_lossy(&received.body)),
    };
    let line = Line {
        received_at_ms: received.at_ms,
        event: received.event.as_deref(),
        delivery_id: received.delivery_id.as_deref(),
        notification_id: received.notification_id.as_deref(),
        attempt: received.attempt,
        signature_ok: received.signature_ok,
        standard_signature_ok: received.standard_signature_ok,
        latency_ms: received.latency_ms,
        repeated: received.repeated,
        status: received.status,
        path: &received.path,
        body,
    };
    let mut text = serde_json::to_string(&line).expect("plain data with string keys always becomes JSON");
    text.push('\n');
    text
}

/// A block of lines for people, with its line ends.
pub(super) fn pretty(received: &Received, colours: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let signature = |name: &str, ok: Option<bool>| match ok {
        Some(true) => format!("{name} {}", paint("32", "ok")),
        Some(false) => format!("{name} {}", paint("1;31", "BAD")),
        None => format!("{name} {}", paint("2", "not checked")),
    };
    let at = from_ms(received.at_ms).to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut text = String::new();
    let _ = write!(
        text,
        "{} {} attempt {} -> {}",
        paint("2", &at),
        paint(
            "1",
            &printable(received.event.as_deref().unwrap_or("unknown event"))
        ),
        received.attempt.map_or("?".to_owned(), |n| n.to_string()),
        paint(
            if received.status < 300 { "32" } else { "31" },
            &received.status.to_string()
        ),
    );
    if let Some(ms) = received.latency_ms {
        // The timestamp has whole seconds, so more digits would lie.
        let _ = write!(text, ", {} s after its timestamp", ms.div_euclid(1_000));
    }
    if received.repeated {
        let _ = write!(text, ", {}", paint("33", "REPEATED"));
    }
    let _ = writeln!(
        text,
        "\n  {}, {}",
        signature("X-Webhook-Signature", received.signature_ok),
        signature("webhook-signature", received.standard_signature_ok)
    );
    let _ = writeln!(
        text,
        "  {} {} {}",
        printable(&received.path),
        printable(received.notification_id.as_deref().unwrap_or("-")),
        printable(received.delivery_id.as_deref().unwrap_or("-"))
    );
    let body = serde_json::from_slice::<&RawValue>(&received.body)
        .ok()
        .and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok())
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(&received.body).into_owned());
    for line in body.lines() {
        let _ = writeln!(text, "  {}", printable(line));
    }
    text
}

/// What a sender wrote, without the means to drive the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn received(body: &'static [u8]) -> Received {
        Received {
            at_ms: 1_771_970_400_123,
            path: "/hook".to_owned(),
            event: Some("visitor_spike".to_owned()),
            delivery_id: Some("dlv_1".to_owned()),
            notification_id: Some("evt_1".to_owned()),
            attempt: Some(2),
            latency_ms: Some(1_250),
            signature_ok: Some(true),
            standard_signature_ok: None,
            repeated: true,
            status: 503,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn scripts_get_one_line_with_the_body_byte_for_byte() {
        assert_eq!(
            json_line(&received(br#"{"b" : 1.50, "a":"\u00e9"}"#)),
            concat!(
                r#"{"received_at_ms":1771970400123,"event":"visitor_spike","delivery_id":"dlv_1","notification_id":"evt_1","#,
                r#""attempt":2,"signature_ok":true,"standard_signature_ok":null,"latency_ms":1250,"repeated":true,"status":503,"#,
                r#""path":"/hook","body":{"b" : 1.50, "a":"\u00e9"}}"#,
                "\n"
            )
        );
        for body in [&b"{\n}"[..], b"not json", b"\xff\xfe", b""] {
            let line = json_line(&received(body));
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert!(read["body"].is_string());
        }
    }

    #[test]
    fn people_get_a_block_without_colours_when_piped() {
        assert_eq!(
            pretty(&received(br#"{"a":1}"#), false),
            "2026-02-24T22:00:00.123Z visitor_spike attempt 2 -> 503, 1 s after its timestamp, REPEATED\n  \
             X-Webhook-Signature ok, webhook-signature not checked\n  /hook evt_1 dlv_1\n  {\n    \"a\": 1\n  }\n"
        );
        assert!(pretty(&received(b"{}"), true).contains("\x1b[32mok\x1b[0m"));
    }

    #[test]
    fn a_sender_cannot_drive_the_terminal() {
        let shown = pretty(&received(b"\x1b]0;title\x07 \"\xc2\x9b31m\""), false);
        assert!(
            !shown.chars().any(|one| one.is_control() && one != '\n'),
            "{shown:?}"
        );
    }
}

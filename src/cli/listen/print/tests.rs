use axum::http::HeaderMap;
use bytes::Bytes;

use super::*;
use crate::domain::hidden::is_hidden;

fn received(body: &'static [u8]) -> ReceivedRequest {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", "evt_1".parse().expect("a value"));
    headers.append("x-own", "a".parse().expect("a value"));
    headers.append("x-own", "b".parse().expect("a value"));
    ReceivedRequest {
        at_ms: 1_771_970_400_123,
        method: "POST".to_owned(),
        path: "/hook".to_owned(),
        headers,
        event: Some("visitor_spike".to_owned()),
        delivery_id: Some("dlv_1".to_owned()),
        notification_id: Some("evt_1".to_owned()),
        attempt: Some(2),
        latency_ms: Some(1_250),
        signature: SignatureCheck::Ok,
        standard_signature: SignatureCheck::NotChecked,
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
            r#""attempt":2,"signature_ok":true,"standard_signature_ok":null,"signature":"ok","standard_signature":"not_checked","#,
            r#""latency_ms":1250,"repeated":true,"status":503,"method":"POST","path":"/hook","#,
            r#""headers":{"webhook-id":"evt_1","x-own":"a, b"},"body":{"b" : 1.50, "a":"\u00e9"}}"#,
        )
    );
    for body in [&b"{\n}"[..], b"not json", b"\xff\xfe", b""] {
        let line = json_line(&received(body));
        assert!(!line.contains('\n'), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(read["body"].is_string());
    }
}

#[test]
fn people_get_method_headers_and_the_body_in_its_order() {
    assert_eq!(
        block(&received(br#"{"b":1,"a":2}"#), false),
        "2026-02-24T22:00:00.123Z visitor_spike attempt 2 -> 503, 1 s after its timestamp, REPEATED\n  \
         X-Webhook-Signature ok, webhook-signature not checked\n  \
         POST /hook\n  webhook-id: evt_1\n  x-own: a, b\n\n  {\n    \"b\": 1,\n    \"a\": 2\n  }\n\n"
    );
    assert!(block(&received(b"{}"), true).contains("\x1b[32mok\x1b[0m"));
}

#[test]
fn no_signature_is_told_from_a_wrong_one() {
    let shown = block(
        &ReceivedRequest {
            signature: SignatureCheck::Missing,
            standard_signature: SignatureCheck::Wrong,
            ..received(b"{}")
        },
        false,
    );
    assert!(
        shown.contains("X-Webhook-Signature MISSING, webhook-signature WRONG"),
        "{shown}"
    );
}

#[test]
fn a_missing_header_is_told_from_a_wrong_signature() {
    for (check, words) in [
        (SignatureCheck::MissingId, "webhook-id is MISSING"),
        (SignatureCheck::MissingTimestamp, "webhook-timestamp is MISSING"),
        (
            SignatureCheck::MissingIdAndTimestamp,
            "webhook-id and webhook-timestamp are MISSING",
        ),
        (SignatureCheck::Old, "right, but OLD"),
        (SignatureCheck::Early, "right, but EARLY"),
    ] {
        let shown = block(
            &ReceivedRequest {
                standard_signature: check,
                ..received(b"{}")
            },
            false,
        );
        assert!(shown.contains(words) && !shown.contains("WRONG"), "{shown}");
    }
}

#[test]
fn a_sender_cannot_drive_the_terminal() {
    for body in [
        &b"\x1b]0;title\x07 \"\xc2\x9b31m\""[..],
        "a\u{202e}b".as_bytes(),
        "{\"a\u{2066}\": \"b\u{202e}\"}".as_bytes(),
    ] {
        let mut received = received(body);
        received.path = "/\u{202e}".to_owned();
        received.event = Some("\u{1b}[2J\u{202e}".to_owned());
        let value = axum::http::HeaderValue::from_bytes("x\u{202e}".as_bytes());
        received.headers.insert("x-own", value.expect("a value"));
        let shown = block(&received, false);
        let drives = |one: char| is_hidden(one) && one != '\n';
        assert!(!shown.contains(drives), "{shown:?}");
    }
}

//! Envelopes and what holds for every format.

use serde_json::{Value, json};

use super::*;

const NATIVE: &str = r#"{"site_id":"s","type":"custom","name":"n","visitor_id":"v","timestamp":1772020800000,"event_id":"inner"}"#;
/// 2026-02-25T13:00:00Z
const LATER: i64 = 1_772_024_400_000;
const STRUCTURED: HeaderRef<'static> = (
    b"content-type",
    Some(b"application/cloudevents+json; charset=utf-8"),
);

fn reader(format: SourceFormat) -> RecordReader {
    RecordReader::of(&Source {
        format,
        ..Source::default()
    })
}

fn envelope(data: Value) -> String {
    let mut envelope = json!({
        "specversion": "1.0", "id": "e-1", "source": "/producer", "type": "com.example.event",
        "time": "2026-02-25T13:00:00z",
    });
    envelope
        .as_object_mut()
        .expect("an object")
        .extend(data.as_object().expect("an object").clone());
    envelope.to_string()
}

fn native() -> Value {
    serde_json::from_str(NATIVE).expect("JSON")
}

fn assert_enveloped(read: Result<Event<'_>, NotAnEvent>, case: &str) {
    let event = read.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(
        (&*event.site_id, event.name.as_deref()),
        ("s", Some("n")),
        "{case}"
    );
    assert_eq!(event.timestamp_ms, Some(LATER), "{case}");
    assert_eq!(event.event_id.as_deref(), Some("/producer e-1"), "{case}");
}

#[test]
fn a_structured_cloud_event_is_opened_on_every_source() {
    let text = envelope(json!({"data": native()}));
    for format in [SourceFormat::Native, SourceFormat::Cloudevents] {
        assert_enveloped(
            reader(format).read(text.as_bytes(), &[STRUCTURED]),
            format.as_str(),
        );
    }
    for content_type in ["application/cloudevents", "APPLICATION/CloudEvents+JSON"] {
        let headers = [(&b"Content-Type"[..], Some(content_type.as_bytes()))];
        assert_enveloped(
            RecordReader::default().read(text.as_bytes(), &headers),
            content_type,
        );
    }
    // The source's format asks for an envelope, so no header needs to.
    assert_enveloped(
        reader(SourceFormat::Cloudevents).read(text.as_bytes(), &[]),
        "no header",
    );
    assert!(RecordReader::default().read(text.as_bytes(), &[]).is_err());
}

#[test]
fn data_of_a_cloud_event_may_be_a_text_or_base64() {
    use base64::Engine as _;
    let base64 = base64::prelude::BASE64_STANDARD.encode(NATIVE);
    for data in [json!({"data": NATIVE}), json!({"data_base64": base64})] {
        let text = envelope(data);
        assert_enveloped(
            RecordReader::default().read(text.as_bytes(), &[STRUCTURED]),
            &text,
        );
    }
}

#[test]
fn a_binary_cloud_event_has_its_attributes_in_headers() {
    let headers: [HeaderRef<'_>; 5] = [
        (b"ce_specversion", Some(b"1.0")),
        (b"ce_id", Some(b"e-1")),
        (b"ce_source", Some(b"/producer")),
        (b"ce_time", Some(b"2026-02-25T13:00:00Z")),
        (b"content-type", Some(b"application/json")),
    ];
    for format in [SourceFormat::Native, SourceFormat::Cloudevents] {
        assert_enveloped(reader(format).read(NATIVE.as_bytes(), &headers), format.as_str());
    }
}

#[test]
fn an_envelope_holds_the_sources_own_format() {
    let umami = json!({"website_id": "s", "session_id": "v", "event_type": 2, "event_name": "n", "created_at": "2026-01-01 00:00:00"});
    let text = envelope(json!({"data": umami}));
    assert_enveloped(
        reader(SourceFormat::Umami).read(text.as_bytes(), &[STRUCTURED]),
        "umami",
    );
}

#[test]
fn an_envelope_without_id_and_time_leaves_the_events_own() {
    let headers: [HeaderRef<'_>; 3] = [
        (b"ce_type", Some(b"t")),
        (b"ce_id", None),
        (b"traceparent", Some(b"\xff")),
    ];
    let event = RecordReader::default()
        .read(NATIVE.as_bytes(), &headers)
        .expect("an event");
    assert_eq!(
        (event.timestamp_ms, event.event_id.as_deref()),
        (Some(LATER - 3_600_000), Some("inner"))
    );
}

#[test]
fn a_long_id_of_an_envelope_is_hashed() {
    let source = format!("https://producer.example/{}", "x".repeat(200));
    let id = |id: &[u8]| {
        let headers: [HeaderRef<'_>; 2] = [(b"ce_id", Some(id)), (b"ce_source", Some(source.as_bytes()))];
        let event = RecordReader::default()
            .read(NATIVE.as_bytes(), &headers)
            .expect("an event");
        event.event_id.expect("an id").into_owned()
    };
    assert_eq!(id(b"1").len(), 64);
    assert_ne!(id(b"1"), id(b"2"));
}

#[test]
fn a_wrong_envelope_is_rejected_by_its_attribute() {
    let refused = |text: &str, headers: &[HeaderRef<'_>]| match RecordReader::default()
        .read(text.as_bytes(), headers)
    {
        Err(NotAnEvent::Rejected(reject)) => (reject.reason, reject.field),
        other => panic!("{other:?}"),
    };
    let bad = |field| (RejectReason::BadField, Some(field));
    assert_eq!(refused(NATIVE, &[(b"ce_time", Some(b"noon"))]), bad("ce_time"));
    assert_eq!(refused(NATIVE, &[(b"ce_id", Some(b"\xff"))]), bad("ce_id"));
    assert_eq!(
        refused(&envelope(json!({"data": native(), "time": 7})), &[STRUCTURED]),
        bad("ce_time")
    );
    assert_eq!(
        refused(&envelope(json!({"data": native(), "id": 7})), &[STRUCTURED]),
        bad("ce_id")
    );
    assert_eq!(
        refused(&envelope(json!({"data_base64": "!"})), &[STRUCTURED]),
        bad("data_base64")
    );
    let missing = (RejectReason::MissingField, Some("data"));
    assert_eq!(refused(&envelope(json!({})), &[STRUCTURED]), missing);
    assert_eq!(refused(&envelope(json!({"data": null})), &[STRUCTURED]), missing);
    let not_json = (RejectReason::NotJson, None);
    assert_eq!(refused("[]", &[STRUCTURED]), not_json);
    assert_eq!(refused("{", &[STRUCTURED]), not_json);
}

#[test]
fn half_a_surrogate_pair_in_an_envelope_is_replaced() {
    let text = envelope(json!({"data": native()})).replace("\"n\"", "\"n\\ud83d\"");
    let event = RecordReader::default()
        .read(text.as_bytes(), &[STRUCTURED])
        .expect("an event");
    assert_eq!(event.name.as_deref(), Some("n\u{fffd}"));
}

#[test]
fn a_record_that_names_no_site_is_the_sources() {
    let reader = RecordReader::of(&Source {
        site: Some("configured".to_owned()),
        ..Source::default()
    });
    for (record, site) in [
        (r#"{"type":"error"}"#, "configured"),
        (r#"{"site_id":"own","type":"error"}"#, "own"),
        (r#"{"site_id":"","type":"error","x":"\n"}"#, "configured"),
    ] {
        assert_eq!(
            reader.read(record.as_bytes(), &[]).expect("an event").site_id,
            site
        );
    }
}

#[test]
fn what_an_envelope_gives_is_not_checked_inside() {
    let given: [HeaderRef<'_>; 3] = [
        (b"ce_id", Some(b"e-1")),
        (b"ce_source", Some(b"/producer")),
        (b"ce_time", Some(b"2026-02-25T13:00:00Z")),
    ];
    for (name, wrong) in [
        ("timestamp", json!("noon")),
        ("timestamp", json!([])),
        ("timestamp", json!(1_772_020_800)),
        ("event_id", json!(7)),
        ("event_id", json!("x".repeat(129))),
    ] {
        let mut data = native();
        data[name] = wrong;
        let text = data.to_string();
        assert_enveloped(RecordReader::default().read(text.as_bytes(), &given), &text);
        let text = envelope(json!({"data": data}));
        assert_enveloped(
            RecordReader::default().read(text.as_bytes(), &[STRUCTURED]),
            &text,
        );
    }
    let mut data = native();
    data["event_id"] = json!(7);
    let text = data.to_string();
    let read = RecordReader::default().read(text.as_bytes(), &given[2..]);
    assert!(read.is_err(), "the envelope gives no id");
    let umami = json!({"website_id": "s", "session_id": "v", "event_type": 2, "event_name": "n", "created_at": {}, "event_id": []});
    let text = umami.to_string();
    assert_enveloped(reader(SourceFormat::Umami).read(text.as_bytes(), &given), "umami");
}

#[test]
fn inner_texts_are_read_as_kindly_as_records() {
    use base64::Engine as _;
    let strange = format!("\u{feff}{}", NATIVE.replace("\"n\"", "\"n\\ud83d\""));
    let base64 = base64::prelude::BASE64_STANDARD.encode(&strange);
    for data in [json!({"data": strange}), json!({"data_base64": base64})] {
        let text = envelope(data);
        let event = RecordReader::default()
            .read(text.as_bytes(), &[STRUCTURED])
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(event.name.as_deref(), Some("n\u{fffd}"));
    }
}

#[test]
fn an_envelope_is_told_by_its_key_and_by_nothing_inside() {
    let reader = reader(SourceFormat::Cloudevents);
    let plain = [
        NATIVE.replace("\"v\"", "\"v\",\"props\":{\"specversion\":\"1\"}"),
        NATIVE.replace("\"v\"", "\"v\",\"x\":\"\\\"specversion\\\"\""),
        NATIVE.replace("\"n\"", "\"specversion\""),
    ];
    for text in plain {
        let event = reader
            .read(text.as_bytes(), &[])
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(event.event_id.as_deref(), Some("inner"), "{text}");
    }
    let escaped = envelope(json!({"data": native()})).replace("specversion", "\\u0073pecversion");
    assert_enveloped(reader.read(escaped.as_bytes(), &[]), "an escaped key");
    let half = escaped.replace("\"type\":\"com.example.event\"", "\"ty\\ud83d\":1");
    assert_enveloped(reader.read(half.as_bytes(), &[]), "half a character in a key");
}

#[test]
fn nul_in_an_envelopes_id_is_refused() {
    for (name, field) in [("ce_id", "ce_id"), ("ce_source", "ce_source")] {
        let headers: [HeaderRef<'_>; 3] = [
            (b"ce_id", Some(b"1")),
            (b"ce_source", Some(b"/p")),
            (name.as_bytes(), Some(b"a\0b")),
        ];
        match RecordReader::default().read(NATIVE.as_bytes(), &headers) {
            Err(NotAnEvent::Rejected(reject)) => {
                assert_eq!(
                    (reject.reason, reject.field),
                    (RejectReason::BadField, Some(field))
                );
                assert_eq!(reject.site_id.as_deref(), Some("s"));
            }
            other => panic!("{other:?}"),
        }
    }
    let text = envelope(json!({"data": native(), "id": "a\u{0}b"}));
    assert!(
        RecordReader::default()
            .read(text.as_bytes(), &[STRUCTURED])
            .is_err()
    );
}

#[test]
fn a_number_beyond_doubles_is_no_broken_json() {
    let read = |text: &str| match RecordReader::default().read(text.as_bytes(), &[]) {
        Err(NotAnEvent::Rejected(reject)) => Err((reject.reason, reject.field, reject.site_id)),
        other => Ok(other.expect("an event").into_owned()),
    };
    let time = read(&NATIVE.replace("1772020800000", "1e400")).expect("it counts at its record's time");
    assert_eq!((time.timestamp_ms, time.wrong_unit.is_some()), (None, true));
    let name = read(&NATIVE.replace("\"n\"", "-1e400"));
    let site = Some("s".to_owned());
    assert_eq!(name, Err((RejectReason::BadField, Some("name"), site)));
}

#[test]
fn only_jsons_blanks_stand_around_a_record() {
    for blank in [" ", "\t", "\r\n"] {
        let text = format!("{blank}{NATIVE}{blank}");
        assert!(
            RecordReader::default().read(text.as_bytes(), &[]).is_ok(),
            "{blank:?}"
        );
    }
    for other in ["\u{c}", "\u{b}", "\u{a0}"] {
        for text in [format!("{other}{NATIVE}"), format!("{NATIVE}{other}")] {
            assert!(
                RecordReader::default().read(text.as_bytes(), &[]).is_err(),
                "{other:?}"
            );
        }
    }
}

#[test]
fn blanks_at_the_ends_of_a_path_are_cut() {
    for (path, cut) in [
        ("  https://shop.example/a?b", Some("/a")),
        (" https://shop.example", Some("/")),
        (" /a b", Some("/a b")),
        (" /a  ", Some("/a")),
        ("/a ?b", Some("/a")),
        ("https://shop.example ", Some("/")),
        ("/a\u{a0}", Some("/a\u{a0}")),
        ("  ", None),
        (" ?a", None),
    ] {
        let text = NATIVE.replace("\"v\"", &format!("\"v\",\"path\":\"{path}\""));
        let event = RecordReader::default()
            .read(text.as_bytes(), &[])
            .expect("an event");
        assert_eq!(event.path.as_deref(), cut, "{path}");
    }
}

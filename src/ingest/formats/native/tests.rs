use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::reject::NotAnEvent;
use crate::ingest::formats::{MAX_RECORD_BYTES, RecordReader};

fn read(bytes: &[u8]) -> Result<Event<'_>, Reject> {
    match RecordReader::default().read(bytes, &[]) {
        Err(NotAnEvent::Rejected(reject)) => Err(reject),
        read => Ok(read.expect("the native format ignores nothing")),
    }
}

fn full() -> Value {
    json!({
        "site_id": "example.com",
        "type": "goal",
        "name": "Signup",
        "visitor_id": "v-4711",
        "path": "/signup?plan=pro#top",
        "timestamp": "2026-02-25T12:00:00.250Z",
        "event_id": "e-1",
        "props": {"plan": "pro"},
        "source": "Hacker News",
        "revenue": {"amount": "12.50", "currency": "EUR"},
        "scroll_depth": "only looked at on engagement",
        "of another producer": {"deep": [[[1, 2.5, null, true]]]},
    })
}

fn with(field: &str, value: Value) -> Vec<u8> {
    let mut event = full();
    event[field] = value;
    event.to_string().into_bytes()
}

fn without(field: &str) -> Vec<u8> {
    let mut event = full();
    event.as_object_mut().expect("an object").remove(field);
    event.to_string().into_bytes()
}

fn refused(bytes: &[u8]) -> (RejectReason, Option<&'static str>) {
    let reject = read(bytes).expect_err("refused");
    assert!(!reject.detail.contains("v-4711"), "{}", reject.detail);
    (reject.reason, reject.field)
}

#[test]
fn a_detail_says_which_rule_the_field_must_follow() {
    for (field, value, rule) in [
        ("site_id", json!("a\u{7}"), "not contain control characters"),
        ("site_id", json!(".."), "not be `.` or `..`"),
        (
            "site_id",
            json!("a".repeat(256)),
            "have at most 255 bytes; this one has 256",
        ),
        ("type", json!(7), "be a string, not an integer"),
        ("visitor_id", json!("a\u{0}"), "not contain NUL"),
        ("path", json!("/a\u{7}"), "not contain control characters"),
        (
            "path",
            json!("/".repeat(2_001)),
            "have at most 2000 characters; this one has 2001",
        ),
        (
            "timestamp",
            json!("1969-12-31T23:59:59Z"),
            "lie between the years 1970 and 9999",
        ),
        ("props", json!([]), "be an object, not an array"),
        ("props", json!({"a": 1}), "have strings as values, not an integer"),
        ("historical", json!("yes"), "be true or false, not a string"),
    ] {
        let reject = read(&with(field, value)).expect_err(rule);
        assert_eq!(reject.detail, format!("`{field}` must {rule}"));
    }
}

#[test]
fn every_field_is_read() {
    let bytes = full().to_string().into_bytes();
    let event = read(&bytes).expect("valid");
    assert_eq!(
        event,
        Event {
            name: Some("Signup".into()),
            visitor_id: Some("v-4711".into()),
            path: Some("/signup".into()),
            timestamp_ms: Some(1_772_020_800_250),
            event_id: Some("e-1".into()),
            props: Texts::Read(vec![("plan".into(), "pro".into())]),
            source: Some("Hacker News".into()),
            revenue: Some(Revenue {
                amount: "12.50".into(),
                currency: "EUR".into()
            }),
            ..Event::new("example.com", EventKind::Goal)
        }
    );
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let bytes = full().to_string().into_bytes();
    let event = read(&bytes).expect("valid");
    assert!(matches!(event.site_id, Cow::Borrowed(_)));
    assert!(matches!(event.visitor_id, Some(Cow::Borrowed(_))));
    assert!(matches!(event.path, Some(Cow::Borrowed(_))));
    let escaped = with("visitor_id", json!("a\"b"));
    let event = read(&escaped).expect("valid");
    assert_eq!(event.visitor_id.as_deref(), Some("a\"b"));
}

#[test]
fn a_pageview_needs_no_more_than_site_type_and_visitor() {
    let event = read(br#"{"site_id":"s","type":"pageview","visitor_id":"v"}"#).expect("valid");
    assert_eq!(event.timestamp_ms, None);
    assert_eq!(event.path, None);
    for kind in ["engagement", "error"] {
        let text = format!(r#"{{"site_id":"s","type":"{kind}"}}"#);
        assert!(read(text.as_bytes()).is_ok(), "{kind}");
    }
}

#[test]
fn what_is_required_is_named_when_it_is_absent_null_or_empty() {
    for field in ["site_id", "type", "name"] {
        for bytes in [without(field), with(field, Value::Null), with(field, json!(""))] {
            assert_eq!(
                refused(&bytes),
                (RejectReason::MissingField, Some(field)),
                "{field}"
            );
        }
    }
    let pageview = br#"{"site_id":"s","type":"pageview","visitor_id":""}"#;
    assert_eq!(
        refused(pageview),
        (RejectReason::MissingField, Some("visitor_id"))
    );
}

#[test]
fn what_is_optional_may_be_absent_null_or_empty() {
    for field in [
        "visitor_id",
        "path",
        "timestamp",
        "event_id",
        "props",
        "source",
        "revenue",
    ] {
        assert!(read(&without(field)).is_ok(), "{field}");
        assert!(read(&with(field, Value::Null)).is_ok(), "{field}");
        if !matches!(field, "props" | "revenue") {
            assert!(read(&with(field, json!(""))).is_ok(), "{field}");
        }
    }
}

#[test]
fn every_limit_holds_to_the_letter() {
    for (field, limit) in [
        ("name", 120),
        ("visitor_id", 255),
        ("path", 2_000),
        ("event_id", 128),
        ("source", 255),
    ] {
        // Characters, not bytes.
        let longest = "é".repeat(limit);
        assert!(read(&with(field, json!(longest))).is_ok(), "{field}");
        assert_eq!(
            refused(&with(field, json!("é".repeat(limit + 1)))),
            (RejectReason::OverLimit, Some(field))
        );
    }
    assert!(read(&with("site_id", json!("é".repeat(127) + "x"))).is_ok());
    assert_eq!(
        refused(&with("site_id", json!("é".repeat(128)))),
        (RejectReason::OverLimit, Some("site_id"))
    );
    let props = |n: usize| {
        with(
            "props",
            (0..n)
                .map(|i| (format!("p{i}"), json!("v")))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        )
    };
    assert!(read(&props(30)).is_ok());
    assert_eq!(refused(&props(31)), (RejectReason::OverLimit, Some("props")));
    assert_eq!(refused(&props(500)), (RejectReason::OverLimit, Some("props")));
}

#[test]
fn query_and_fragment_are_cut_off_before_the_limit_is_looked_at() {
    for (path, read_as) in [
        ("/a?b=c", Some("/a")),
        ("/a#b", Some("/a")),
        ("/a#b?c", Some("/a")),
        ("?a=b", None),
        (&format!("/a?{}", "x".repeat(5_000)), Some("/a")),
        ("/a?line\nbreak", Some("/a")),
        ("/ä\"?x", Some("/ä\"")),
    ] {
        let bytes = with("path", json!(path));
        let event = read(&bytes).expect("valid");
        assert_eq!(event.path.as_deref(), read_as, "{path}");
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for (field, value) in [
        ("site_id", json!(7)),
        ("type", json!("purchase")),
        ("type", json!(["goal"])),
        ("name", json!({"first": "x"})),
        ("visitor_id", json!(4711)),
        ("path", json!(true)),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(true)),
        ("timestamp", json!({})),
        ("visitor_id", json!("v\u{0}")),
        ("historical", json!("yes")),
        ("props", json!([])),
        ("props", json!({"a": 1})),
        ("props", json!("a=b")),
        ("revenue", json!("12.50 EUR")),
        ("event_id", json!("a\u{0}b")),
        ("name", json!("a\u{85}b")),
        ("site_id", json!("a\nb")),
        ("source", json!("a\tb")),
        ("path", json!("/a\u{7f}")),
    ] {
        assert_eq!(
            refused(&with(field, value.clone())),
            (RejectReason::BadField, Some(field)),
            "{value}"
        );
    }
    assert_eq!(
        refused(&with("revenue", json!({"amount": 12.5, "currency": "EUR"}))),
        (RejectReason::BadField, Some("revenue.amount"))
    );
    assert_eq!(
        refused(&with("revenue", json!({"amount": "12.5"}))),
        (RejectReason::MissingField, Some("revenue.currency"))
    );
}

#[test]
fn a_timestamp_is_a_time_or_milliseconds() {
    for (value, ms) in [
        (json!(1_772_020_800_250_i64), 1_772_020_800_250),
        (json!("2026-02-25T13:00:00.25+01:00"), 1_772_020_800_250),
        (json!(1_772_020_800_250.75), 1_772_020_800_250),
        (json!("9999-12-31T23:59:59.999Z"), LAST_MS),
    ] {
        let bytes = with("timestamp", value);
        assert_eq!(read(&bytes).expect("valid").timestamp_ms, Some(ms));
    }
}

#[test]
fn a_time_in_another_unit_is_the_records_and_says_which() {
    use WrongTimeUnit::{Microseconds, Nanoseconds, Seconds};
    for (value, unit) in [
        (json!(1_772_020_800), Seconds),
        (json!(1_772_020_800.25), Seconds),
        (json!(0), Seconds),
        (json!(-1), Seconds),
        (json!(1_772_020_800_250_000_i64), Microseconds),
        (json!(1_772_020_800_250_000_000_i64), Nanoseconds),
        (json!(u64::MAX), Nanoseconds),
    ] {
        let bytes = with("timestamp", value);
        let event = read(&bytes).expect("valid");
        assert_eq!((event.timestamp_ms, event.wrong_unit), (None, Some(unit)));
    }
}

#[test]
fn a_back_dated_event_says_so() {
    for (value, is_one) in [(json!(true), true), (json!(false), false), (Value::Null, false)] {
        assert_eq!(
            read(&with("historical", value)).expect("valid").historical,
            is_one
        );
    }
}

#[test]
fn a_full_url_as_path_is_cut_to_its_path() {
    for (path, read_as) in [
        ("https://shop.example/pricing?plan=pro#top", "/pricing"),
        ("https://shop.example", "/"),
        ("https://shop.example?x=/y", "/"),
        ("HTTP://shop.example:8080/a/b", "/a/b"),
        ("android-app://com.example/home", "/home"),
        ("/go/https://shop.example/x", "/go/https://shop.example/x"),
        ("pricing", "pricing"),
        ("://x/y", "://x/y"),
        ("//shop.example/pricing?plan=pro", "/pricing"),
        (" //shop.example:8080/a//b", "/a//b"),
        // Such a path is one that a page has which was asked for with a slash too many.
        ("//pricing/yearly", "//pricing/yearly"),
        ("//pricing.html", "//pricing.html"),
        ("//v1.2/pricing", "//v1.2/pricing"),
        ("//a b.example/pricing", "//a b.example/pricing"),
        ("//", "//"),
        // `route` writes what it has cut, and that is cut again.
        ("https://shop.example//other.example/z", "/z"),
        ("https://shop.example//pricing/z", "//pricing/z"),
        ("//shop.example//other.example", "//other.example"),
    ] {
        let (plain, escaped) = (
            with("path", json!(path)),
            format!(
                r#"{{"site_id":"s","type":"error","path":{},"x":"\u0041"}}"#,
                json!(path).to_string().replace("ri", "\\u0072i")
            ),
        );
        assert_eq!(
            read(&plain).expect("valid").path.as_deref(),
            Some(read_as),
            "{path}"
        );
        assert_eq!(
            read(escaped.as_bytes()).expect("valid").path.as_deref(),
            Some(read_as),
            "{path}"
        );
    }
}

#[test]
fn half_a_surrogate_pair_becomes_the_replacement_character() {
    let record = br#"{"site_id":"s","type":"custom","name":"a\ud83d","visitor_id":"v\ude00","props":{"p\ud83d":"\ud83d\ude00"}}"#;
    let event = read(record).expect("valid");
    assert_eq!(event.name.as_deref(), Some("a\u{fffd}"));
    assert_eq!(event.visitor_id.as_deref(), Some("v\u{fffd}"));
    assert_eq!(event.props.get("p\u{fffd}"), Some("\u{1f600}"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let mut record = b"\xef\xbb\xbf".to_vec();
    record.extend(full().to_string().bytes());
    assert_eq!(read(&record), read(full().to_string().as_bytes()));
}

#[test]
fn times_in_the_forms_of_rfc_3339() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-02-25T12:00:00Z", Some(1_772_020_800_000)),
        ("2026-02-25T12:00:00.5Z", Some(1_772_020_800_500)),
        ("2026-02-25T12:00:00.123456789Z", Some(1_772_020_800_123)),
        ("2026-02-25T13:00:00+01:00", Some(1_772_020_800_000)),
        ("2026-02-25t12:00:00z", Some(1_772_020_800_000)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
        ("2023-02-29T00:00:00Z", None),
        ("2026-02-25T24:00:00Z", None),
        ("2026-02-25T12:00:00", None),
        ("2026-02-25", None),
        ("2026-02-25T12:00:00.Z", None),
        ("2026-02-25T12:00:00.12x4Z", None),
        ("1772020800000", None),
        ("", None),
    ] {
        let value = Loose::Text(text.into());
        assert_eq!(timestamp(&value).unwrap_or_default().0, ms, "{text}");
    }
}

#[test]
fn scroll_depth_is_a_percentage_of_engagement_events() {
    let engagement = |depth: Value| {
        json!({"site_id": "s", "type": "engagement", "path": "/a", "scroll_depth": depth})
            .to_string()
            .into_bytes()
    };
    for (depth, read_as) in [
        (json!(0), Some(0)),
        (json!(100), Some(100)),
        (json!(37.9), Some(37)),
        (Value::Null, None),
    ] {
        assert_eq!(read(&engagement(depth)).expect("valid").scroll_depth, read_as);
    }
    for depth in [
        json!(-1),
        json!(101),
        json!(255),
        json!(100.5),
        json!("37"),
        json!([]),
    ] {
        assert_eq!(
            refused(&engagement(depth)),
            (RejectReason::BadField, Some("scroll_depth"))
        );
    }
}

#[test]
fn what_is_not_one_json_object_is_not_json() {
    for bytes in [
        b"".as_slice(),
        b"{",
        b"null",
        b"[]",
        br#"[{"site_id":"s","type":"error"}]"#,
        b"\"v-4711\"",
        b"42",
        b"true",
        br#"{"site_id":"s","type":"error"} {}"#,
        br#"{"site_id":"s","type":"error",}"#,
        b"\xef\xbb\xbf",
        b"{\"site_id\":\"a\0\"}",
    ] {
        assert_eq!(refused(bytes), (RejectReason::NotJson, None), "{bytes:?}");
    }
    // Also in a field that is skipped.
    assert_eq!(
        refused(b"{\"site_id\":\"s\",\"type\":\"error\",\"x\":\"\xff\"}"),
        (RejectReason::NotUtf8, None)
    );
}

#[test]
fn deep_nesting_is_skipped_without_recursion() {
    let deep = format!(
        r#"{{"site_id":"s","type":"error","x":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    assert!(read(deep.as_bytes()).is_ok());
    let wrong = deep.replace("\"x\"", "\"name\"");
    assert_eq!(refused(wrong.as_bytes()), (RejectReason::BadField, Some("name")));
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let event =
        read(br#"{"site_id":"a","site_id":"b","type":"error","props":{"x":"1","y":"2","x":"3","y":null}}"#)
            .expect("valid");
    assert_eq!(event.site_id, "b");
    assert_eq!(event.props, Texts::Read(vec![("x".into(), "3".into())]));
}

#[test]
fn more_than_a_mebibyte_is_too_large() {
    let mut bytes = full().to_string().into_bytes();
    bytes.resize(MAX_RECORD_BYTES, b' ');
    assert!(read(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(refused(&bytes), (RejectReason::TooLarge, None));
}

#[test]
fn a_reject_names_the_site_as_soon_as_it_is_known() {
    let reject = read(&with("timestamp", json!("x"))).expect_err("refused");
    assert_eq!(reject.site_id.as_deref(), Some("example.com"));
    let reject = read(&with("site_id", json!("a\u{0}"))).expect_err("refused");
    assert_eq!(reject.site_id, None);
}

/// Checks what a valid event guarantees to its readers.
fn assert_within_limits(event: &Event<'_>) {
    assert!((1..=255).contains(&event.site_id.len()));
    for (text, max) in [
        (&event.name, 120),
        (&event.visitor_id, 255),
        (&event.path, 2_000),
        (&event.event_id, 128),
        (&event.source, 255),
    ] {
        if let Some(text) = text {
            assert!(!text.is_empty() && text.chars().count() <= max);
        }
    }
    for text in [&event.name, &event.path, &event.event_id, &event.source]
        .into_iter()
        .flatten()
    {
        assert!(!text.chars().any(char::is_control));
    }
    assert!(event.props.by_name().len() <= 30);
    assert!(event.scroll_depth.is_none_or(|depth| depth <= 100));
    assert!(event.timestamp_ms.is_none_or(|ms| (0..=LAST_MS).contains(&ms)));
}

/// Objects of texts, as `props` and `revenue` mostly are.
fn texts() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[a-c]{0,2}",
        Just("amount".to_owned()),
        Just("currency".to_owned())
    ];
    let entry =
        (name, "[a-zé\u{0}0-9.]{0,40}").prop_map(|(name, text)| format!("{}: {}", json!(name), json!(text)));
    proptest::collection::vec(entry, 0..5).prop_map(|entries| format!("{{{}}}", entries.join(",")))
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,300}".prop_map(Value::from),
        "[a-z@?#/\u{0}-\u{1f}]{0,20}".prop_map(Value::from),
        Just(json!([1, {"a": "b"}])),
        Just(json!({"amount": "1", "currency": 7})),
    ]
}

proptest! {
    #[test]
    fn plain_records_read_as_they_do_in_general(
        fields in proptest::collection::vec((
            prop_oneof![
                4 => proptest::sample::select(vec![
                    "site_id", "type", "name", "visitor_id", "path", "timestamp", "event_id", "source", "scroll_depth",
                ]).prop_map(str::to_owned),
                2 => proptest::sample::select(vec!["props", "revenue", "other"]).prop_map(str::to_owned),
            ],
            prop_oneof![
                2 => texts(),
                6 => "[a-z/?#]{0,12}".prop_map(|text| json!(text).to_string()),
                2 => proptest::sample::select(vec!["goal", "pageview", "engagement"]).prop_map(|kind| json!(kind).to_string()),
                2 => (0_i64..200).prop_map(|number| number.to_string()),
                1 => odd_value().prop_map(|value| value.to_string()),
            ],
        ), 0..12),
    ) {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let text = format!("{{{}}}", fields.join(","));
        let mut fields = RecordFields::default();
        let parsed = parse_fields(&text).and_then(|mut fields| check_fields(&mut fields, None));
        if scan_fields(&text, &mut fields).is_some() {
            prop_assert_eq!(check_fields(&mut fields, None), parsed.clone());
        }
        prop_assert_eq!(read(text.as_bytes()), parsed);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(event) = read(&bytes) {
            assert_within_limits(&event);
        }
    }

    #[test]
    fn no_change_of_a_valid_event_panics(
        field in proptest::sample::select(vec![
            "site_id", "type", "name", "visitor_id", "path", "timestamp", "event_id", "props", "source", "revenue",
            "scroll_depth", "else",
        ]),
        value in odd_value(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let whole = with(field, value);
        if let Ok(event) = read(&whole) {
            assert_within_limits(&event);
        }
        let mut flipped = whole.clone();
        flipped[at.index(whole.len())] = byte;
        match read(&flipped) {
            Ok(event) => assert_within_limits(&event),
            Err(reject) => prop_assert!(!reject.detail.contains("4711")),
        }
        prop_assert!(read(&whole[..cut.index(whole.len())]).is_err());
    }
}

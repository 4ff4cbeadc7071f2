//! The schema of source events against the decoder, with values at the borders of their rules.

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use super::contracts::document;
use crate::domain::event::EventKind;
use crate::ingest::formats::RecordReader;

fn validator() -> Validator {
    jsonschema::validator_for(&document("source-event.schema.json")).expect("a schema")
}

fn is_read(event: &Value) -> bool {
    let texts = [event.to_string(), format!("{event:#}")];
    let [scanned, parsed] = texts.map(|text| RecordReader::default().read(text.as_bytes(), &[]).is_ok());
    assert_eq!(scanned, parsed, "{event}");
    scanned
}

/// Characters that some rule may treat apart.
const ODD: [&str; 14] = [
    "",
    "\0",
    "\t",
    "\u{1f}",
    "\u{7f}",
    "\u{80}",
    "\u{9f}",
    "\u{a0}",
    "\u{2028}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "\\",
    "\"",
];

/// Texts of about `max` characters, with something odd at an end.
fn texts(max: usize) -> impl Strategy<Value = String> {
    let filler = select(vec!["a", "é", "日", "🦌", " "]);
    let length = select(vec![0, 1, max / 4, max - 1, max, max + 1]);
    (filler, length, select(ODD.to_vec()), any::<bool>()).prop_map(|(filler, length, odd, first)| {
        let text = filler.repeat(length);
        if first {
            format!("{odd}{text}")
        } else {
            format!("{text}{odd}")
        }
    })
}

/// Values of a wrong type, or of none.
fn others() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!(""),
        json!(true),
        json!(0),
        json!(-0.5),
        json!(1e300),
        json!([]),
        json!(["a"]),
        json!({}),
        json!({"a": 1}),
    ])
}

fn paths() -> impl Strategy<Value = Value> {
    let begin = select(vec![
        "",
        "/",
        "  ",
        "  /",
        "//a/",
        "//shop.example/",
        "//shop.example",
        "//shop.example:8\u{1}0/x",
        "//shop.e/",
        "https://shop.example",
        "https://shop.example/",
        "  https://shop.example/a",
        "https://a\u{7}b/",
        "h\u{7}ttps://a/",
        "1https://a/",
        "/https://a\u{7}b/",
        "a b://c\u{7}d/",
    ]);
    let end = select(vec!["", "?", "#", "?a\u{7}b\0", "#\n"]);
    let whole = (begin, texts(2_000), end);
    whole.prop_map(|(begin, text, end)| json!(format!("{begin}{text}{end}")))
}

fn times() -> impl Strategy<Value = Value> {
    let begin = select(vec![
        "1969-12-31",
        "1970-01-01",
        "2026-02-29",
        "2024-02-29",
        "2026-02-28",
        "2026-04-31",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026-01-32",
        "9999-12-31",
        "10000-01-01",
        "+2026-01-01",
        "2026-1-01",
        "20260101",
    ]);
    let middle = select(vec![
        "T00:00:00",
        "t23:59:59",
        " 12:00:00",
        "_12:00:00",
        "T24:00:00",
        "T12:60:00",
        "T12:00:60",
        "T12:00:61",
        "T12:00",
        "T1200:00",
        "",
    ]);
    let fraction = select(vec![
        "",
        ".",
        ",",
        ".0",
        ",123",
        ".123456789",
        ".1234567891",
        ".x",
    ]);
    let end = select(vec![
        "", "Z", "z", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+00:60", "+0100", "-0130", "+01",
        "+1", "+1:00", "X", "UTC", "Z ", " \t", "Z\u{a0}", "Z\u{b}", "ZZ",
    ]);
    let written = (begin, middle, fraction, end)
        .prop_map(|(day, time, fraction, end)| format!("{day}{time}{fraction}{end}"))
        .prop_filter("a day of the calendar, in 1970 or later", |text| {
            !is_beyond_the_schema(text)
        });
    let numbers = select(vec![
        json!(-1),
        json!(0),
        json!(1.5),
        json!(-1e300),
        json!(99_999_999_999_u64),
        json!(100_000_000_000_001_u64),
        json!(253_402_300_800_000_u64),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
    ]);
    let long = (select(vec!["Z", "+00:00", "+0000", "+00"]), 36..46_usize)
        .prop_map(|(end, digits)| json!(format!("2026-02-25T12:00:00.{}{end}", "1".repeat(digits))));
    prop_oneof![4 => written.prop_map(Value::from), 1 => numbers, 1 => long]
}

/// True for the times that the description of the schema names as beyond it.
fn is_beyond_the_schema(text: &str) -> bool {
    let offset = text.get(10..).unwrap_or_default();
    let is_utc = !offset.contains(['+', '-']) || ["+00:00", "-00:00"].iter().any(|utc| offset.contains(utc));
    let is_border = ["1969-12-31", "1970-01-01", "9999-12-31"]
        .iter()
        .any(|day| text.starts_with(day));
    is_border && !is_utc || text.starts_with("2026-02-29")
}

fn props() -> impl Strategy<Value = Value> {
    let count = select(vec![0, 1, 29, 30, 31]);
    let value = select(vec![
        json!(""),
        json!("x"),
        json!("a\0"),
        json!("a\u{1f}b"),
        json!(1),
        json!(false),
        json!([]),
        json!({}),
        json!("é".repeat(3_000)),
    ]);
    let name = select(vec!["", "p1", "a\0b", "\u{7f}", "name"]);
    (count, name, value).prop_map(|(count, name, value)| {
        let mut props: Map<String, Value> = (0..count).map(|n| (format!("p{n}"), json!("x"))).collect();
        props.insert(name.to_owned(), value);
        Value::Object(props)
    })
}

fn revenues() -> impl Strategy<Value = Value> {
    let part = || prop_oneof![3 => texts(32).prop_map(Value::from), 1 => others()];
    (part(), part()).prop_map(|(amount, currency)| json!({"amount": amount, "currency": currency, "more": 1}))
}

/// A field with a value at the border of its rule.
fn fields() -> impl Strategy<Value = (&'static str, Value)> {
    let of = |name: &'static str, max: usize| texts(max).prop_map(move |text| (name, json!(text)));
    let any_other = (select(crate::ingest::formats::FIELDS.to_vec()), others());
    let depths = select(vec![
        json!(0),
        json!(-1),
        json!(100),
        json!(101),
        json!(99.9),
        json!(100.1),
        json!(1e9),
        json!("50"),
    ]);
    let kinds = select([EventKind::WORDS, &["Pageview", " goal", "test"]].concat());
    prop_oneof![
        of("site_id", 255),
        select(vec![".", "..", "...", "a/b"]).prop_map(|text| ("site_id", json!(text))),
        of("name", 120),
        of("visitor_id", 255),
        of("event_id", 128),
        of("source", 255),
        paths().prop_map(|value| ("path", value)),
        times().prop_map(|value| ("timestamp", value)),
        props().prop_map(|value| ("props", value)),
        revenues().prop_map(|value| ("revenue", value)),
        depths.prop_map(|value| ("scroll_depth", value)),
        kinds.prop_map(|text| ("type", json!(text))),
        any_other,
    ]
}

/// Events with one or two such fields, all others plain or missing.
fn events() -> impl Strategy<Value = Value> {
    let kind = select(EventKind::WORDS.to_vec());
    (kind, any::<bool>(), proptest::collection::vec(fields(), 1..3)).prop_map(|(kind, is_full, odd)| {
        let mut event = json!({"site_id": "shop.example", "type": kind});
        if is_full {
            event["name"] = json!("signup");
            event["visitor_id"] = json!("v1");
        }
        for (name, value) in odd {
            event[name] = value;
        }
        event
    })
}

#[test]
fn the_schema_takes_the_source_events_that_are_read() {
    let validator = validator();
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(4_000)
    });
    let compared = runner.run(&events(), |event| {
        // Bytes, which JSON Schema does not count.
        let is_too_long = event["site_id"].as_str().is_some_and(|id| id.len() > 255);
        prop_assert_eq!(
            is_read(&event),
            validator.is_valid(&event) && !is_too_long,
            "{}",
            event
        );
        Ok(())
    });
    compared.unwrap();
}

#[test]
fn the_schema_names_what_it_cannot_say() {
    let schema = document("source-event.schema.json");
    let description = schema["description"].as_str().expect("a text");
    let (_, beyond) = description
        .split_once("Not said by this schema: ")
        .expect("a list");
    let validator = validator();
    let with = |field: &str, value: Value| {
        let mut event = json!({"site_id": "s", "type": "error"});
        event[field] = value;
        event
    };
    let mut many: Map<String, Value> = (0..30).map(|n| (format!("p{n}"), json!("x"))).collect();
    many.insert("a".to_owned(), Value::Null);
    for (words, event) in [
        ("at most 255 bytes", with("site_id", json!("é".repeat(200)))),
        (
            "a day of the calendar",
            with("timestamp", json!("2026-02-29T12:00:00Z")),
        ),
        (
            "from 1970 on",
            with("timestamp", json!("1970-01-01T00:00:00+01:00")),
        ),
        (
            "without leading zeros",
            with("timestamp", json!("2026-02-25T1:2:3Z")),
        ),
        ("do not count among the 30", with("props", Value::Object(many))),
    ] {
        assert!(beyond.contains(words), "{words}");
        assert_ne!(is_read(&event), validator.is_valid(&event), "{event}");
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Source, SourceFormat};
use crate::ingest::formats::RecordReader;

/// 2026-05-14T22:05:34Z
const AT: i64 = 1_778_796_334_000;

const UMAMI: &str = r#"{"website_id":"5e9c0f1e-0000-4000-8000-000000000001","session_id":"c1a70000-0000-5000-8000-000000000002","visit_id":"9b200000-0000-5000-8000-000000000003","event_id":"0c440000-0000-4000-8000-000000000004","country":"DE","url_path":"/checkout/thanks","url_query":"","utm_source":null,"referrer_domain":"news.ycombinator.com","referrer_path":"/item","event_type":2,"event_name":"purchase","created_at":"2026-05-14 22:05:34","browser":"firefox","os":"Linux","device":"desktop","hostname":"shop.example"}"#;
pub(super) const PLAUSIBLE: &str = r#"{"site_id":"42","name":"pageview","hostname":"shop.example","pathname":"/blog/a","user_id":"1234567890123456789","session_id":"987","timestamp":"2026-05-14 22:05:34","meta_key":["author"],"meta_value":["uku"],"scroll_depth":255,"referrer_source":"Hacker News","country_code":"DE","revenue_amount":null,"revenue_currency":"\u0000\u0000\u0000"}"#;
pub(super) const POSTHOG: &str = r#"{"uuid":"01900000-0000-7000-8000-000000000000","team_id":2,"event":"$pageview","distinct_id":"anon-1","person_id":"01900000-0000-7000-8000-000000000001","timestamp":"2026-05-14 22:05:34.123000","created_at":"2026-05-14 22:05:34.900000","properties":"{\"$current_url\":\"https://shop.example/blog/a\",\"$pathname\":\"/blog/a\",\"$host\":\"shop.example\",\"$referring_domain\":\"t.co\"}","person_mode":"full"}"#;
pub(super) const PAGE: &str = r#"{"type":"page","messageId":"m-1","anonymousId":"a-1","userId":null,"originalTimestamp":"2026-05-14T22:05:34.123Z","receivedAt":"2026-05-14T22:05:35.001Z","context":{"page":{"path":"/blog/a","url":"https://shop.example/blog/a","referrer":"https://t.co/x"}},"properties":{"path":"/blog/a"}}"#;
pub(super) const TRACK: &str = r#"{"type":"track","event":"Order Completed","messageId":"m-2","anonymousId":"a-1","properties":{"revenue":25.0,"currency":"USD"},"originalTimestamp":"2026-05-14T22:06:00.000Z","context":{"page":{"path":"/checkout"}}}"#;

pub(super) fn reader(format: SourceFormat, site: Option<&str>) -> RecordReader {
    RecordReader::of(&Source {
        format,
        site: site.map(str::to_owned),
        ..Source::default()
    })
}

pub(super) fn read(format: SourceFormat, record: &str) -> Event<'static> {
    let read = reader(format, None).read(record.as_bytes(), &[]);
    read.map(Event::into_owned)
        .unwrap_or_else(|error| panic!("{error}: {record}"))
}

/// A record with some of its top-level fields changed.
pub(super) fn with(record: &str, changes: Value) -> String {
    let mut record: Value = serde_json::from_str(record).expect("JSON");
    for (name, value) in changes.as_object().expect("an object") {
        record[name] = value.clone();
    }
    record.to_string()
}

pub(super) fn refused(reader: &RecordReader, record: &str) -> (RejectReason, Option<&'static str>, String) {
    match reader.read(record.as_bytes(), &[]) {
        Err(NotAnEvent::Rejected(reject)) => (reject.reason, reject.field, reject.detail),
        other => panic!("{other:?}: {record}"),
    }
}

pub(super) fn texts(pairs: &[(&'static str, &'static str)]) -> Texts<'static> {
    Texts::Read(
        pairs
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect(),
    )
}

#[test]
fn umami_is_read() {
    assert_eq!(
        read(SourceFormat::Umami, UMAMI),
        Event {
            name: Some("purchase".into()),
            visitor_id: Some("c1a70000-0000-5000-8000-000000000002".into()),
            path: Some("/checkout/thanks".into()),
            timestamp_ms: Some(AT),
            event_id: Some("0c440000-0000-4000-8000-000000000004".into()),
            source: Some("news.ycombinator.com".into()),
            ..Event::new("5e9c0f1e-0000-4000-8000-000000000001", EventKind::Custom)
        }
    );
}

#[test]
fn umamis_event_types_mean_what_its_code_says() {
    for (number, kind) in [
        (1, EventKind::Pageview),
        (2, EventKind::Custom),
        (3, EventKind::Engagement),
        (4, EventKind::Engagement),
        (5, EventKind::Engagement),
    ] {
        let event = read(SourceFormat::Umami, &with(UMAMI, json!({"event_type": number})));
        assert_eq!(event.kind, kind, "{number}");
        assert_eq!(event.name.is_some(), number == 2);
        assert_eq!(event.scroll_depth, None);
    }
    let reader = reader(SourceFormat::Umami, None);
    let unknown = refused(&reader, &with(UMAMI, json!({"event_type": 6})));
    assert_eq!((unknown.0, unknown.1), (RejectReason::BadField, Some("type")));
    let nameless = refused(&reader, &with(UMAMI, json!({"event_name": null})));
    assert_eq!(
        (nameless.0, nameless.1),
        (RejectReason::MissingField, Some("name"))
    );
    let event = read(
        SourceFormat::Umami,
        &with(UMAMI, json!({"url_path": "/a#top", "utm_source": "mail"})),
    );
    assert_eq!(
        (event.path.as_deref(), event.source.as_deref()),
        (Some("/a"), Some("mail"))
    );
}

#[test]
fn plausible_is_read() {
    let event = read(SourceFormat::Plausible, PLAUSIBLE);
    let id = event.event_id.clone().expect("an id by hash");
    assert_eq!(id.len(), 32);
    assert_eq!(
        event,
        Event {
            visitor_id: Some("987".into()),
            path: Some("/blog/a".into()),
            timestamp_ms: Some(AT),
            event_id: Some(id),
            source: Some("Hacker News".into()),
            props: texts(&[("author", "uku")]),
            ..Event::new("42", EventKind::Pageview)
        }
    );
}

#[test]
fn plausibles_numbers_keep_all_digits_in_both_forms() {
    let as_texts = read(
        SourceFormat::Plausible,
        &with(PLAUSIBLE, json!({"session_id": "18446744073709551615"})),
    );
    let as_numbers = read(
        SourceFormat::Plausible,
        &with(
            PLAUSIBLE,
            json!({"session_id": u64::MAX, "site_id": 42, "user_id": 1_234_567_890_123_456_789_u64}),
        ),
    );
    assert_eq!(as_texts, as_numbers);
    assert_eq!(as_numbers.visitor_id.as_deref(), Some("18446744073709551615"));
    for session in [json!(null), json!(0), json!("0"), json!("")] {
        let event = read(
            SourceFormat::Plausible,
            &with(PLAUSIBLE, json!({"session_id": session})),
        );
        assert_eq!(event.visitor_id.as_deref(), Some("1234567890123456789"));
    }
    let huge = PLAUSIBLE.replace("\"987\"", "98765432109876543210987");
    let refused = refused(&reader(SourceFormat::Plausible, None), &huge);
    assert_eq!(
        (refused.0, refused.1),
        (RejectReason::BadField, Some("visitor_id"))
    );
}

#[test]
fn plausibles_engagement_has_a_depth_unless_it_is_255() {
    for (depth, read_as) in [
        (json!(255), None),
        (json!("255"), None),
        (json!(0), Some(0)),
        (json!(80), Some(80)),
    ] {
        let record = with(PLAUSIBLE, json!({"name": "engagement", "scroll_depth": depth}));
        let event = read(SourceFormat::Plausible, &record);
        assert_eq!(
            (event.kind, event.scroll_depth),
            (EventKind::Engagement, read_as),
            "{record}"
        );
    }
}

#[test]
fn plausibles_other_names_are_custom_events_with_revenue() {
    let record = with(
        PLAUSIBLE,
        json!({
            "name": "Purchase", "revenue_amount": "12.500", "revenue_currency": "EUR\u{0}",
            "meta_key": ["a", "b", "c"], "meta_value": ["1", "2"],
        }),
    );
    let event = read(SourceFormat::Plausible, &record);
    assert_eq!(
        (event.kind, event.name.as_deref()),
        (EventKind::Custom, Some("Purchase"))
    );
    let revenue = event.revenue.expect("a revenue");
    assert_eq!((&*revenue.amount, &*revenue.currency), ("12.500", "EUR"));
    assert_eq!(event.props, texts(&[("a", "1"), ("b", "2")]));
    let dotted = record
        .replace("meta_key", "meta.key")
        .replace("meta_value", "meta.value");
    assert_eq!(read(SourceFormat::Plausible, &dotted).props, event.props);
}

#[test]
fn plausibles_equal_events_of_a_second_share_an_id() {
    let id = |changes| read(SourceFormat::Plausible, &with(PLAUSIBLE, changes)).event_id;
    let same = id(json!({}));
    assert_eq!(id(json!({"referrer_source": "else", "session_id": "1"})), same);
    for changes in [
        json!({"site_id": "43"}),
        json!({"user_id": "2"}),
        json!({"timestamp": "2026-05-14 22:05:35"}),
        json!({"name": "Signup"}),
        json!({"pathname": "/"}),
    ] {
        assert_ne!(id(changes), same);
    }
}

#[test]
fn posthog_is_read() {
    let record = with(POSTHOG, json!({"historical_migration": true}));
    let expected = Event {
        visitor_id: Some("01900000-0000-7000-8000-000000000001".into()),
        path: Some("/blog/a".into()),
        timestamp_ms: Some(AT + 123),
        event_id: Some("01900000-0000-7000-8000-000000000000".into()),
        source: Some("t.co".into()),
        historical: false,
        ..Event::new("2", EventKind::Pageview)
    };
    assert_eq!(read(SourceFormat::Posthog, POSTHOG), expected);
    let historical = Event {
        historical: true,
        ..expected
    };
    assert_eq!(read(SourceFormat::Posthog, &record), historical);
}

#[test]
fn posthogs_properties_are_json_in_a_string() {
    let event = |properties: &str| {
        let changes = json!({"event": "bought", "person_id": "", "properties": properties});
        read(SourceFormat::Posthog, &with(POSTHOG, changes))
    };
    let bought = event(r#"{"plan":"pro","seats":3,"$lib":"web","gift":true,"$referring_domain":"$direct"}"#);
    assert_eq!(
        (bought.kind, bought.name.as_deref()),
        (EventKind::Custom, Some("bought"))
    );
    assert_eq!(bought.visitor_id.as_deref(), Some("anon-1"));
    assert_eq!(
        bought.props,
        texts(&[("plan", "pro"), ("seats", "3"), ("gift", "true")])
    );
    assert_eq!((bought.path, bought.source), (None, None));
    let url = event(r#"{"$current_url":"https://shop.example/b?x=1"}"#);
    assert_eq!(url.path.as_deref(), Some("/b"));
    let half = event(r#"{"plan":"a\ud83d"}"#);
    assert_eq!(half.props.get("plan"), Some("a\u{fffd}"));
    assert_eq!(event("").props, Texts::default());
    let leave = with(POSTHOG, json!({"event": "$pageleave"}));
    assert_eq!(read(SourceFormat::Posthog, &leave).kind, EventKind::Engagement);
    let wrong = with(POSTHOG, json!({"properties": "{"}));
    let wrong = refused(&reader(SourceFormat::Posthog, None), &wrong);
    assert_eq!((wrong.0, wrong.1), (RejectReason::BadField, Some("properties")));
}

#[test]
fn segment_is_read() {
    assert_eq!(
        read(SourceFormat::Segment, PAGE),
        Event {
            visitor_id: Some("a-1".into()),
            path: Some("/blog/a".into()),
            timestamp_ms: Some(AT + 123),
            event_id: Some("m-1".into()),
            source: Some("t.co".into()),
            props: texts(&[("path", "/blog/a")]),
            ..Event::new("shop.example", EventKind::Pageview)
        }
    );
    let track = reader(SourceFormat::Segment, Some("shop.example"));
    assert_eq!(
        track.read(TRACK.as_bytes(), &[]),
        Ok(Event {
            name: Some("Order Completed".into()),
            visitor_id: Some("a-1".into()),
            path: Some("/checkout".into()),
            timestamp_ms: Some(AT + 26_000),
            event_id: Some("m-2".into()),
            props: texts(&[("currency", "USD"), ("revenue", "25.0")]),
            revenue: Some(Revenue {
                amount: "25.0".into(),
                currency: "USD".into(),
            }),
            ..Event::new("shop.example", EventKind::Custom)
        })
    );
    let nowhere = refused(&reader(SourceFormat::Segment, None), TRACK);
    assert_eq!(
        (nowhere.0, nowhere.1),
        (RejectReason::MissingField, Some("site_id"))
    );
    assert!(nowhere.2.contains("/writeKey"), "{}", nowhere.2);
}

#[test]
fn segments_calls_about_persons_are_ignored() {
    let reader = reader(SourceFormat::Segment, None);
    for kind in ["identify", "group", "alias"] {
        let record = format!(r#"{{"type":"{kind}","userId":"u"}}"#);
        assert_eq!(
            reader.read(record.as_bytes(), &[]),
            Err(NotAnEvent::Ignored),
            "{kind}"
        );
    }
    let unknown = refused(&reader, &with(PAGE, json!({"type": "merge"})));
    assert_eq!((unknown.0, unknown.1), (RejectReason::BadField, Some("type")));
}

#[test]
fn segments_site_is_the_write_key_the_pages_host_or_the_sources() {
    let site = |record: &str| {
        let reader = reader(SourceFormat::Segment, Some("configured"));
        reader
            .read(record.as_bytes(), &[])
            .expect("an event")
            .site_id
            .into_owned()
    };
    assert_eq!(site(&with(PAGE, json!({"writeKey": "k"}))), "k");
    assert_eq!(site(PAGE), "shop.example");
    assert_eq!(
        site(&with(PAGE, json!({"context": {"page": {"host": "h.example"}}}))),
        "h.example"
    );
    assert_eq!(site(&with(PAGE, json!({"context": {}}))), "configured");
}

#[test]
fn segments_clock_is_corrected_by_the_time_it_was_sent_at() {
    let at = |changes| read(SourceFormat::Segment, &with(PAGE, changes)).timestamp_ms;
    // The sender's clock is ten minutes slow.
    assert_eq!(
        at(json!({"sentAt": "2026-05-14T21:55:35.001Z"})),
        Some(AT + 123 + 600_000)
    );
    assert_eq!(at(json!({"sentAt": "soon"})), Some(AT + 123));
    let other = json!({"originalTimestamp": null, "timestamp": "2026-05-14T22:05:34Z", "sentAt": "2026-05-14T21:55:35.001Z"});
    assert_eq!(at(other), Some(AT));
}

#[test]
fn jitsus_wrapper_is_taken_off() {
    let call: Value = serde_json::from_str(PAGE).expect("JSON");
    let wrapped = |call: Value, more: Value| {
        let wrapper = json!({"ingestType": "browser", "messageId": "w-1", "origin": {"domain": "data.example"}, "httpPayload": call});
        read(SourceFormat::Segment, &with(&wrapper.to_string(), more))
    };
    assert_eq!(
        wrapped(call.clone(), json!({})),
        read(SourceFormat::Segment, PAGE)
    );
    assert_eq!(wrapped(call, json!({"writeKey": "k"})).site_id, "k");
    let bare = json!({"type": "page", "anonymousId": "a"});
    let event = wrapped(bare, json!({}));
    assert_eq!(
        (&*event.site_id, event.event_id.as_deref()),
        ("data.example", Some("w-1"))
    );
}

#[test]
fn a_referrer_within_the_site_is_no_source() {
    let page = json!({"page": {"path": "/b", "url": "https://shop.example/b", "referrer": "https://shop.example/a"}});
    assert_eq!(
        read(SourceFormat::Segment, &with(PAGE, json!({"context": page}))).source,
        None
    );
}

fn mapped(mapping: Value) -> RecordReader {
    let mapping: SourceMapping = serde_json::from_value(mapping).expect("a mapping");
    RecordReader::of(&Source {
        format: SourceFormat::Mapped,
        mapping: Some(mapping),
        ..Source::default()
    })
}

#[test]
fn a_configured_mapping_finds_every_field() {
    let reader = mapped(json!({
        "site_id": "/site/0", "visitor_id": "/who/a~1b", "type": "/t", "name": "/n", "path": "/where",
        "timestamp": "/at", "event_id": "/id", "source": "/from", "types": {"hit": "pageview", "won": "goal"},
    }));
    let record = json!({
        "site": ["s"], "who": {"a/b": 7}, "t": "won", "n": "Signup", "where": "https://s/x?y", "at": "1778796334000",
        "id": 12, "from": "Mail",
    });
    let record = record.to_string();
    assert_eq!(
        reader.read(record.as_bytes(), &[]),
        Ok(Event {
            name: Some("Signup".into()),
            visitor_id: Some("7".into()),
            path: Some("/x".into()),
            timestamp_ms: Some(AT),
            event_id: Some("12".into()),
            source: Some("Mail".into()),
            ..Event::new("s", EventKind::Goal)
        })
    );
    let of_type = |word: &str| {
        let record = with(&record, json!({"t": word}));
        reader.read(record.as_bytes(), &[]).map(|event| event.kind)
    };
    assert_eq!(of_type("hit"), Ok(EventKind::Pageview));
    assert_eq!(of_type("custom"), Ok(EventKind::Custom));
    let unknown = refused(&reader, &with(&record, json!({"t": "scroll"})));
    assert_eq!((unknown.0, unknown.1), (RejectReason::BadField, Some("type")));
    let absent = refused(&reader, &with(&record, json!({"t": null})));
    assert_eq!((absent.0, absent.1), (RejectReason::MissingField, Some("type")));
}

#[test]
fn without_a_place_for_the_type_every_record_is_a_pageview() {
    let reader = mapped(json!({"site_id": "/s", "visitor_id": "/v"}));
    let event = reader.read(br#"{"s":"a","v":"x"}"#, &[]).expect("an event");
    assert_eq!((event.kind, &*event.site_id), (EventKind::Pageview, "a"));
    let no_visitor = refused(&reader, r#"{"s":"a"}"#);
    assert_eq!(
        (no_visitor.0, no_visitor.1),
        (RejectReason::MissingField, Some("visitor_id"))
    );
}

#[test]
fn small_inputs_are_read_alike_in_every_format() {
    for (format, record, name) in [
        (SourceFormat::Umami, UMAMI, "event_name"),
        (SourceFormat::Plausible, PLAUSIBLE, "name"),
        (SourceFormat::Posthog, POSTHOG, "event"),
        (SourceFormat::Segment, TRACK, "event"),
    ] {
        let reader = reader(format, Some("s"));
        let plain = reader.read(record.as_bytes(), &[]).map(Event::into_owned);
        let marked = format!("\u{feff}{record}");
        assert_eq!(reader.read(marked.as_bytes(), &[]), plain, "{format}");
        let named = with(record, json!({name: "NAME"}));
        let half = named.replace("NAME", "a\\ud83d");
        let event = reader.read(half.as_bytes(), &[]).expect("an event");
        assert_eq!(event.name.as_deref(), Some("a\u{fffd}"), "{format}");
        let nul = refused(&reader, &named.replace("NAME", "a\\u0000b"));
        assert_eq!((nul.0, nul.1), (RejectReason::BadField, Some("name")), "{format}");
    }
}

#[test]
fn times_in_other_units_are_the_records_in_every_format() {
    for (format, record, name) in [
        (SourceFormat::Umami, UMAMI, "created_at"),
        (SourceFormat::Plausible, PLAUSIBLE, "timestamp"),
        (SourceFormat::Posthog, POSTHOG, "timestamp"),
        (SourceFormat::Segment, PAGE, "originalTimestamp"),
    ] {
        for (time, ms, unit) in [
            (json!(AT), Some(AT), None),
            (json!(AT as f64 + 0.25), Some(AT), None),
            (json!(AT.to_string()), Some(AT), None),
            (json!(AT / 1_000), None, Some(WrongTimeUnit::Seconds)),
            (json!(AT * 1_000), None, Some(WrongTimeUnit::Microseconds)),
            (json!("2026-05-14t22:05:34,5z"), Some(AT + 500), None),
            (json!("2026-05-15T00:05:34+0200"), Some(AT), None),
            (json!(null), None, None),
        ] {
            let event = read(format, &with(record, json!({name: time})));
            assert_eq!(
                (event.timestamp_ms, event.wrong_unit),
                (ms, unit),
                "{format} {time}"
            );
        }
        let wrong = refused(&reader(format, None), &with(record, json!({name: "yesterday"})));
        assert_eq!(
            (wrong.0, wrong.1),
            (RejectReason::BadField, Some("timestamp")),
            "{format}"
        );
    }
}

#[test]
fn what_is_not_looked_at_may_be_any_json() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for odd in ["1e999", "-1E+400", deep.as_str()] {
        let page = PAGE.replace(
            "\"properties\":{",
            &format!("\"x\":{odd},\"properties\":{{\"x\":{odd},"),
        );
        assert_eq!(
            read(SourceFormat::Segment, &page).path.as_deref(),
            Some("/blog/a")
        );
        let properties = format!(r#"{{"$pathname":"/b","x":{odd}}}"#);
        let event = read(
            SourceFormat::Posthog,
            &with(POSTHOG, json!({"properties": properties})),
        );
        assert_eq!(event.path.as_deref(), Some("/b"));
    }
    let page = with(PAGE, json!({"anonymousId": 7})).replace("\"anonymousId\":7", "\"anonymousId\":1e999");
    let wrong = refused(&reader(SourceFormat::Segment, None), &page);
    assert_eq!((wrong.0, wrong.1), (RejectReason::BadField, Some("visitor_id")));
}

#[test]
fn no_number_is_no_time_in_any_format() {
    for (format, record, name) in [
        (SourceFormat::Umami, UMAMI, "created_at"),
        (SourceFormat::Plausible, PLAUSIBLE, "timestamp"),
        (SourceFormat::Posthog, POSTHOG, "timestamp"),
        (SourceFormat::Segment, PAGE, "originalTimestamp"),
    ] {
        for time in ["NaN", "inf", " nan ", "-Infinity", "infinity", "1e999"] {
            let wrong = refused(&reader(format, None), &with(record, json!({name: time})));
            assert_eq!(
                (wrong.0, wrong.1),
                (RejectReason::BadField, Some("timestamp")),
                "{format} {time}"
            );
        }
    }
}

fn formats() -> impl Strategy<Value = (SourceFormat, &'static str)> {
    proptest::sample::select(vec![
        (SourceFormat::Umami, UMAMI),
        (SourceFormat::Plausible, PLAUSIBLE),
        (SourceFormat::Posthog, POSTHOG),
        (SourceFormat::Segment, PAGE),
        (SourceFormat::Segment, TRACK),
    ])
}

proptest! {
    #[test]
    fn no_change_of_a_record_panics_or_breaks_a_limit(
        (format, record) in formats(),
        at in any::<proptest::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
        to in any::<proptest::sample::Index>(),
    ) {
        let mut changed = record.as_bytes().to_vec();
        let at = at.index(changed.len());
        let to = (at + to.index(8)).min(changed.len());
        changed.splice(at..to, bytes);
        if let Ok(event) = reader(format, Some("s")).read(&changed, &[]) {
            prop_assert!((1..=255).contains(&event.site_id.len()));
            prop_assert!(event.props.by_name().len() <= 30);
            for text in [&event.name, &event.path, &event.event_id, &event.source].into_iter().flatten() {
                prop_assert!(!text.is_empty() && !text.chars().any(char::is_control));
            }
        }
    }
}

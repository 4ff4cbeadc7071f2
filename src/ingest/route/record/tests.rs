use super::*;
use crate::domain::event::{RoutedFacts, WrongTimeUnit};
use crate::domain::reject::NotAnEvent;
use crate::domain::texts::Texts;
use crate::ingest::formats::{HeaderRef, RecordReader};

const KEY: [u8; 16] = [7; 16];

fn coordinates() -> Coordinates {
    Coordinates {
        topic: "events".into(),
        partition: 3,
        offset: 17,
    }
}

fn routed(event: &Event<'_>, record_ms: Option<i64>, clock: SourceClock) -> RoutedRecord {
    let original = Original {
        read_from: coordinates(),
        record_ms,
        clock,
    };
    routed_record(event, "site", &original, &VisitorHasher::new(&KEY)).expect("JSON")
}

fn read(record: &RoutedRecord) -> Result<Event<'static>, NotAnEvent> {
    let headers = record.headers.iter();
    let headers: Vec<HeaderRef<'_>> = headers
        .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
        .collect();
    RecordReader::routed()
        .read(&record.value, &headers)
        .map(Event::into_owned)
}

fn full() -> Event<'static> {
    Event {
        name: Some("Signup \u{1f600}".into()),
        visitor_id: Some("jane".into()),
        path: Some("/a\"b".into()),
        timestamp_ms: Some(1_772_020_800_250),
        event_id: Some("e-1".into()),
        props: Texts::Read(vec![("plan".into(), "pro".into())]),
        source: Some("Hacker News".into()),
        revenue: Some(Revenue {
            amount: "12.50".into(),
            currency: "EUR".into(),
        }),
        historical: true,
        ..Event::new("alias", EventKind::Goal)
    }
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let event = full();
    let record = routed(&event, Some(1_772_020_801_000), SourceClock::Log);
    assert_eq!(record.key, b"site");
    let expected = Event {
        site_id: "site".into(),
        visitor_id: None,
        routed: Some(RoutedFacts {
            clock: SourceClock::Log,
            record_ms: Some(1_772_020_801_000),
            visitor_hash: Some(VisitorHasher::new(&KEY).hash("jane")),
        }),
        ..event
    };
    assert_eq!(read(&record), Ok(expected));
}

#[test]
fn no_visitors_id_is_written() {
    let record = routed(&full(), None, SourceClock::Live);
    let text = String::from_utf8(record.value).expect("UTF-8");
    assert!(!text.contains("jane"), "{text}");
    assert!(record.headers.iter().all(|(_, value)| !value.contains("jane")));
}

#[test]
fn an_event_without_id_has_its_first_coordinates_as_id() {
    let mut event = full();
    event.event_id = None;
    let read = read(&routed(&event, None, SourceClock::Live)).expect("an event");
    assert_eq!(read.event_id.as_deref(), Some("events/3/17"));
    assert_eq!(read.routed.and_then(|routed| routed.record_ms), None);
}

#[test]
fn early_and_wrong_times_come_through() {
    for (timestamp_ms, wrong_unit) in [
        (Some(0), None),
        (Some(1_000), None),
        (Some(253_402_300_799_999), None),
        (None, Some(WrongTimeUnit::Nanoseconds)),
        (None, None),
    ] {
        let event = Event {
            timestamp_ms,
            wrong_unit,
            ..full()
        };
        let read = read(&routed(&event, Some(0), SourceClock::Live)).expect("an event");
        assert_eq!((read.timestamp_ms, read.wrong_unit), (timestamp_ms, wrong_unit));
    }
}

#[test]
fn the_largest_event_fits_the_topic() {
    let long = |chars: usize| "\u{1f600}".repeat(chars);
    let props = (0..30).map(|n| {
        (
            format!("{n:02}{}", long(298)).into(),
            "\u{1}".repeat(2_000).into(),
        )
    });
    let mut props: Vec<_> = props.collect();
    props.push((long(301).into(), "x".into()));
    props.push(("long".into(), long(2_001).into()));
    let event = Event {
        name: Some(long(120).into()),
        path: Some(long(2_000).into()),
        source: Some(long(255).into()),
        props: Texts::Read(props),
        ..full()
    };
    let record = routed(&event, Some(0), SourceClock::Live);
    assert!(record.value.len() < 500_000, "{}", record.value.len());
    assert_eq!(read(&record).expect("an event").props.by_name().len(), 30);
}

#[test]
fn unreadable_headers_are_named() {
    let record = routed(&full(), Some(0), SourceClock::Live);
    for (name, value) in [
        ("bw-clock", "sundial"),
        ("bw-original-offset", "x"),
        ("bw-version", ""),
    ] {
        let mut changed = record.clone();
        let header = changed.headers.iter_mut().find(|(one, _)| *one == name);
        header.expect("the header").1 = value.to_owned();
        match read(&changed) {
            Err(NotAnEvent::Rejected(reject)) => assert_eq!(reject.field, Some(name), "{reject:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_newer_version_is_told_from_what_is_bad() {
    let record = routed(&full(), Some(0), SourceClock::Live);
    let original = Original {
        read_from: coordinates(),
        record_ms: Some(7),
        clock: SourceClock::Live,
    };
    let note = reject_note(RejectReason::BadField, "s", &original);
    for mut newer in [record, note] {
        newer.headers.retain(|(name, _)| *name != "bw-version");
        newer.headers.push(("bw-version", "2".to_owned()));
        newer.value = vec![0xff; 2 << 20];
        let read = read(&newer);
        assert!(
            matches!(read, Err(NotAnEvent::Newer { version: 2, .. })),
            "{read:?}"
        );
    }
}

#[test]
fn a_native_record_of_somebody_else_is_read_as_any() {
    let value = br#"{"site_id":"s","type":"pageview","visitor_id":"v"}"#;
    let headers: [HeaderRef<'_>; 1] = [(b"bw-visitor", Some(b"hashed"))];
    let event = RecordReader::routed().read(value, &headers).expect("an event");
    assert_eq!((event.visitor_id.as_deref(), event.routed), (Some("v"), None));
}

#[test]
fn a_reject_is_told_with_its_site_and_reason() {
    let original = Original {
        read_from: coordinates(),
        record_ms: Some(7),
        clock: SourceClock::Live,
    };
    let note = reject_note(RejectReason::BadField, "site", &original);
    assert_eq!(note.key, b"site");
    match read(&note) {
        Err(NotAnEvent::RejectedBefore(reject, original)) => {
            assert_eq!(
                (reject.reason, reject.site_id.as_deref()),
                (RejectReason::BadField, Some("site"))
            );
            assert_eq!(
                (original.record_ms, original.clock),
                (Some(7), Some(SourceClock::Live))
            );
            let at = coordinates();
            let at = format!("{}/{}/{}", at.topic, at.partition, at.offset);
            assert_eq!(original.coordinates, Some(at));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_others_wrote_is_read_as_kindly_as_any_record() {
    let plain = r#"{"site_id":"s","type":"custom","name":"n"}"#;
    let strange = format!("\u{feff}{}", plain.replace("\"n\"}", "\"n\\ud83d\"}"));
    let event = RecordReader::routed()
        .read(strange.as_bytes(), &[])
        .expect("an event");
    assert_eq!(event.name.as_deref(), Some("n\u{fffd}"));
    let headers: [HeaderRef<'_>; 2] = [(b"ce_id", Some(b"e-1")), (b"ce_source", Some(b"/producer"))];
    let enveloped = RecordReader::routed().read(plain.as_bytes(), &headers);
    assert_eq!(
        enveloped.expect("an event").event_id.as_deref(),
        Some("/producer e-1")
    );
}

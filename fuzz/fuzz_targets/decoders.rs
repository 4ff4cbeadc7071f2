//! Every decoder of source records, on any bytes.
//!
//! The first byte chooses the format, the second one the envelope, and the rest is the record. An
//! event that comes out must be within the limits of the native format.
#![no_main]

use std::sync::LazyLock;

use bellwether::config::{Source, SourceFormat, SourceMapping};
use bellwether::domain::event::Event;
use bellwether::ingest::formats::{HeaderRef, RecordReader};
use libfuzzer_sys::fuzz_target;

/// A reader for each format, once with a site of its own and once without, and one for what `route`
/// writes.
static READERS: LazyLock<Vec<RecordReader>> = LazyLock::new(|| {
    let mapping: SourceMapping =
        serde_json::from_str(r#"{"site_id": "/site", "visitor_id": "/visitor", "type": "/type", "name": "/name"}"#)
            .expect("a mapping");
    let sources = SourceFormat::ALL.into_iter().flat_map(|format| {
        [None, Some("configured".to_owned())].map(|site| Source {
            format,
            site,
            mapping: (format == SourceFormat::Mapped).then(|| mapping.clone()),
            ..Source::default()
        })
    });
    sources
        .map(|source| RecordReader::of(&source))
        .chain([RecordReader::routed()])
        .collect()
});

fuzz_target!(|input: &[u8]| {
    let [format, envelope, record @ ..] = input else {
        return;
    };
    let reader = &READERS[usize::from(*format) % READERS.len()];
    // Of a binary envelope, the beginning of the record is the attributes' value, too.
    let start = &record[..record.len().min(64)];
    let headers: &[HeaderRef<'_>] = match envelope % 4 {
        0 => &[],
        1 => &[(b"content-type", Some(b"application/cloudevents+json"))],
        2 => &[(b"ce_id", Some(start)), (b"ce_source", Some(b"/s")), (b"ce_time", Some(b"2026-02-25T12:00:00Z"))],
        _ => &[
            (b"bw-version", Some(b"1")),
            (b"bw-clock", Some(b"live")),
            (b"bw-original-topic", Some(b"t")),
            (b"bw-original-partition", Some(b"0")),
            (b"bw-original-offset", Some(b"7")),
            (b"bw-visitor", Some(b"hashed")),
            (b"bw-event-id", Some(start)),
        ],
    };
    if let Ok(event) = reader.read(record, headers) {
        check(&event);
    }
});

fn check(event: &Event<'_>) {
    assert!((1..=255).contains(&event.site_id.len()));
    for (text, max) in [(&event.name, 120), (&event.visitor_id, 255), (&event.path, 2_000), (&event.source, 255)] {
        if let Some(text) = text {
            assert!(!text.is_empty() && text.chars().count() <= max);
            assert!(!text.contains('\0'));
        }
    }
    for text in [&event.name, &event.path, &event.source].into_iter().flatten() {
        assert!(!text.chars().any(char::is_control));
    }
    assert!(event.scroll_depth.is_none_or(|depth| depth <= 100));
    assert!(event.timestamp_ms.is_none_or(|ms| (0..=253_402_300_799_999).contains(&ms)));
    assert!(event.timestamp_ms.is_none() || event.wrong_unit.is_none());
}

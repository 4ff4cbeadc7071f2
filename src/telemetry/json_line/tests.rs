use super::*;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt as subscriber_fmt;
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("one writer").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_json_line_begins_with_ts_level_msg() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let layer = subscriber_fmt::layer()
        .event_format(JsonLine {
            roles: "detect,api".into(),
        })
        .with_writer(move || writer.clone())
        .and_then(SpanFields);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::warn!(topic = "t", partition = 3, offset = 17_i64, webhook.id = %"wh_1", "cannot \"read\" it");
    });
    let text = String::from_utf8(buffer.0.lock().expect("no writer left").clone()).expect("text");
    assert!(text.starts_with("{\"ts\":\"") && text.ends_with("}\n"), "{text}");
    let place = |key: &str| text.find(key).expect(key);
    assert!(
        place("\"level\":") < place("\"msg\":") && place("\"msg\":") < place("\"offset\":"),
        "{text}"
    );
    let line: Value = serde_json::from_str(&text).expect("one JSON line");
    assert_eq!(line["level"], "warn");
    assert_eq!(line["msg"], "cannot \"read\" it");
    assert_eq!(line["role"], "detect,api");
    assert_eq!(line["offset"], 17);
    assert_eq!(line["webhook.id"], "wh_1");
    for key in ["ts", "target", "version"] {
        assert!(line[key].is_string(), "{key}");
    }
}

#[test]
fn a_json_line_has_the_fields_of_the_spans_around_it() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let layer = subscriber_fmt::layer()
        .event_format(JsonLine { roles: "api".into() })
        .with_writer(move || writer.clone())
        .and_then(SpanFields);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let request = tracing::info_span!(
            "api.request",
            site.id = "a.example",
            token.id = tracing::field::Empty,
            attempt = 1
        );
        request.record("token.id", "tok_1");
        let _inside = request.enter();
        let _deeper = tracing::info_span!("deliver.attempt", attempt = 2).entered();
        tracing::info!(site.id = "b.example", "inside");
    });
    let text = String::from_utf8(buffer.0.lock().expect("no writer left").clone()).expect("text");
    let line: Value = serde_json::from_str(&text).expect("one JSON line");
    assert_eq!(line["token.id"], "tok_1");
    assert_eq!(line["attempt"], 2, "the inner span's value");
    assert_eq!(line["site.id"], "b.example", "the event's own value");
}

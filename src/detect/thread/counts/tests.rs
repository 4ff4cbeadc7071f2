use std::io::Write;
use std::sync::Mutex;

use tracing_subscriber::fmt as subscriber_fmt;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::detect::tests::fixtures::view;
use crate::telemetry::metrics::Labels;

fn counts() -> Counts {
    counts_of_thread(&Arc::default())
}

/// The counts of one of the threads that share their lines.
fn counts_of_thread(lines: &Arc<SharedLines>) -> Counts {
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    let sources = vec!["one".to_owned(), "two".to_owned()];
    Counts::new(sources, metrics, Arc::clone(lines))
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("one writer").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that are logged meanwhile.
fn logged(act: impl FnOnce()) -> Vec<String> {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let lines = subscriber_fmt::layer()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), act);
    let text = String::from_utf8(buffer.0.lock().expect("no writer left").clone()).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_result_is_counted_at_its_own_index() {
    for (index, result) in EventResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, index);
    }
}

#[test]
fn counters_of_an_engine_are_shown_by_source_and_by_map() {
    let mut counts = counts();
    let counters = Counters {
        evicted_visitors: 1,
        evicted_sources: 2,
        evicted_pages: 3,
        evicted_names: 4,
        evicted_history: 5,
        evicted_rows: 6,
        clock_skew: vec![4, 5],
    };
    counts.add_engine_counters(counters.clone());
    counts.add_engine_counters(counters);
    let metrics = &counts.metrics;
    let evicted = |map: BoundedMap| metrics.evictions.with_label_values(&[map.as_str()]).get();
    assert_eq!(
        [BoundedMap::Visitors, BoundedMap::Sources, BoundedMap::Pages].map(evicted),
        [2, 4, 6],
        "each time the counts since the last"
    );
    let skew = |source| metrics.clock_skew.with_label_values(&[source]).get();
    assert_eq!(["one", "two"].map(skew), [8, 10]);
}

#[test]
fn a_key_that_is_a_visitors_id_is_not_shown() {
    let event = view("a", "jane", 1);
    assert_eq!(
        describe_key(Some(b"jane"), &event),
        "the event's visitor_id as key"
    );
    assert_eq!(describe_key(Some(b"eu-west"), &event), "key `eu-west`");
    assert_eq!(describe_key(None, &event), "no key");
    let long = [b'x'; 1_000];
    assert!(describe_key(Some(&long), &event).len() < 80);
}

#[test]
fn each_mis_keyed_source_has_a_notice() {
    let mut counts = counts();
    for source in [0, 1, 0] {
        counts.miskeyed(source, 3, 17, Some(b"jane"), &view("a", "jane", 1));
    }
    let notices = counts.take_notices();
    assert_eq!(
        notices.keys().map(String::as_str).collect::<Vec<_>>(),
        ["one", "two"]
    );
    assert!(
        notices
            .iter()
            .all(|(topic, text)| text.starts_with(topic.as_str()) && !text.contains("jane"))
    );
    assert!(counts.take_notices().is_empty());
}

#[test]
fn times_in_another_unit_are_counted_by_source() {
    let mut counts = counts();
    for unit in WrongTimeUnit::ALL {
        counts.wrong_unit(1, 3, 17, unit, || None);
    }
    let skew = |source| counts.metrics.clock_skew.with_label_values(&[source]).get();
    assert_eq!(["one", "two"].map(skew), [0, 3]);
}

/// An event that was read at 1,764,496,800 s, with what makes it stale.
fn stale(cause: StaleCause, own_ms: Option<i64>, record_ms: i64) -> StaleEvent {
    StaleEvent {
        partition: 3,
        offset: 17,
        cause,
        own_ms,
        record_ms: Some(record_ms),
    }
}

#[test]
fn a_notice_about_stale_events_names_the_time_at_fault() {
    const NOW_MS: i64 = 1_764_496_800_000;
    let hour_ago = NOW_MS - 3_600_000;
    for (event, said, not_said) in [
        (
            stale(StaleCause::OwnTime, Some(hour_ago), NOW_MS),
            [
                "the timestamp 2025-11-30T09:00:00Z",
                "the time 2025-11-30T10:00:00Z",
            ],
            "in milliseconds",
        ),
        (
            stale(StaleCause::RecordTime, None, hour_ago),
            ["the time 2025-11-30T09:00:00Z", "A backlog is read"],
            "in milliseconds",
        ),
        (
            stale(StaleCause::RecordUnit, Some(NOW_MS), 1_764_300),
            ["the time 1970-01-01T00:29:24Z", "in milliseconds"],
            "backlog",
        ),
    ] {
        let mut counts = counts();
        counts.stale_event(1, &event, || None);
        let notices = counts.take_notices();
        assert_eq!(notices.len(), 1, "{notices:?}");
        let text = &notices[&format!("two stale {}", event.cause)];
        assert!(
            text.starts_with("two ") && text.contains("partition 3, offset 17"),
            "{text}"
        );
        assert!(said.iter().all(|words| text.contains(words)), "{text}");
        assert!(!text.contains(not_said), "{text}");
        assert!(counts.take_notices().is_empty());
    }
}

#[test]
fn what_is_said_of_a_routed_event_names_its_source() {
    let mut counts = counts();
    let original = || Some("umami.events/0/42".to_owned());
    let lines = logged(|| {
        counts.stale_event(1, &stale(StaleCause::RecordTime, None, 0), original);
        counts.wrong_unit(1, 3, 17, WrongTimeUnit::Seconds, original);
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("umami.events/0/42")),
        "{lines:#?}"
    );
    let (_, notice) = counts.take_notices().pop_first().expect("a notice");
    assert!(
        notice.contains("partition 3, offset 17, routed from umami.events/0/42, has"),
        "{notice}"
    );
}

#[test]
fn each_source_and_cause_of_stale_events_has_a_notice() {
    let mut counts = counts();
    for source in [0, 1, 0, 1] {
        for cause in StaleCause::ALL {
            counts.stale_event(source, &stale(cause, None, 0), || None);
        }
    }
    let notices = counts.take_notices();
    let keys: Vec<&str> = notices.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "one stale own_time",
            "one stale record_time",
            "one stale record_unit",
            "two stale own_time",
            "two stale record_time",
            "two stale record_unit"
        ]
    );
}

#[test]
fn no_line_about_a_source_suppresses_one_about_another() {
    let mut counts = counts();
    let reject = Reject::overlong_time(i64::MAX);
    let counters = Counters {
        clock_skew: vec![1, 1],
        ..Counters::default()
    };
    let lines = logged(|| {
        for (source, topic) in [(0, "one"), (1, "two"), (0, "one"), (1, "two")] {
            let read_from = Coordinates {
                topic: topic.to_owned(),
                partition: 3,
                offset: 17,
            };
            counts.rejected(source, &reject, &read_from);
            counts.miskeyed(source, 3, 17, None, &view("a", "jane", 1));
            counts.stale_event(source, &stale(StaleCause::OwnTime, None, 0), || None);
            counts.wrong_unit(source, 3, 17, WrongTimeUnit::Seconds, || None);
            counts.missed(source, 3, 17, 1);
        }
        counts.add_engine_counters(counters.clone());
        counts.add_engine_counters(counters);
    });
    for topic in ["topic=\"one\"", "topic=\"two\""] {
        let found = lines.iter().filter(|line| line.contains(topic)).count();
        assert_eq!(found, 6, "{topic} in {lines:#?}");
    }
}

#[test]
fn threads_log_a_cause_once_a_second_together() {
    let shared = Arc::default();
    let mut threads = [(); 8].map(|()| counts_of_thread(&shared));
    let lines = logged(|| {
        for counts in &mut threads {
            for _ in 0..2 {
                counts.wrong_unit(1, 3, 17, WrongTimeUnit::Seconds, || None);
                counts.withheld(
                    &Withheld {
                        site_id: "a".parse().expect("a site id"),
                        event: EventType::VisitorSpike,
                        reason: SuppressReason::Stale,
                    },
                    3,
                );
            }
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn withheld_notifications_are_counted_by_type_and_reason() {
    let mut counts = counts();
    for reason in [
        SuppressReason::Stale,
        SuppressReason::Stale,
        SuppressReason::MinInterval,
    ] {
        let withheld = Withheld {
            site_id: "a".parse().expect("a site id"),
            event: EventType::VisitorSpike,
            reason,
        };
        counts.withheld(&withheld, 3);
    }
    for (reason, count) in [("stale", 2), ("min_interval", 1)] {
        let labels = ["visitor_spike", reason];
        assert_eq!(counts.metrics.suppressed.with_label_values(&labels).get(), count);
    }
}

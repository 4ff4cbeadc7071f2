use super::*;
use crate::detect::engine::event_time::SourceClock;
use crate::detect::tests::fixtures::{Fed, RECORD_MS, config, registry, site, spike, view};
use crate::detect::thread::outbox::tests::outbox;
use crate::detect::thread::position::Position;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

/// Partition 7, read from offset 10.
fn owned(engine: Engine) -> OwnedPartition {
    let position = Position {
        committed: 10,
        start: 10,
        metadata: CommitMetadata::default(),
        is_first: false,
    };
    OwnedPartition::new(
        7,
        engine,
        vec![Some(position)],
        48,
        Arc::new([RecordReader::default()]),
    )
}

/// An engine with the state of a site that has an episode, as it was written after the record at
/// offset 19.
fn engine_ahead() -> Engine {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(1, 300)])]);
    let second = RECORD_MS / 1_000;
    let mut engine = Engine::new(config(SourceClock::Live), registry([site("a", [spike(1, 300)])]));
    fed.engine.handle(
        &view("a", "1", second),
        &RecordFacts {
            source: 0,
            offset: 19,
            record_ms: RECORD_MS,
            replaying: false,
        },
        RECORD_MS,
        &mut Vec::new(),
    );
    for state in fed.states() {
        engine
            .load_state(state.site_id.as_str(), state.bytes.as_deref())
            .expect("readable");
    }
    engine
}

fn counts() -> (Counts, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    (
        Counts::new(vec!["events".to_owned()], Arc::clone(&metrics)),
        metrics,
    )
}

#[test]
fn an_end_from_an_earlier_assignment_is_not_caught_up() {
    let mut owned = owned(engine_ahead());
    // The partition has grown since then, which no fetch has shown yet.
    let stale_end = |_| Some(10);
    let hours_later_ms = RECORD_MS + 7_200_000;
    owned.tick(hours_later_ms, stale_end);
    assert!(!owned.caught_up);
    assert_eq!(
        owned.engine.stats().spike_episodes,
        1,
        "an episode is not over because its records are yet to come"
    );
    let (mut counts, _) = counts();
    owned.end_reached(0, 20, |_| None, &mut counts);
    owned.tick(hours_later_ms, |_| Some(20));
    assert!(owned.caught_up);
    // The same holds after it was given back and taken again.
    owned.resume();
    owned.tick(hours_later_ms, |_| Some(20));
    assert!(!owned.caught_up);
}

#[test]
fn records_removed_while_reading_are_counted_as_missed() {
    let (mut counts, metrics) = counts();
    let mut owned = owned(engine_ahead());
    let missed = || metrics.records_missed.with_label_values(&["events"]).get();
    // The log still begins before the gap, so it is from markers of a transaction.
    owned.end_reached(0, 12, |_| Some(3), &mut counts);
    assert_eq!(missed(), 0);
    owned.end_reached(0, 30, |_| Some(20), &mut counts);
    assert_eq!(missed(), 8);
    // The log's beginning has moved, but not past records that were not read.
    owned.end_reached(0, 30, |_| Some(35), &mut counts);
    assert_eq!(missed(), 8);
    owned.end_reached(0, 40, |_| Some(100), &mut counts);
    assert_eq!(missed(), 18);
}

#[test]
fn removed_records_before_the_commit_are_not_missed() {
    let (mut counts, metrics) = counts();
    let mut owned = owned(engine_ahead());
    if let Some(state) = &mut owned.sources[0] {
        state.next = 4;
    }
    owned.end_reached(0, 13, |_| Some(11), &mut counts);
    assert_eq!(metrics.records_missed.with_label_values(&["events"]).get(), 1);
}

#[tokio::test]
async fn the_time_to_a_decision_is_measured_while_caught_up() {
    let (mut counts, metrics) = counts();
    let mut owned = owned(Engine::new(
        config(SourceClock::Live),
        registry([site("a", [spike(1, 300), spike(2, 300)])]),
    ));
    for (offset, caught_up) in [(10, false), (11, true)] {
        let facts = RecordFacts {
            source: 0,
            offset,
            record_ms: RECORD_MS,
            replaying: false,
        };
        let visitor = offset.to_string();
        let event = view("a", &visitor, RECORD_MS / 1_000);
        owned.engine.handle(&event, &facts, RECORD_MS, &mut Vec::new());
        owned.caught_up = caught_up;
        owned.flush(RECORD_MS + 40, &outbox(), &mut counts);
    }
    counts.flush();
    assert_eq!(metrics.detect_latency.get_sample_count(), 1);
    assert!((metrics.detect_latency.get_sample_sum() - 0.04).abs() < 1e-9);
}

use rdkafka::error::RDKafkaErrorCode;

use super::*;
use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::record::RecordFacts;
use crate::detect::tests::fixtures::{Fed, RECORD_MS, config, registry, site, spike, view};
use crate::detect::thread::outbox::tests::outbox;
use crate::detect::thread::position::Position;
use crate::domain::event::SourceClock;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

/// Partition 7, read from offset 10.
fn owned(engine: Engine) -> OwnedPartition {
    let position = Position {
        committed: 10,
        start: 10,
        metadata: CommitMetadata::default(),
        is_first: false,
        complete_from: CompleteFrom::Ever.into(),
    };
    OwnedPartition::new(
        7,
        engine,
        vec![Some(position)],
        48,
        Arc::new([RecordReader::default()]),
        StateLog::new(0),
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
        Counts::new(vec!["events".to_owned()], Arc::clone(&metrics), Arc::default()),
        metrics,
    )
}

#[test]
fn an_episode_waits_until_its_end_is_proven() {
    let mut owned = owned(engine_ahead());
    let hours_later_ms = RECORD_MS + 7_200_000;
    let (mut counts, _) = counts();
    // The end is cached from an earlier time, and no broker was asked.
    owned.end_reached(0, 10, hours_later_ms, |_| None, &mut counts);
    owned.tick(hours_later_ms);
    assert_eq!(owned.engine.spikes(), 1);
    owned.prove_end(0, 20, hours_later_ms);
    owned.tick(hours_later_ms + 1_000);
    assert_eq!(owned.engine.spikes(), 1, "its records are yet to come");
    owned.end_reached(0, 20, hours_later_ms, |_| None, &mut counts);
    owned.tick(hours_later_ms + 2_000);
    assert_eq!(owned.engine.spikes(), 0);
}

#[test]
fn the_proof_of_a_missing_source_grows_old() {
    let mut owned = owned(engine_ahead());
    owned.tick(1_000);
    assert_eq!(owned.proven_until_ms(), Some(1_000), "never proven");
    owned.prove_end(0, 10, 5_000);
    owned.tick(6_000);
    owned.set_missing(&[true]);
    owned.tick(90_000);
    assert_eq!(owned.proven_until_ms(), Some(5_000));
    // The partition comes back after a rebalance, and its state must be loaded anew.
    let mut again = self::owned(engine_ahead());
    again.note_proven_before(owned.proven_until_ms());
    again.set_missing(&[true]);
    again.tick(95_000);
    assert_eq!(again.proven_until_ms(), Some(5_000));
    again.set_missing(&[false]);
    again.prove_end(0, 10, 96_000);
    assert_eq!(again.proven_until_ms(), Some(96_000));
}

#[test]
fn removed_records_are_counted_and_leave_a_gap() {
    let (mut counts, metrics) = counts();
    let mut owned = owned(engine_ahead());
    let missed = || metrics.records_missed.with_label_values(&["events"]).get();
    owned.end_reached(0, 12, RECORD_MS, |_| Some(3), &mut counts);
    assert_eq!(
        (missed(), owned.completeness().complete_from(SourceClock::Live)),
        (0, 0)
    );
    owned.end_reached(0, 30, RECORD_MS, |_| Some(20), &mut counts);
    assert_eq!(missed(), 8);
    assert!(i64::from(owned.completeness().complete_from(SourceClock::Live)) >= RECORD_MS / 1_000);
}

#[test]
fn an_offset_that_goes_back_stops_the_partition() {
    let (mut counts, _) = counts();
    let mut owned = owned(engine_ahead());
    owned.end_reached(0, 30, RECORD_MS, |_| None, &mut counts);
    assert_eq!(owned.went_back(), None);
    owned.end_reached(0, 2, RECORD_MS, |_| None, &mut counts);
    let back = WentBack {
        source: 0,
        expected: 30,
        found: 2,
    };
    assert_eq!(owned.went_back(), Some(back));
}

#[test]
fn an_end_of_routed_events_proves_no_more_than_was_routed() {
    let mut settings = config(SourceClock::Live);
    settings.sources[0].is_routed = true;
    let mut owned = owned(Engine::new(settings, registry([])));
    let until = |owned: &OwnedPartition| owned.completeness().proven_until_ms();
    for (asked_ms, routed_until_ms, proven) in [
        (RECORD_MS, None, None),
        (RECORD_MS + 1_000, Some(RECORD_MS - 500), Some(RECORD_MS - 500)),
        (RECORD_MS + 2_000, Some(RECORD_MS - 500), Some(RECORD_MS - 500)),
        (
            RECORD_MS + 3_000,
            Some(RECORD_MS + 9_000),
            Some(RECORD_MS + 3_000),
        ),
    ] {
        owned.note_questions(asked_ms, routed_until_ms);
        owned.prove_end(0, 10, asked_ms);
        assert_eq!(until(&owned), proven);
    }
}

#[test]
fn a_shorter_end_is_believed_when_it_stays() {
    let mut owned = owned(engine_ahead());
    for (end, is_back) in [
        (9, false),
        (9, false),
        (10, false),
        (9, false),
        (9, false),
        (9, true),
    ] {
        owned.note_questions(RECORD_MS, None);
        owned.prove_end(0, end, RECORD_MS);
        assert_eq!(owned.went_back().is_some(), is_back);
    }
}

#[test]
fn what_is_read_while_an_end_is_asked_for_makes_it_no_shorter() {
    let mut owned = owned(engine_ahead());
    for tick in 0..10 {
        let (asked_ms, end) = (RECORD_MS + tick * 1_000, 10 + tick * 20);
        owned.note_questions(asked_ms, None);
        for offset in end..end + 20 {
            owned.engine.skip_record(0, offset);
        }
        owned.prove_end(0, end, asked_ms);
        assert_eq!(owned.went_back(), None);
        // Asked for again, and the answer to the first question is lost.
        owned.note_questions(asked_ms, None);
        owned.note_questions(asked_ms + 500, None);
        owned.forget_question(0, RDKafkaErrorCode::RequestTimedOut, asked_ms);
    }
}

/// Partition 7 of two sources, each with its committed offset and the one where reading begins.
fn owned_of_two(positions: [(i64, i64); 2]) -> OwnedPartition {
    let positions = positions.map(|(committed, start)| {
        Some(Position {
            committed,
            start,
            metadata: CommitMetadata::default(),
            is_first: false,
            complete_from: CompleteFrom::Ever.into(),
        })
    });
    let mut engine = config(SourceClock::Live);
    engine.sources.push(engine.sources[0].clone());
    let engine = Engine::new(engine, registry([]));
    let readers = Arc::new([RecordReader::default(), RecordReader::default()]);
    OwnedPartition::new(7, engine, positions.to_vec(), 48, readers, StateLog::new(0))
}

#[test]
fn a_record_beyond_the_commit_waits_for_the_other_source() {
    let mut owned = owned_of_two([(10, 9), (5, 3)]);
    assert!(owned.is_due(0, 9));
    owned.engine.skip_record(0, 9);
    assert!(!owned.is_due(0, 10) && !owned.is_due(0, 11));
    for offset in [3, 4] {
        assert!(owned.is_due(1, offset));
        assert_eq!(owned.reread_from(), []);
        owned.engine.skip_record(1, offset);
    }
    assert!(!owned.is_due(0, 12));
    assert_eq!(owned.reread_from(), [(owned.at(0), 10)]);
    owned.read_again(&[(owned.at(0), 10)]);
    assert!(owned.is_due(0, 10));
    assert_eq!(owned.reread_from(), []);
}

#[test]
fn an_end_is_not_reached_by_records_that_are_held_back() {
    let (mut counts, _) = counts();
    let mut owned = owned_of_two([(10, 9), (3, 3)]);
    // A state accounts for the second source up to 6.
    owned.engine.completeness_mut().cover(1, 6);
    assert!(!owned.is_due(1, 3), "the first source rebuilds its windows");
    assert!(owned.is_due(0, 9));
    owned.engine.skip_record(0, 9);
    assert!(!owned.is_due(0, 10), "the second source is behind the state");
    // The second source is read again, the first one still waits.
    let from = owned.reread_from();
    assert_eq!(from, [(owned.at(1), 3)]);
    owned.read_again(&from);
    owned.end_reached(0, 11, RECORD_MS, |_| None, &mut counts);
    assert_eq!(owned.completeness().next(0), Some(10));
    for offset in 3..=6 {
        assert!(owned.is_due(1, offset));
        owned.engine.skip_record(1, offset);
    }
    assert_eq!(owned.reread_from(), [(owned.at(0), 10)]);
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
        if caught_up {
            owned.engine.completeness_mut().prove_end(0, 12, RECORD_MS);
        }
        owned.flush(RECORD_MS + 40, &outbox(), &mut counts);
    }
    counts.flush();
    assert_eq!(metrics.detect_latency.get_sample_count(), 1);
    assert!((metrics.detect_latency.get_sample_sum() - 0.04).abs() < 1e-9);
}

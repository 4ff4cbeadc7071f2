use rdkafka::error::RDKafkaErrorCode;

use super::*;
use crate::config::KafkaConfig;
use crate::detect::tests::fixtures;

/// Completeness and start of a commit of 10, in a partition that begins at `low`.
fn placed(metadata: &str, low: i64) -> (CompleteFrom, i64) {
    let position = position_at(10, CommitMetadata::parse(metadata), low);
    (position.complete_from.own, position.start)
}

#[test]
fn only_removed_records_make_a_commit_incomplete() {
    assert_eq!(placed("v1 5f3a 7 - -", 7), (CompleteFrom::Ever, 7));
    assert_eq!(placed("v1 5f3a 7 - 99", 7), (CompleteFrom::At(99), 7));
    assert_eq!(placed("v1 5f3a 7 - -", 8), (CompleteFrom::Unknown, 8));
    // No window held a record of the source.
    assert_eq!(placed("v1 5f3a - - -", 0), (CompleteFrom::Ever, 10));
    assert_eq!(placed("v1 5f3a - - -", 11), (CompleteFrom::Unknown, 11));
    assert_eq!(placed("v1 5f3a x - -", 0), (CompleteFrom::Unknown, 10));
}

/// Reason why partition 3 of the states waits, whose client does not know it.
fn reason(state_partitions: Option<i32>) -> String {
    let settings = DetectSettings {
        name: "detect-0".to_owned(),
        kafka: KafkaConfig::default(),
        engine: fixtures::config(SourceClock::Live),
        readers: [].into(),
        first_start_back: Duration::ZERO,
        session_timeout: Duration::from_secs(6),
    };
    let at = TopicPartition {
        topic: settings.engine.sources.len(),
        partition: 3,
    };
    let mut lookup = Lookup {
        state_partitions,
        ..Lookup::default()
    };
    lookup.note_answer(at, &Err(RDKafkaErrorCode::UnknownPartition), &settings);
    lookup.unrestorable.remove(&3).expect("a reason")
}

#[test]
fn a_partition_is_missing_only_if_a_broker_says_so() {
    let remedy = "the same number of partitions";
    assert!(reason(Some(3)).contains(remedy));
    // During a fail-over nobody has told, or a client knows less than its brokers.
    for told in [None, Some(4)] {
        let reason = reason(told);
        assert!(
            !reason.contains(remedy) && reason.contains("trying again"),
            "{reason}"
        );
    }
}

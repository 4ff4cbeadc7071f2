use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::{GroupMember, MemberEvent};
use crate::kafka::settings;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

const AT: TopicPartition = TopicPartition {
    topic: 0,
    partition: 0,
};
/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

fn commit_of(offset: i64) -> [Commit; 1] {
    [Commit {
        at: AT,
        offset,
        metadata: "metadata".into(),
    }]
}

/// A member that holds the only partition of a topic.
fn member(cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>) -> GroupMember {
    cluster.create_topic("a", 1, 1).unwrap();
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let config = settings::detect_member(&config, "g");
    let member = GroupMember::join(&config, "detect", &["a".into()], None, client_events).unwrap();
    let deadline = clock::monotonic() + TIMEOUT;
    loop {
        assert!(clock::monotonic() < deadline, "no partition was assigned");
        if let Some(MemberEvent::Assigned(list)) = member.poll(Duration::from_millis(10)) {
            assert_eq!(list, [AT]);
            member.assign(&[(AT, 0)]).unwrap();
            return member;
        }
    }
}

#[test]
fn a_commit_is_answered_and_a_refused_one_is_noticed() {
    let cluster = MockCluster::new(1).unwrap();
    let member = member(&cluster);

    let begun = clock::monotonic();
    member.commit_and_wait(&commit_of(7), TIMEOUT);
    assert!(
        clock::monotonic().duration_since(begun) < TIMEOUT,
        "the wait ended with the answer, not with its timeout"
    );
    assert!(!member.take_failed_commit());
    let found = member.committed(&[AT], TIMEOUT).unwrap();
    assert_eq!(
        (found[0].offset, found[0].metadata.as_str()),
        (Some(7), "metadata")
    );

    // An error for which librdkafka does not try again by itself.
    cluster.request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
    );
    member.commit(&commit_of(8));
    let deadline = clock::monotonic() + TIMEOUT;
    while !member.take_failed_commit() {
        assert!(
            clock::monotonic() < deadline,
            "the refused commit was not noticed"
        );
        member.poll(Duration::from_millis(10));
    }
    assert!(!member.take_failed_commit(), "reported once");
    member.leave();
}

#[test]
fn the_wait_for_a_commit_ends_after_its_timeout() {
    let cluster = MockCluster::new(1).unwrap();
    let member = member(&cluster);
    cluster.broker_round_trip_time(1, TIMEOUT * 2).unwrap();
    member.commit_and_wait(&commit_of(7), Duration::from_millis(50));
    assert!(member.take_failed_commit());
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    member.leave();
}

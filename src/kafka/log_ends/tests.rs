use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::GroupMember;
use crate::kafka::settings;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: 0, partition }
}

/// Publishes so many records to a partition.
fn publish(cluster: &MockCluster<'_, DefaultProducerContext>, partition: i32, records: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    for _ in 0..records {
        let record = BaseRecord::<(), str>::to("events")
            .partition(partition)
            .payload("x");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
}

fn member(cluster: &MockCluster<'_, DefaultProducerContext>) -> GroupMember {
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = ["events".to_owned()];
    let config = settings::detect_member(&config, "g");
    GroupMember::join(&config, "detect", &topics, None, client_events).unwrap()
}

fn receive(member: &GroupMember, ends: &mut LogEnds, count: usize) -> Vec<EndAnswer> {
    let deadline = clock::monotonic() + TIMEOUT;
    let mut answers = Vec::new();
    while answers.len() < count {
        assert!(clock::monotonic() < deadline, "waited in vain: {answers:?}");
        drop(member.poll(Duration::from_millis(1)));
        answers.extend(ends.receive());
    }
    answers.sort_by_key(|answer| answer.at);
    answers
}

#[test]
fn ends_of_all_partitions_come_with_the_instant_of_asking() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 2, 1).unwrap();
    publish(&cluster, 1, 3);
    let member = member(&cluster);
    let mut ends = member.log_ends(&[]);
    ends.ask([at(0), at(1)], 1_000);
    // What is still asked for is not asked for again.
    ends.ask([at(0), at(1)], 2_000);
    let answers = receive(&member, &mut ends, 2);
    let found: Vec<_> = answers
        .iter()
        .map(|one| (one.at, one.asked_ms, one.end))
        .collect();
    assert_eq!(found, [(at(0), 1_000, Ok(0)), (at(1), 1_000, Ok(3))]);
    publish(&cluster, 0, 1);
    ends.ask([at(0)], 3_000);
    let answers = receive(&member, &mut ends, 1);
    assert_eq!((answers[0].asked_ms, answers[0].end), (3_000, Ok(1)));
    drop(ends);
    member.leave();
}

#[test]
fn a_partition_without_a_leader_spoils_no_other() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 3, 1).unwrap();
    for partition in 0..3 {
        publish(&cluster, partition, 2);
    }
    cluster.partition_leader("events", 1, None).unwrap();
    let member = member(&cluster);
    let mut ends = member.log_ends(&[]);
    ends.ask([at(0), at(1), at(2)], 1_000);
    let answers = receive(&member, &mut ends, 3);
    let found: Vec<_> = answers.iter().map(|one| one.end.ok()).collect();
    assert_eq!(found, [Some(2), None, Some(2)]);
    // From now on it is asked for by itself, so the others are answered at once.
    let found = ends.find(&[at(0), at(1), at(2)], OffsetSpec::End, Duration::from_secs(3));
    let found: Vec<_> = found.values().map(|answer| (*answer).ok().flatten()).collect();
    assert_eq!(found, [Some(2), None, Some(2)]);
    cluster.partition_leader("events", 1, Some(1)).unwrap();
    let deadline = clock::monotonic() + TIMEOUT;
    // The client learns of the leader by and by.
    while ends.find(&[at(1)], OffsetSpec::Beginning, Duration::from_secs(3))[&at(1)] != Ok(Some(0)) {
        assert!(clock::monotonic() < deadline, "waited in vain");
    }
    drop(ends);
    member.leave();
}

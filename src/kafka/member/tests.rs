use std::collections::BTreeSet;

use rdkafka::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::settings;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

const NEW: TopicPartition = TopicPartition {
    topic: 0,
    partition: 0,
};
const TIER: TopicPartition = TopicPartition {
    topic: 1,
    partition: 0,
};
/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

fn publish(cluster: &MockCluster<'_, DefaultProducerContext>, topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    let record = BaseRecord::<(), str>::to(topic).payload(topic);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(TIMEOUT).unwrap();
}

/// A member of a group with two topics, of which the second has a reader of its own.
fn member(cluster: &MockCluster<'_, DefaultProducerContext>) -> GroupMember {
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    };
    let second_reader = SecondReaderSettings {
        topics: BTreeSet::from([TIER.topic]),
        config: settings::tiers_reader(&config, "g", 2, Duration::from_secs(1)),
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = ["new".to_owned(), "tier".to_owned()];
    let config = settings::deliver_member(&config, "g", 2);
    GroupMember::join(&config, "deliver", &topics, Some(second_reader), client_events).unwrap()
}

fn until<T>(member: &GroupMember, mut ask: impl FnMut(Option<MemberEvent>) -> Option<T>) -> T {
    let deadline = clock::monotonic() + TIMEOUT;
    loop {
        assert!(clock::monotonic() < deadline, "waited in vain");
        if let Some(answer) = ask(member.poll(Duration::from_millis(1))) {
            return answer;
        }
    }
}

/// Topics that a client reads.
fn read_by(consumer: &MemberConsumer) -> Vec<String> {
    let list = consumer.assignment().unwrap();
    list.elements().iter().map(|one| one.topic().to_owned()).collect()
}

#[test]
fn a_second_reader_fetches_what_the_group_assigns_the_member() {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["new", "tier"] {
        cluster.create_topic(topic, 1, 1).unwrap();
        publish(&cluster, topic);
    }
    let member = member(&cluster);
    let second = Arc::clone(&member.second_reader.as_ref().unwrap().consumer);
    let mut assigned = until(&member, |event| match event {
        Some(MemberEvent::Assigned(list)) => Some(list),
        _ => None,
    });
    assigned.sort();
    assert_eq!(assigned, [NEW, TIER], "the group gives the member both");

    // Twice, since records queued by the first assignment must not come through another queue.
    for _ in 0..2 {
        let mut queues = member.assign(&[(NEW, 0), (TIER, 0)]).unwrap();
        assert_eq!(read_by(&member.consumer), ["new"]);
        assert_eq!(read_by(&second), ["tier"]);
        for (queue, topic) in queues.iter_mut().zip(["new", "tier"]) {
            let payload = until(&member, |_| match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => Some(message.payload().unwrap().to_vec()),
                _ => None,
            });
            assert_eq!(payload, topic.as_bytes());
        }
        assert_eq!(
            (member.cached_end(NEW), member.cached_end(TIER)),
            (Some(1), Some(1))
        );
        drop(queues);
        member.unassign().unwrap();
        assert!(read_by(&member.consumer).is_empty() && read_by(&second).is_empty());
    }

    let commit = |at| Commit {
        at,
        offset: 1,
        metadata: "metadata".into(),
    };
    member.commit_and_wait(&[commit(NEW), commit(TIER)], TIMEOUT);
    assert!(!member.take_failed_commit());
    for found in member.committed(&[NEW, TIER], TIMEOUT).unwrap() {
        assert_eq!((found.offset, found.metadata.as_str()), (Some(1), "metadata"));
    }
    drop(second);
    member.leave();
}

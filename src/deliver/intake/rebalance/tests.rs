use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::MemberEvent;
use crate::kafka::settings;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

fn publish(brokers: &str, partition: i32) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let record = BaseRecord::<(), str>::to("deliveries")
        .partition(partition)
        .payload("x");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(TIMEOUT).unwrap();
}

#[test]
fn a_partition_without_a_leader_holds_up_no_other() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("deliveries", 2, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    (0..2).for_each(|partition| publish(&brokers, partition));
    cluster.partition_leader("deliveries", 1, None).unwrap();
    let config = KafkaConfig {
        brokers,
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let client = settings::deliver_member(&config, "g", 2);
    let member = GroupMember::join(&client, "deliver", &["deliveries".into()], None, client_events).unwrap();
    let deadline = clock::monotonic() + TIMEOUT;
    let mut list = loop {
        assert!(clock::monotonic() < deadline, "no partition was assigned");
        if let Some(MemberEvent::Assigned(list)) = member.poll(Duration::from_millis(10)) {
            break list;
        }
    };
    list.sort();
    // Nothing was committed yet.
    let starts = starts(&member, &list, &[Committed::default(), Committed::default()]);
    assert_eq!(starts, [(list[0], 0), (list[1], 0)]);
    let queues = member.assign(&starts).unwrap();
    let is_read = |at: usize| {
        drop(member.poll(Duration::from_millis(10)));
        queues[at]
            .poll(Duration::from_millis(10))
            .is_some_and(|record| record.is_ok())
    };
    while !is_read(0) {
        assert!(
            clock::monotonic() < deadline,
            "the partition with a leader is not read"
        );
    }
    cluster.partition_leader("deliveries", 1, Some(1)).unwrap();
    while !is_read(1) {
        assert!(
            clock::monotonic() < deadline,
            "a partition is not read once it has a leader"
        );
    }
    member.leave();
}

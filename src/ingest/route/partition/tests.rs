use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::MemberEvent;
use crate::kafka::settings;
use crate::telemetry::metrics::Labels;

const AT: TopicPartition = TopicPartition {
    topic: 0,
    partition: 3,
};

#[test]
fn a_commit_never_passes_a_record_that_is_not_acknowledged() {
    let epoch = Epoch(1);
    let mut partition = RoutedPartition::new(AT, epoch, 10, true);
    let first = partition.commit("n", false).expect("the chosen beginning");
    assert_eq!((first.offset, first.metadata.as_str()), (10, "v1 n -"));
    assert!(partition.commit("n", false).is_none());
    for offset in [10, 11, 12] {
        assert!(partition.offsets.open(offset));
    }
    partition.offsets.complete(epoch, 11);
    partition.offsets.complete(epoch, 12);
    assert!(partition.commit("n", false).is_none());
    assert_eq!(partition.commit("n", true).map(|commit| commit.offset), Some(10));
    partition.offsets.complete(epoch, 10);
    assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(13));
    // An acknowledgement that comes after the partition was given back and taken again.
    assert!(partition.offsets.open(13));
    partition.offsets.complete(Epoch(0), 13);
    assert!(partition.commit("n", false).is_none());
}

#[test]
fn the_end_behind_the_last_record_is_committed() {
    let epoch = Epoch(1);
    let mut partition = RoutedPartition::new(AT, epoch, 10, false);
    assert!(partition.begin(10, "t"));
    // The marker of a transaction lies behind it.
    partition.reach_end(12);
    assert!(
        partition.commit("n", false).is_none(),
        "the record is not acknowledged"
    );
    partition.offsets.complete(epoch, 10);
    assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(12));
    assert!(partition.commit("n", false).is_none());
    assert!(partition.begin(12, "t"));
    assert!(partition.commit("n", false).is_none());
    partition.offsets.complete(epoch, 12);
    assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(13));
}

#[test]
fn what_a_topic_made_anew_holds_is_read_and_committed() {
    let mut partition = RoutedPartition::new(AT, Epoch(1), 500, false);
    assert!(partition.begin(500, "t"));
    for offset in [0, 1] {
        assert!(partition.begin(offset, "t"));
    }
    let epoch = partition.offsets.epoch();
    // An acknowledgement of the topic that is gone changes nothing.
    partition.offsets.complete(Epoch(1), 0);
    assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(0));
    partition.offsets.complete(epoch, 0);
    partition.offsets.complete(epoch, 1);
    assert_eq!(partition.commit("n", false).map(|commit| commit.offset), Some(2));
}

#[test]
fn only_an_own_commit_within_the_partition_is_used() {
    let committed = |offset, metadata: &str| Committed {
        offset,
        metadata: metadata.to_owned(),
    };
    assert_eq!(usable(&committed(Some(5), "v1 n -"), 5), Some(5));
    assert_eq!(usable(&committed(Some(6), "v1 n -"), 5), None, "beyond the end");
    assert_eq!(usable(&committed(Some(5), ""), 5), None, "of another program");
    assert_eq!(usable(&committed(None, ""), 5), None);
}

/// A member of the group, with both partitions of the topic.
fn member_of(brokers: &str) -> (GroupMember, Vec<TopicPartition>) {
    let config = KafkaConfig {
        brokers: brokers.to_owned(),
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let client = settings::detect_member(&config, "g");
    let member = GroupMember::join(&client, "route", &["views".into()], None, client_events).unwrap();
    let deadline = clock::monotonic() + Duration::from_secs(30);
    loop {
        assert!(clock::monotonic() < deadline, "no partition was assigned");
        if let Some(MemberEvent::Assigned(mut list)) = member.poll(Duration::from_millis(10)) {
            list.sort();
            return (member, list);
        }
    }
}

#[test]
fn a_partition_without_commit_and_leader_stops_no_other() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("views", 2, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .create()
        .unwrap();
    let record = BaseRecord::<(), str>::to("views").partition(0).payload("x");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    cluster.partition_leader("views", 1, None).unwrap();
    let (member, list) = member_of(&brokers);
    let metrics = Metrics::new(&Labels::default());
    let first = |_| FirstStart::Back(Duration::from_secs(60));
    let taken = take(&member, &list, Epoch(1), first, &metrics).unwrap();
    let placed: Vec<_> = taken.iter().map(|one| (one.at, one.unplaced.is_some())).collect();
    assert_eq!(placed, [(list[0], false), (list[1], true)]);
    member.leave();
}

#[test]
fn a_partition_without_known_ends_begins_as_a_new_source() {
    let since_ms = Some(1_000);
    let mut partition = RoutedPartition {
        unplaced: Some(Unplaced { since_ms }),
        ..RoutedPartition::new(AT, Epoch(1), 0, true)
    };
    // The topic begins at 500: nothing was missed.
    assert!(partition.is_before_start(500, Some(900)));
    assert_eq!(partition.next(), 500);
    assert!(partition.begin(500, "t"));
    partition.last_record_ms = 900;
    assert!(!partition.is_before_start(501, Some(1_000)));
    assert!(partition.begin(501, "t"));
    assert!(!partition.is_before_start(502, Some(10)), "it has begun");
}

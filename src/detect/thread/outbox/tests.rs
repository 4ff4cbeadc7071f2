use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::telemetry::Metrics;

#[test]
fn a_position_settles_only_after_all_before_it() {
    let mut settling = Settling::default();
    let (first, second) = (Pending::default(), Pending::default());
    first.add();
    second.add();
    settling.push(10, first.clone());
    settling.push(20, second.clone());
    settling.push(30, Pending::default());
    second.done();
    assert_eq!(settling.take(), None);
    first.done();
    assert_eq!(settling.take(), Some(30));
    assert_eq!(settling.take(), None);
}

/// To a broker that is not there.
pub(crate) fn outbox() -> Outbox {
    let config = KafkaConfig {
        brokers: "127.0.0.1:9".to_owned(),
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Default::default())));
    Outbox {
        publisher: Publisher::new(&config, client_events).expect("it connects later"),
        topics: OutboxTopics {
            deliveries: "deliveries".into(),
            detector_state: "detector-state".into(),
            rejected: "rejected".into(),
        },
        runtime: Handle::current(),
        tasks: TaskTracker::new(),
        confirmed: std::sync::mpsc::channel().0,
    }
}

fn record(bytes: usize) -> OwnedRecord {
    OwnedRecord {
        topic: "rejected".into(),
        partition: None,
        key: None,
        value: Some(vec![b'x'; bytes].into()),
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn what_was_refused_and_waits_crowds_as_what_is_under_way_does() {
    let (outbox, pending) = (outbox(), Pending::default());
    // Larger than any message may be: refused at once, and offered again for ever.
    for _ in 0..17 {
        outbox.publish(record(2 << 20), &pending);
    }
    assert_eq!(outbox.publisher.unacknowledged(), 0);
    assert_eq!(outbox.publisher.backlog().records(), 17);
    assert!(outbox.publisher.backlog().is_crowded());
    assert!(!pending.is_settled());
}

#[tokio::test]
async fn large_records_crowd_long_before_the_producers_queue_is_full() {
    let (outbox, pending) = (outbox(), Pending::default());
    for _ in 0..600 {
        outbox.publish(record(64 << 10), &pending);
    }
    assert!(outbox.publisher.backlog().is_crowded());
}

use tokio::runtime::Handle;

use super::*;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::telemetry::Metrics;

/// An outbox to a broker that does not exist.
pub(crate) fn outbox() -> Outbox {
    let config = KafkaConfig {
        brokers: "127.0.0.1:9".to_owned(),
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Default::default())));
    let publisher = Publisher::new(&config, client_events).expect("a producer connects later");
    let runtime = Handle::current();
    Outbox {
        rejects: RejectPublisher::new(publisher.clone(), runtime.clone(), "rejected"),
        records: RetryingPublisher { publisher, runtime },
        topics: OutboxTopics {
            deliveries: "deliveries".into(),
            detector_state: "detector-state".into(),
        },
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
async fn refused_records_that_wait_crowd_the_backlog() {
    let (outbox, batch) = (outbox(), Unacknowledged::default());
    // Larger than any message may be, so it is refused at once and offered again for ever.
    for _ in 0..17 {
        outbox.publish(record(2 << 20), &batch);
    }
    // The client's queue holds none of them; it may hold a few reports that no broker answers.
    assert!(outbox.publisher().unacknowledged() < 17);
    assert_eq!(outbox.publisher().backlog().records(), 17);
    assert!(outbox.publisher().backlog().is_crowded());
    assert!(!batch.is_zero());
}

#[tokio::test]
async fn large_records_crowd_before_the_queue_is_full() {
    let (outbox, batch) = (outbox(), Unacknowledged::default());
    for _ in 0..600 {
        outbox.publish(record(64 << 10), &batch);
    }
    assert!(outbox.publisher().backlog().is_crowded());
}

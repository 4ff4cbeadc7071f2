use rdkafka::mocking::MockCluster;
use tokio::runtime::Handle;

use super::*;
use crate::config::KafkaConfig;
use crate::detect::thread::state_log::StateLog;
use crate::kafka::client::ClientEvents;
use crate::telemetry::Metrics;

/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An outbox to a broker that does not exist.
pub(crate) fn outbox() -> Outbox {
    outbox_to("127.0.0.1:9")
}

fn outbox_to(brokers: &str) -> Outbox {
    let config = KafkaConfig {
        brokers: brokers.to_owned(),
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
        turns: ThreadTurns::new(Duration::from_secs(6), clock::monotonic(), clock::now_ms()),
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

async fn until(claim: &str, is_so: impl Fn() -> bool) {
    let deadline = clock::monotonic() + TIMEOUT;
    while !is_so() {
        assert!(clock::monotonic() < deadline, "{claim}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_follows_a_state_waits_for_a_doubt_to_end() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("detector-state", 1, 1).unwrap();
    let outbox = outbox_to(&cluster.bootstrap_servers());
    for is_lost in [false, true] {
        let (states, batch) = (StateLog::new(0), Unacknowledged::default());
        let state = StateRecord::tombstone("a.example".parse().unwrap(), 0);
        outbox.publish_state(0, state, &batch, states.begin());
        // As after a suspension.
        let now = clock::monotonic();
        assert!(outbox.turns.note(now, clock::now_ms() - 9_000));
        until("the state is acknowledged", || states.end() > 0).await;
        assert!(!batch.is_zero() && outbox.publisher().backlog().records() == 1);
        assert!(outbox.turns.note(now, clock::now_ms()));
        match is_lost {
            false => assert!(outbox.turns.confirm(now, clock::now_ms())),
            true => assert!(outbox.turns.lose(now, clock::now_ms())),
        }
        until("its task ends", || outbox.publisher().backlog().records() == 0).await;
        assert_eq!(batch.is_zero(), !is_lost);
    }
}

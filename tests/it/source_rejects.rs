//! Source records that are rejected: the site is notified of many of them, and none does harm to
//! others.

use std::time::Duration;

use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "a.example";

/// Adds a webhook that is told of three rejected records.
async fn watch_rejects(deployment: &Deployment, process: &Process, receiver: &Receiver) {
    let webhook = json!({"name": "errors", "url": receiver.url("hook"), "events": ["error_condition"],
                         "triggers": {"error_condition": {"rejected_events": 3}}});
    deployment.create_webhook(process, SITE, webhook).await;
    deployment.registry_is_read(process).await;
}

#[tokio::test]
async fn rejects_of_an_unkeyed_source_notify_their_site() {
    let sources = "[{topic=\"{source}\", clock=\"live\", keyed=false}]";
    let deployment = Deployment::create(&[("sources", sources)]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    watch_rejects(&deployment, &process, &receiver).await;
    for n in 0..4 {
        // The site can be read, the visitor is missing, and the key is nobody's.
        let event = json!({"site_id": SITE, "type": "pageview", "path": format!("/{n}")}).to_string();
        let record = FutureRecord::<[u8], [u8]>::to(&deployment.source).payload(event.as_bytes());
        deployment.producer.send(record, TIMEOUT).await.unwrap();
    }
    let body = receiver.wait_for("hook", 1).await.remove(0).json();
    assert_eq!(
        (&body["event"], &body["site_id"]),
        (&json!("error_condition"), &json!(SITE))
    );
    let data = &body["data"];
    assert_eq!(
        (
            &data["kind"],
            &data["count"],
            &data["threshold"],
            &data["window_seconds"]
        ),
        (&json!("rejected_events"), &json!(3), &json!(3), &json!(300))
    );
    // Each is kept once: the note for the detector is no reject of its own.
    eventually("all four are kept", TIMEOUT, || async {
        (kafka::read_all(&deployment.topic("rejected")).len() == 4).then_some(())
    })
    .await;
    let events = deployment.topic("events");
    let noted = format!("bellwether_events_total{{result=\"rejected\",source=\"{events}\"}}");
    process.metric_is(&noted, 4.0).await;
    let lag = format!("bellwether_consumer_lag_records{{group=\"detect\",topic=\"{events}\"}}");
    process.metric_is(&lag, 0.0).await;
    assert_eq!(kafka::read_all(&deployment.topic("rejected")).len(), 4);
    assert_eq!(receiver.received("hook").len(), 1, "once an episode");
}

#[tokio::test]
async fn a_reject_of_a_keyed_source_is_that_of_its_key() {
    let deployment = Deployment::create(&[("kafka.partitions", "1")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    watch_rejects(&deployment, &process, &receiver).await;
    let publish = async |key: &str| {
        // The site can be read, and the visitor is missing.
        let event = json!({"site_id": SITE, "type": "pageview", "path": "/"}).to_string();
        kafka::publish(&deployment.producer, &deployment.source, key, event).await;
    };
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"detect\",topic=\"{}\"}}",
        deployment.source
    );
    let rejected = format!(
        "bellwether_events_total{{result=\"rejected\",source=\"{}\"}}",
        deployment.source
    );
    for _ in 0..3 {
        publish("nobody.example").await;
    }
    process.metric_is(&rejected, 3.0).await;
    process.metric_is(&lag, 0.0).await;
    publish(SITE).await;
    publish(SITE).await;
    process.metric_is(&rejected, 5.0).await;
    process.metric_is(&lag, 0.0).await;
    let episodes = "bellwether_episodes{event=\"error_condition\"}";
    assert_eq!(process.metric(episodes).await, 0.0);
    publish(SITE).await;
    receiver.wait_for("hook", 1).await;
}

#[tokio::test]
async fn an_event_400_days_ahead_of_a_log_is_rejected() {
    let sources = "[{topic=\"{source}\", clock=\"log\"}]";
    let deployment = Deployment::create(&[("sources", sources)]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let webhook = json!({"name": "spikes", "url": receiver.url("hook"), "events": ["visitor_spike"],
                         "triggers": {"visitor_spike": {"threshold": 2}}});
    deployment.create_webhook(&process, SITE, webhook).await;
    deployment.registry_is_read(&process).await;
    let visit = |visitor: &'static str, timestamp: &'static str| {
        let event =
            json!({"site_id": SITE, "type": "pageview", "visitor_id": visitor, "timestamp": timestamp});
        deployment.publish(event)
    };
    visit("a", "2024-01-01T00:00:00Z").await;
    // The first second that is too far ahead, and the farthest.
    visit("c", "2025-02-04T00:00:01Z").await;
    let farthest = json!({"site_id": SITE, "type": "goal", "name": "x", "timestamp": "9999-01-01T00:00:00Z"});
    deployment.publish(farthest).await;
    // The window of the first visitor has not passed.
    visit("b", "2024-01-01T00:04:59Z").await;
    let body = receiver.wait_for("hook", 1).await.remove(0).json();
    assert_eq!(body["timestamp"], json!("2024-01-01T00:04:59Z"));
    let rejected = eventually("both are kept", TIMEOUT, || async {
        let rejected = kafka::read_all(&deployment.topic("rejected"));
        (rejected.len() == 2).then_some(rejected)
    })
    .await;
    for record in &rejected {
        assert_eq!(kafka::header(record, "bw-reason"), Some("bad_field"));
        assert_eq!(kafka::header(record, "bw-field"), Some("timestamp"));
        assert!(kafka::header(record, "bw-detail").unwrap().contains("400 days"));
    }
    // Exactly 400 days are taken.
    visit("c", "2025-02-04T00:04:59Z").await;
    visit("d", "2025-02-04T00:05:00Z").await;
    receiver.wait_for("hook", 2).await;
}

#[tokio::test]
async fn a_reject_that_fits_nowhere_is_dropped_and_counted() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, SITE).await;
    // Not even a record without key and value is small enough.
    kafka::set_max_message_bytes(&deployment.topic("rejected"), 1).await;
    assert_eq!(process.metric("bellwether_rejects_dropped_total").await, 0.0);
    for _ in 0..3 {
        kafka::publish(&deployment.producer, &deployment.source, SITE, "no event").await;
    }
    process.metric_is("bellwether_rejects_dropped_total", 3.0).await;
    let goal = json!({"site_id": SITE, "type": "goal", "name": "after"});
    deployment.publish(goal).await;
    receiver.wait_for("hook", 1).await;
    let (group, topic) = (deployment.topic("detect"), &deployment.source);
    eventually("all is committed", TIMEOUT, || async {
        (kafka::uncommitted(&group, topic) == 0).then_some(())
    })
    .await;
    assert_eq!(kafka::read_all(&deployment.topic("rejected")).len(), 0);
}

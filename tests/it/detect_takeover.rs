//! Take-overs of a detector's partitions: how long they take, and how far they are.

use std::cell::Cell;
use std::time::Duration;

use bellwether::kafka::murmur2;
use rdkafka::ClientConfig;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The sessions of the group, which wait so long for a member that is gone.
const SESSION_MS: i64 = 6_000;
const REMAINING: &str = "bellwether_replay_remaining_records";

/// A site in each of the four partitions.
fn sites() -> [String; 4] {
    [0, 1, 2, 3].map(|partition| {
        let mut names = (0..).map(|n| format!("{n}.example"));
        let is_there = |name: &String| murmur2::partition_of(name.as_bytes(), 4) == partition;
        names.find(is_there).unwrap()
    })
}

/// Webhooks for goals, and for spikes whose window of an hour is to be rebuilt.
async fn watch(deployment: &Deployment, process: &Process, receiver: &Receiver) {
    for site in sites() {
        let hook = json!({"name": "all", "url": receiver.url("hook"),
                          "events": ["goal_completion", "visitor_spike"],
                          "triggers": {"visitor_spike": {"threshold": 100_000, "window_seconds": 3_600}}});
        deployment.create_webhook(process, &site, hook).await;
    }
    deployment.registry_is_read(process).await;
}

/// Publishes so many visits of each site, by a producer with these settings, and waits until all
/// are read.
fn visit(deployment: &Deployment, sites: &[String], visits: usize, settings: &[(&str, &str)]) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka::brokers())
        .set("partitioner", "murmur2_random");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: BaseProducer = config.create().unwrap();
    for n in 0..visits {
        for site in sites {
            let event =
                json!({"site_id": site, "type": "pageview", "visitor_id": n.to_string(), "path": "/"});
            let value = event.to_string();
            let record = BaseRecord::to(&deployment.source).key(site).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(TIMEOUT).unwrap();
}

async fn is_committed(deployment: &Deployment) {
    let group = deployment.topic("detect");
    eventually("everything is read", TIMEOUT, || async {
        (kafka::uncommitted(&group, &deployment.source) == 0).then_some(())
    })
    .await;
}

async fn publish_goals(deployment: &Deployment) {
    for site in sites() {
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": "after"}))
            .await;
    }
}

/// Times of the records of deliveries, in milliseconds.
fn decided_ms(deployment: &Deployment) -> Vec<i64> {
    let records = kafka::read_all(&deployment.topic("deliveries"));
    let times = records.iter().map(|record| record.timestamp().to_millis());
    times.map(Option::unwrap).collect()
}

#[tokio::test]
async fn a_killed_owners_partitions_are_taken_over_within_the_bar() {
    const VISITS: usize = 5_000;
    let deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let first = deployment.serve(&[]).await;
    watch(&deployment, &first, &receiver).await;
    let second = deployment.serve(&[]).await;
    let held = "bellwether_consumer_partitions{group=\"detect\"}";
    first.metric_is(held, 2.0).await;
    second.metric_is(held, 2.0).await;
    visit(&deployment, &sites(), VISITS, &[]);
    is_committed(&deployment).await;
    let replayed = format!(
        "bellwether_events_total{{result=\"replayed\",source=\"{}\"}}",
        deployment.source
    );
    let before = first.metric(&replayed).await;
    let killed_ms = chrono::Utc::now().timestamp_millis();
    second.kill();
    publish_goals(&deployment).await;
    let decided = eventually("all partitions decide", TIMEOUT, || async {
        let decided = decided_ms(&deployment);
        (decided.len() == 4).then_some(decided)
    })
    .await;
    let taken_ms = decided.iter().max().unwrap() - killed_ms;
    first.metric_is(held, 4.0).await;
    let again = first.metric(&replayed).await - before;
    println!("takeover: decided {taken_ms} ms after the kill, {again} records were read again");
    assert!(again >= 2.0 * VISITS as f64, "{again}");
    // The bar is a session, a second and the replay; a debug build beside others reads some
    // thousand records a second.
    let replay_ms = again as i64 / 2;
    assert!(taken_ms <= SESSION_MS + 1_000 + replay_ms, "{taken_ms}");
}

#[tokio::test]
async fn the_progress_of_a_long_replay_is_shown() {
    let mut deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    watch(&deployment, &process, &receiver).await;
    let [site, ..] = sites();
    let one_a_batch = [("batch.num.messages", "1")];
    visit(&deployment, std::slice::from_ref(&site), 6_000, &one_a_batch);
    is_committed(&deployment).await;
    assert_eq!(process.metric(REMAINING).await, 0.0);
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    // A batch at a time, so that it takes a while.
    deployment.set("kafka.properties.fetch.message.max.bytes", "100");
    let process = deployment.spawn(&[]);
    let shown = Cell::new(Vec::<f64>::new());
    eventually("records are to be read again, and then none", TIMEOUT, || async {
        let remaining = process.try_metric(REMAINING).await?;
        let mut all = shown.take();
        let has_ended = remaining == 0.0 && !all.is_empty();
        all.extend((remaining > 0.0).then_some(remaining));
        shown.set(all);
        has_ended.then_some(())
    })
    .await;
    let shown = shown.take();
    assert!(shown.is_sorted_by(|one, next| one >= next), "{shown:?}");
    deployment
        .publish(json!({"site_id": site, "type": "goal", "name": "after"}))
        .await;
    receiver.wait_for("hook", 1).await;
}

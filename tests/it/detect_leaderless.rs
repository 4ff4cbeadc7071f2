//! A partition without a leader, as when its broker is down: only it waits, `/readyz` names it, and
//! it goes on once there is a leader again.

use std::time::Duration;

use bellwether::kafka::murmur2;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);
const UNRESTORED: &str = "bellwether_partitions_unrestored";
/// The partition that loses its leader, and another.
const LOST: i32 = 1;
const OTHER: i32 = 2;

fn site_of(partition: i32) -> String {
    let mut names = (0..).map(|n| format!("{n}.example"));
    let is_there = |name: &String| murmur2::partition_of(name.as_bytes(), 4) == partition;
    names.find(is_there).unwrap()
}

/// Publishes a goal of the site in a partition, and waits until its webhook has it.
async fn notifies(deployment: &Deployment, receiver: &Receiver, partition: i32) {
    let path = partition.to_string();
    let before = receiver.received(&path).len();
    deployment
        .publish(json!({"site_id": site_of(partition), "type": "goal", "name": "goal"}))
        .await;
    receiver.wait_for(&path, before + 1).await;
}

async fn unrestored_is(process: &Process, partitions: f64) {
    process.metric_is(UNRESTORED, partitions).await;
}

/// What `/readyz` says of the partition that waits; the process is ready all the same.
async fn notice_of(process: &Process, words: &[&str]) {
    eventually(&format!("a notice with {words:?}"), TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let notices: Vec<String> = serde_json::from_value(answer["notices"].clone()).ok()?;
        let is_it = |text: &String| words.iter().all(|word| text.contains(word));
        (status == StatusCode::OK && notices.iter().any(is_it)).then_some(())
    })
    .await;
}

async fn only_it_waits(name: &str) {
    let wire = Wire::to_kafka().await;
    // Soon, so that clients notice who leads again.
    let refresh = ("kafka.properties.topic.metadata.refresh.interval.ms", "1000");
    let mut deployment = Deployment::create(&[refresh]).await;
    deployment.set("kafka.brokers", &wire.address());
    let topic = match name {
        "source" => deployment.source.clone(),
        name => deployment.topic(name),
    };
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    for partition in [LOST, OTHER] {
        let url = receiver.url(&partition.to_string());
        deployment.goal_webhook(&process, &site_of(partition), &url).await;
    }
    deployment.registry_is_read(&process).await;
    for partition in [LOST, OTHER] {
        notifies(&deployment, &receiver, partition).await;
    }
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());

    wire.take_leader(Some((&topic, LOST)));
    let process = deployment.serve(&[]).await;
    notifies(&deployment, &receiver, OTHER).await;
    unrestored_is(&process, 1.0).await;
    notice_of(&process, &[&format!("{topic}/{LOST}"), "waits"]).await;
    notifies(&deployment, &receiver, OTHER).await;

    wire.take_leader(None);
    unrestored_is(&process, 0.0).await;
    notifies(&deployment, &receiver, LOST).await;
    notifies(&deployment, &receiver, OTHER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_source_only_the_leaderless_partition_waits() {
    only_it_waits("source").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_states_only_the_leaderless_partition_waits() {
    only_it_waits("detector-state").await;
}

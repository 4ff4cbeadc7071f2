//! Detectors that were suspended: for longer than their session, so that another has their
//! partitions, or for less.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use serde_json::json;

use crate::detect_completeness::{admin, two_sources};
use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITES: usize = 8;
const SUSPICION: &str = "it asks the group before it goes on";

fn site(n: usize) -> String {
    format!("{n}.example")
}

/// Publishes an event of every site, one after the other.
async fn events(deployment: &Deployment, topic: &str) {
    for n in 0..SITES {
        let event = json!({"site_id": site(n), "type": "custom", "name": "order"});
        deployment.publish_to(topic, event).await;
    }
}

/// Waits until everything that was published is decided and committed.
async fn is_committed(deployment: &Deployment, topics: [&str; 2]) {
    let group = deployment.topic("detect");
    eventually("everything is read", TIMEOUT, || async {
        let left: i64 = topics.iter().map(|topic| kafka::uncommitted(&group, topic)).sum();
        (left == 0).then_some(())
    })
    .await;
}

async fn holds(process: &Process, partitions: f64) {
    let series = "bellwether_consumer_partitions{group=\"detect\"}";
    process.metric_is(series, partitions).await;
}

/// Ids of the notifications of a site that were published.
fn notifications(deployment: &Deployment, site: &str) -> BTreeSet<String> {
    let records = kafka::read_all(&deployment.topic("deliveries"));
    let of_site = records
        .iter()
        .filter(|record| kafka::header(record, "bw-site-id") == Some(site));
    let ids = of_site.filter_map(|record| kafka::header(record, "bw-notification-id"));
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_woken_process_decides_nothing_that_another_has() {
    let (deployment, more) = two_sources(&[]).await;
    let topics = [deployment.source.as_str(), more.as_str()];
    let receiver = Receiver::start().await;
    let suspended = deployment.serve(&[]).await;
    for n in 0..SITES {
        let hook = json!({"name": "every other", "url": receiver.url("hook"), "events": ["custom_event"],
                          "triggers": {"custom_event": {"every": 2}}});
        deployment.create_webhook(&suspended, &site(n), hook).await;
    }
    deployment.registry_is_read(&suspended).await;
    let other = deployment.serve(&[]).await;
    holds(&suspended, 2.0).await;
    events(&deployment, topics[0]).await;
    is_committed(&deployment, topics).await;
    for round in 1..=6 {
        suspended.signal("STOP");
        // The first of these answer the requests that the suspended process has left open, so it
        // has them in hand. The other process may get them after those of the other source.
        events(&deployment, topics[round % 2]).await;
        events(&deployment, topics[(round + 1) % 2]).await;
        holds(&other, 4.0).await;
        is_committed(&deployment, topics).await;
        suspended.signal("CONT");
        holds(&other, 2.0).await;
        eventually("the woken process is a member again", TIMEOUT, || async {
            let log = suspended.log_text();
            let taken = log
                .lines()
                .filter(|line| line.contains("partitions assigned") && line.contains("\"detect\""));
            (taken.count() > round + 1).then_some(())
        })
        .await;
        for n in 0..SITES {
            assert_eq!(notifications(&deployment, &site(n)).len(), round, "{}", site(n));
        }
    }
}

#[tokio::test]
async fn a_deleted_source_holds_no_process_that_was_suspended() {
    // As long as a session: what holds the process until it is over does not pass unnoticed.
    let settings = [("kafka.properties.session.timeout.ms", "25000")];
    let (deployment, more) = two_sources(&settings).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&process, &site(0), &receiver.url("goal"))
        .await;
    deployment.registry_is_read(&process).await;
    let goal = json!({"site_id": site(0), "type": "goal", "name": "goal"});
    deployment.publish(goal.clone()).await;
    receiver.wait_for("goal", 1).await;
    let deleted = admin().delete_topics(&[&more], &AdminOptions::new()).await;
    assert!(deleted.unwrap()[0].is_ok());
    process.signal("STOP");
    deployment.publish(goal).await;
    // Time has to pass: more than half a session.
    tokio::time::sleep(Duration::from_secs(14)).await;
    process.signal("CONT");
    let woken = std::time::Instant::now();
    receiver.wait_for("goal", 2).await;
    assert!(woken.elapsed() < Duration::from_secs(10), "{:?}", woken.elapsed());
    assert!(process.log_text().contains(SUSPICION));
}

//! A source whose topic is deleted while it is read: nobody knows what it held, so no silence is
//! concluded from it, neither while it is missing nor when it is there again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::detect_completeness::{create_topic, two_sources};
use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::topics_anew::delete;

const TIMEOUT: Duration = Duration::from_secs(90);
const SITE: &str = "drop.example";
const AGE: &str = "bellwether_proven_end_age_seconds";
const DROPS: &str = "bellwether_notifications_total{event=\"visitor_drop\"}";
const INCOMPLETE: &str = "bellwether_partitions_incomplete";

/// A process that has read three visitors of half a minute ago, of a site whose drop would have
/// fallen due since then without them.
async fn reading(deployment: &Deployment, receiver: &Receiver) -> Process {
    let mut process = deployment.serve(&[]).await;
    let hook = json!({"name": "drop", "url": receiver.url("drop"), "events": ["visitor_drop"],
                      "triggers": {"visitor_drop": {"threshold": 2, "window_seconds": 300,
                                                    "require_history": false}}});
    deployment.create_webhook(&process, SITE, hook).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    sqlx::query("update webhooks set active_since = now() - interval '320 seconds'")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
    let then = chrono::Utc::now().timestamp_millis() - 30_000;
    for visitor in ["a", "b", "c"] {
        let event = json!({"site_id": SITE, "type": "pageview", "visitor_id": visitor, "path": "/",
                           "timestamp": then});
        deployment.publish(event).await;
    }
    let process = deployment.serve(&[]).await;
    process.metric_is("bellwether_visitors", 3.0).await;
    age_is(&process, |age| age < 3.0).await;
    process.metric_is(DROPS, 0.0).await;
    process
}

async fn age_is(process: &Process, wanted: impl Fn(f64) -> bool) {
    eventually("the age of the proof", TIMEOUT, || async {
        wanted(process.try_metric(AGE).await?).then_some(())
    })
    .await;
}

/// Number of times that the detector has taken partitions.
fn assignments(process: &Process) -> usize {
    let log = process.log_text();
    let is_one = |line: &&str| line.contains("partitions assigned") && line.contains("\"detect\"");
    log.lines().filter(is_one).count()
}

async fn is_assigned_again(process: &Process, before: usize) {
    eventually("the group assigns partitions again", TIMEOUT, || async {
        (assignments(process) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_source_that_is_gone_makes_no_drop() {
    // Soon, so that the group notices what is gone and what is there again.
    let refresh = ("kafka.properties.topic.metadata.refresh.interval.ms", "1000");
    let (deployment, _) = two_sources(&[refresh]).await;
    let receiver = Receiver::start().await;
    let process = reading(&deployment, &receiver).await;

    let before = assignments(&process);
    delete(&[&deployment.source]).await;
    is_assigned_again(&process, before).await;
    age_is(&process, |age| age > 6.0).await;
    process.metric_is(DROPS, 0.0).await;
    process.metric_is(INCOMPLETE, 1.0).await;
    let told = |line: &str| line.contains("\"warn\"") && line.contains("the source is missing");
    assert!(process.log_text().lines().any(told));
    let detail = eventually("it is not ready", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let detail = answer["checks"]["kafka"].as_str()?.to_owned();
        (status == StatusCode::SERVICE_UNAVAILABLE && detail != "ok").then_some(detail)
    })
    .await;
    let is_named = detail.contains(&deployment.source) && detail.contains("no such topic");
    assert!(is_named, "{detail}");

    let before = assignments(&process);
    create_topic(&deployment.source, 4).await;
    is_assigned_again(&process, before).await;
    eventually("it is ready again", TIMEOUT, || async {
        (process.readyz().await?.0 == StatusCode::OK).then_some(())
    })
    .await;
    // Silent sites are moved on again, and still nobody knows of the visitors before.
    age_is(&process, |age| age < 3.0).await;
    process.metric_is(DROPS, 0.0).await;
    process.metric_is(INCOMPLETE, 1.0).await;
}

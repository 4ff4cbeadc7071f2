//! Records that have no time, or one that cannot be true: what is notified of them, and who is told
//! of what is not.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::producer::FutureRecord;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "example.com";
/// Time of a record that has none.
const NO_TIME: i64 = -1;

/// Short, because the group waits so long for a member that was killed.
const SHORT_SESSION: [(&str, &str); 2] = [
    ("kafka.properties.session.timeout.ms", "1500"),
    ("kafka.properties.heartbeat.interval.ms", "300"),
];

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

fn goal(n: i64, timestamp_ms: Option<i64>) -> Value {
    let mut event = json!({"site_id": SITE, "type": "goal", "name": format!("goal {n}"),
                           "event_id": format!("e-{n}")});
    if let Some(ms) = timestamp_ms {
        event["timestamp"] = json!(ms);
    }
    event
}

/// A process, and a receiver of the site's goals at `hook` whose webhook is an hour old: younger
/// ones are not told of what came before.
async fn stage(deployment: &Deployment) -> (Process, Receiver) {
    let mut process = deployment.serve(&["--roles", "api"]).await;
    let receiver = deployment.goal_receiver(&process, SITE).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    sqlx::query("update webhooks set active_since = now() - interval '1 hour'")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
    (deployment.serve(&[]).await, receiver)
}

async fn publish_at(deployment: &Deployment, record_ms: i64, event: &Value) {
    let value = event.to_string();
    let record = FutureRecord::to(&deployment.source)
        .key(SITE)
        .payload(&value)
        .timestamp(record_ms);
    deployment.producer.send(record, TIMEOUT).await.unwrap();
}

fn group(deployment: &Deployment) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .set("group.id", deployment.topic("detect"))
        .create()
        .unwrap()
}

/// What the group has committed of the source, with the notes of its members.
fn commits(deployment: &Deployment) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition(&deployment.source, partition);
    }
    group(deployment).committed_offsets(list, TIMEOUT).unwrap()
}

/// The commits of a group that has read nothing, once they are there.
async fn beginning(deployment: &Deployment) -> TopicPartitionList {
    eventually("the beginning is committed", TIMEOUT, || async {
        let commits = commits(deployment);
        let mut all = commits.elements().into_iter();
        let are_there = all.all(|one| matches!(one.offset(), Offset::Offset(_)));
        are_there.then_some(commits)
    })
    .await
}

/// Starts a process that reads seven records again, as if nothing of them had been committed, and
/// returns it with the notifications of both readings.
async fn read_again(
    deployment: &Deployment,
    beginning: &TopicPartitionList,
) -> (Process, BTreeMap<String, Vec<OwnedMessage>>) {
    eventually("the commits are put back", TIMEOUT, || async {
        group(deployment).commit(beginning, CommitMode::Sync).ok()
    })
    .await;
    let process = deployment.serve(&[]).await;
    let twice = eventually("all are decided again", TIMEOUT, || async {
        let by_id = notifications(deployment);
        let records: usize = by_id.values().map(Vec::len).sum();
        (records >= 14).then_some(by_id)
    })
    .await;
    (process, twice)
}

/// The notifications on the topic of deliveries, by their ids, each with its copies.
fn notifications(deployment: &Deployment) -> BTreeMap<String, Vec<OwnedMessage>> {
    let mut by_id = BTreeMap::<String, Vec<OwnedMessage>>::new();
    for record in kafka::read_all(&deployment.topic("deliveries")) {
        let id = kafka::header(&record, "bw-notification-id").unwrap().to_owned();
        by_id.entry(id).or_default().push(record);
    }
    by_id
}

#[tokio::test]
async fn records_without_a_time_notify_at_their_events_own() {
    let deployment = Deployment::create(&SHORT_SESSION).await;
    let (process, receiver) = stage(&deployment).await;
    let beginning = beginning(&deployment).await;
    // A notification's time is a whole second.
    let begun = now_ms() / 1_000 * 1_000;
    // One of them an hour ahead: it counts at the wall clock's time.
    let own = [60_000, 50_000, 40_000, 30_000, 20_000, 10_000, -3_600_000].map(|ago| begun - ago);
    for (n, own) in (0..).zip(own) {
        publish_at(&deployment, NO_TIME, &goal(n, Some(own))).await;
    }
    for received in receiver.wait_for("hook", 7).await {
        let body = received.json();
        let name = body["data"]["goal_name"].as_str().unwrap();
        let n: usize = name.strip_prefix("goal ").unwrap().parse().unwrap();
        let at: DateTime<Utc> = body["timestamp"].as_str().unwrap().parse().unwrap();
        let at = at.timestamp_millis();
        match n {
            6 => assert!((begun..=now_ms()).contains(&at), "{body}"),
            _ => assert_eq!(at, own[n], "{body}"),
        }
    }
    let records = kafka::read_all(&deployment.source);
    let times: Vec<_> = records.iter().map(|one| one.timestamp().to_millis()).collect();
    assert_eq!(times, [None; 7], "the broker gave them none");
    let stale = "bellwether_suppressed_total{event=\"goal_completion\",reason=\"stale\"}";
    assert_eq!(process.metric(stale).await, 0.0);

    process.kill();
    let (process, twice) = read_again(&deployment, &beginning).await;
    assert_eq!(twice.len(), 7, "under the same ids");
    for copies in twice.values() {
        let names = copies.iter().map(|one| {
            let body: Value = serde_json::from_slice(one.payload().unwrap()).unwrap();
            body["data"]["goal_name"].clone()
        });
        let mut names: Vec<Value> = names.collect();
        names.dedup();
        assert_eq!((copies.len(), names.len()), (2, 1), "{names:?}");
    }
    deployment.publish(goal(7, None)).await;
    receiver.wait_for("hook", 8).await;
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{}\"}}",
        deployment.topic("deliveries")
    );
    process.metric_is(&lag, 0.0).await;
    assert_eq!(receiver.received("hook").len(), 8, "and sent once");
}

#[tokio::test]
async fn events_stale_by_record_time_are_counted_and_told() {
    let deployment = Deployment::create(&[]).await;
    let (process, receiver) = stage(&deployment).await;
    let now = now_ms();
    let twenty_minutes_ago = now - 1_200_000;
    let in_seconds = now / 1_000;
    for (n, record_ms) in (0..14).zip([twenty_minutes_ago, in_seconds].into_iter().cycle()) {
        publish_at(&deployment, record_ms, &goal(n, Some(now))).await;
    }
    let stale = "bellwether_suppressed_total{event=\"goal_completion\",reason=\"stale\"}";
    process.metric_is(stale, 14.0).await;
    let read = format!(
        "bellwether_events_total{{result=\"stale\",source=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&read, 14.0).await;
    let line = |words: &[&str]| {
        let log = process.log_text();
        log.lines()
            .any(|line| line.contains("\"warn\"") && words.iter().all(|word| line.contains(word)))
    };
    assert!(line(&["a notification lies too far in the past", SITE]));
    let events = "has events too far in the past to be notified (detect.stale_after)";
    assert!(line(&[events, &deployment.source]));
    // One notice for each cause, beside a process that is ready.
    let notices = eventually("both notices", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        assert!(status.is_success(), "{answer}");
        let notices: Vec<String> = serde_json::from_value(answer["notices"].clone()).ok()?;
        let of_events = notices.into_iter().filter(|text| text.contains(events));
        let of_events: Vec<String> = of_events.collect();
        (of_events.len() == 2).then_some(of_events)
    })
    .await;
    assert!(notices.iter().all(|text| text.contains(&deployment.source)));
    assert_eq!(receiver.received("hook").len(), 0);
}

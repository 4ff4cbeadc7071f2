//! Sources that are not keyed by site: `route` keys them, once for whoever is notified.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use bellwether::kafka::murmur2;

use crate::support::app::{Deployment, Process};
use crate::support::faults::Dice;
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "shop.example";
/// The site's id at the producer.
const WEBSITE: &str = "5e9c0f1e-0000-4000-8000-000000000001";

async fn deployment() -> Deployment {
    Deployment::create(&[
        ("sources", "[{topic=\"{source}\", format=\"umami\"}]"),
        // Short, because the group waits so long for each member that was killed.
        ("kafka.properties.session.timeout.ms", "1500"),
        ("kafka.properties.heartbeat.interval.ms", "300"),
    ])
    .await
}

/// Registers the site with its alias, a goal and a webhook for goals and spikes at `hook`.
async fn set_up(deployment: &Deployment, process: &Process) -> Receiver {
    let receiver = Receiver::start().await;
    let put = |path: String, method, body| async move {
        let (status, answer) = deployment.call(process, method, &path, Some(body)).await;
        assert!(status.is_success(), "{answer}");
    };
    put(
        format!("/api/sites/{SITE}"),
        Method::PUT,
        json!({"aliases": [WEBSITE]}),
    )
    .await;
    let goal = json!({"name": "Purchase", "kind": "event", "event": "purchase"});
    put(format!("/api/sites/{SITE}/goals"), Method::POST, goal).await;
    let webhook = json!({
        "name": "all", "url": receiver.url("hook"), "events": ["goal_completion", "visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 3}}, "rate_limit_per_second": null,
    });
    deployment.create_webhook(process, SITE, webhook).await;
    deployment.registry_is_read(process).await;
    receiver
}

fn umami(kind: u8, session: &str, event_id: &str) -> String {
    let at = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S").to_string();
    json!({
        "website_id": WEBSITE, "session_id": session, "event_id": event_id, "url_path": "/checkout/thanks",
        "event_type": kind, "event_name": (kind == 2).then_some("purchase"), "created_at": at,
    })
    .to_string()
}

/// Publishes without a key, as Umami does.
async fn publish(deployment: &Deployment, value: impl AsRef<[u8]>) {
    let record = FutureRecord::<[u8], [u8]>::to(&deployment.source).payload(value.as_ref());
    deployment
        .producer
        .send(record, Duration::from_secs(10))
        .await
        .unwrap();
}

fn events_of(receiver: &Receiver, event: &str) -> Vec<Value> {
    let all = receiver.received("hook").into_iter().map(|one| one.json());
    all.filter(|body| body["event"] == event).collect()
}

#[tokio::test]
async fn unkeyed_events_notify_the_site_that_their_alias_means() {
    let deployment = deployment().await;
    let process = deployment.serve(&[]).await;
    let receiver = set_up(&deployment, &process).await;
    publish(&deployment, umami(1, "session-a", "e-1")).await;
    publish(&deployment, umami(1, "session-a", "e-2")).await;
    publish(&deployment, umami(1, "session-b", "e-3")).await;
    publish(&deployment, umami(2, "session-b", "e-4")).await;
    let goal = receiver.wait_for("hook", 1).await.remove(0).json();
    assert_eq!(
        (&goal["event"], &goal["site_id"]),
        (&json!("goal_completion"), &json!(SITE))
    );
    assert_eq!(goal["data"]["goal_name"], "Purchase");
    // The third visitor, not the third event, makes the spike.
    publish(&deployment, umami(1, "session-c", "e-5")).await;
    let spike = receiver.wait_for("hook", 2).await.remove(1).json();
    assert_eq!(
        (&spike["event"], &spike["data"]["current_visitors"]),
        (&json!("visitor_spike"), &json!(3))
    );

    let keyed = kafka::read_all(&deployment.topic("events"));
    assert_eq!(keyed.len(), 5);
    for record in &keyed {
        assert_eq!(record.key(), Some(SITE.as_bytes()));
        let value = std::str::from_utf8(record.payload().unwrap()).unwrap();
        assert!(!value.contains("session"), "{value}");
        let header = |name| kafka::header(record, name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(header("bw-original-topic"), deployment.source);
        assert_eq!((header("bw-clock"), header("bw-visitor")), ("live", "hashed"));
        assert!(header("bw-event-id").starts_with("e-"));
        assert!(header("bw-original-time-ms").parse::<i64>().unwrap() > 0);
    }
    let read = |result: &str| {
        format!(
            "bellwether_events_total{{result=\"{result}\",source=\"{}\"}}",
            deployment.source
        )
    };
    process.metric_is(&read("counted"), 5.0).await;
}

#[tokio::test]
async fn events_of_unregistered_sites_are_forwarded_and_rejects_kept() {
    let deployment = deployment().await;
    let process = deployment.serve(&["--roles", "route"]).await;
    publish(&deployment, umami(1, "s", "e").replace(WEBSITE, "unknown")).await;
    publish(&deployment, "no event").await;
    let keyed = eventually("the event is there", TIMEOUT, || async {
        kafka::read_all(&deployment.topic("events")).pop()
    })
    .await;
    assert_eq!(keyed.key(), Some(b"unknown".as_slice()));
    let reject = eventually("the reject is there", TIMEOUT, || async {
        kafka::read_all(&deployment.topic("rejected")).pop()
    })
    .await;
    assert_eq!(reject.payload(), Some(b"no event".as_slice()));
    assert_eq!(kafka::header(&reject, "bw-reason"), Some("not_json"));
    assert_eq!(
        kafka::header(&reject, "bw-original-topic"),
        Some(deployment.source.as_str())
    );
    for (result, count) in [("unregistered", 1.0), ("rejected", 1.0)] {
        let series = format!(
            "bellwether_events_total{{result=\"{result}\",source=\"{}\"}}",
            deployment.source
        );
        process.metric_is(&series, count).await;
    }
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"route\",topic=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&lag, 0.0).await;
    process
        .metric_is("bellwether_consumer_partitions{group=\"route\"}", 4.0)
        .await;
    process
        .metric_is("bellwether_consumer_partitions_expected{group=\"route\"}", 4.0)
        .await;
}

#[tokio::test]
async fn what_a_topic_never_takes_holds_up_no_source() {
    let deployment = deployment().await;
    let process = deployment.serve(&[]).await;
    let receiver = set_up(&deployment, &process).await;
    let (events, rejected) = (deployment.topic("events"), deployment.topic("rejected"));
    kafka::set_max_message_bytes(&events, 1_500).await;
    kafka::set_max_message_bytes(&rejected, 20_000).await;
    let mut dice = Dice::from_env("NOISE_SEED");
    let mut noise = |length: usize| -> String {
        (0..length)
            .map(|_| char::from(b'a' + dice.below(26) as u8))
            .collect()
    };
    // All in one partition: what comes later waits for what came before.
    let long_path = umami(1, "s-1", "e-1").replace("/checkout/thanks", &format!("/{}", noise(1_900)));
    for value in [noise(70_000), long_path, umami(2, "s-2", "e-2")] {
        let record = FutureRecord::<[u8], [u8]>::to(&deployment.source)
            .partition(1)
            .payload(value.as_bytes());
        deployment.producer.send(record, TIMEOUT).await.unwrap();
    }
    let goal = receiver.wait_for("hook", 1).await.remove(0).json();
    assert_eq!(goal["event"], "goal_completion");
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"route\",topic=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&lag, 0.0).await;
    let mut rejects = eventually("both rejects are there", TIMEOUT, || async {
        Some(kafka::read_all(&rejected)).filter(|rejects| rejects.len() >= 2)
    })
    .await;
    rejects.sort_by_key(|record| kafka::header(record, "bw-original-offset").map(str::to_owned));
    let header = |n: usize, name| kafka::header(&rejects[n], name);
    assert_eq!(rejects.len(), 2);
    assert_eq!(
        (header(0, "bw-reason"), header(0, "bw-truncated")),
        (Some("not_json"), Some("70000"))
    );
    assert_eq!(
        (header(1, "bw-reason"), header(1, "bw-original-offset")),
        (Some("too_large"), Some("1"))
    );
    assert!(
        header(1, "bw-detail")
            .unwrap()
            .contains("raise its max.message.bytes")
    );
    for reason in ["not_json", "too_large"] {
        let series = format!(
            "bellwether_rejected_records_total{{reason=\"{reason}\",source=\"{}\"}}",
            deployment.source
        );
        process.metric_is(&series, 1.0).await;
    }
    eventually("the detector of the site is told", TIMEOUT, || async {
        let records = kafka::read_all(&events);
        let is_note = |record: &&OwnedMessage| kafka::header(record, "bw-rejected") == Some("too_large");
        (records.iter().filter(is_note).count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_keyed_event_of_a_newer_version_is_held_back() {
    let deployment = deployment().await;
    let process = deployment.serve(&[]).await;
    let receiver = set_up(&deployment, &process).await;
    publish(&deployment, umami(2, "s-1", "e-1")).await;
    receiver.wait_for("hook", 1).await;
    let events = deployment.topic("events");
    let partition = kafka::read_all(&events)[0].partition();
    let headers = OwnedHeaders::new().insert(Header {
        key: "bw-version",
        value: Some("2"),
    });
    let newer = FutureRecord::<[u8], [u8]>::to(&events)
        .partition(partition)
        .key(SITE.as_bytes())
        .payload(b"\xff in a form of its own")
        .headers(headers);
    deployment.producer.send(newer, TIMEOUT).await.unwrap();
    let held = format!("bellwether_newer_records_held{{topic=\"{events}\"}}");
    process.metric_is(&held, 1.0).await;
    publish(&deployment, umami(2, "s-2", "e-2")).await;
    // What follows it waits; other partitions go on.
    let is_elsewhere = |site: &String| murmur2::partition_of(site.as_bytes(), 4) != partition;
    let other = (0..)
        .map(|n| format!("other-{n}.example"))
        .find(is_elsewhere)
        .unwrap();
    let goal = json!({"name": "Purchase", "kind": "event", "event": "purchase"});
    let beside = deployment.goal_receiver(&process, &other).await;
    let path = format!("/api/sites/{other}/goals");
    let (status, _) = deployment.call(&process, Method::POST, &path, Some(goal)).await;
    assert_eq!(status, StatusCode::CREATED);
    deployment.registry_is_read(&process).await;
    publish(&deployment, umami(2, "s-3", "e-3").replace(WEBSITE, &other)).await;
    beside.wait_for("hook", 1).await;
    let lag = format!("bellwether_consumer_lag_records{{group=\"detect\",topic=\"{events}\"}}");
    process.metric_is(&lag, 2.0).await;
    let (_, answer) = process.readyz().await.unwrap();
    let notices = answer["notices"].to_string();
    assert!(notices.contains("a record of a newer version"), "{notices}");
    assert_eq!(receiver.received("hook").len(), 1);
    assert!(kafka::read_all(&deployment.topic("rejected")).is_empty());
}

/// Waits until everything on the topic of keyed events was decided and delivered.
async fn all_is_quiet(deployment: &Deployment, process: &Process) {
    for (group, topic) in [("detect", "events"), ("deliver", "deliveries")] {
        let topic = deployment.topic(topic);
        let series = format!("bellwether_consumer_lag_records{{group=\"{group}\",topic=\"{topic}\"}}");
        process.metric_is(&series, 0.0).await;
    }
}

/// Lets the group begin again at the beginning of the source, as an operator may.
fn rewind(deployment: &Deployment) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .set("group.id", deployment.topic("route"))
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        let mut one = list.add_partition(&deployment.source, partition);
        one.set_offset(Offset::Offset(0)).unwrap();
        one.set_metadata("v1 operator -");
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_a_rewound_route_lose_and_repeat_nothing() {
    const GOALS: usize = 400;
    const KILLS: usize = 4;
    let deployment = deployment().await;
    let rest = deployment.serve(&["--roles", "detect,deliver,api"]).await;
    let receiver = set_up(&deployment, &rest).await;
    let mut route = deployment.serve(&["--roles", "route"]).await;
    for number in 0..GOALS {
        // Half of them have no id of their own: their coordinates are it.
        let id = if number % 2 == 0 {
            format!("e-{number}")
        } else {
            String::new()
        };
        publish(&deployment, umami(2, "one visitor", &id)).await;
        if number % (GOALS / KILLS) == GOALS / KILLS / 2 {
            route.kill();
            route = deployment.serve(&["--roles", "route"]).await;
        }
    }
    let ids = |receiver: &Receiver| -> (usize, BTreeSet<String>) {
        let goals = events_of(receiver, "goal_completion");
        let ids = goals.iter().map(|goal| goal["id"].as_str().unwrap().to_owned());
        (goals.len(), ids.collect())
    };
    eventually("every goal is notified", TIMEOUT, || async {
        (ids(&receiver).1.len() == GOALS).then_some(())
    })
    .await;

    all_is_quiet(&deployment, &rest).await;
    route.terminate();
    assert!(route.ended(TIMEOUT).await.success());
    let before = kafka::read_all(&deployment.topic("events")).len();
    rewind(&deployment);
    let _again = deployment.serve(&["--roles", "route"]).await;
    eventually("all were keyed again", TIMEOUT, || async {
        (kafka::read_all(&deployment.topic("events")).len() == before + GOALS).then_some(())
    })
    .await;
    all_is_quiet(&deployment, &rest).await;
    let (received, distinct) = ids(&receiver);
    assert_eq!(
        (received, distinct.len()),
        (GOALS, GOALS),
        "one notification each"
    );
}

#[tokio::test]
async fn a_mis_keyed_source_is_explained_even_for_unknown_sites() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    for number in 0..8 {
        let event = json!({"site_id": "unknown.example", "type": "pageview", "visitor_id": "jane"});
        kafka::publish(
            &deployment.producer,
            &deployment.source,
            &format!("key-{number}"),
            event.to_string(),
        )
        .await;
    }
    let notice = eventually("the notice is there", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        let mut notices = answer["notices"].as_array()?.iter().filter_map(Value::as_str);
        Some(notices.find(|one| one.contains("murmur2"))?.to_owned())
    })
    .await;
    for word in [deployment.source.as_str(), "key-", "keyed = false"] {
        assert!(notice.contains(word), "{notice}");
    }
    let series = format!(
        "bellwether_miskeyed_records_total{{source=\"{}\"}}",
        deployment.source
    );
    assert!(process.metric(&series).await > 0.0);
    assert!(process.log_text().contains("is not keyed by site"));
}

#[tokio::test]
async fn a_deleted_source_makes_readyz_say_so() {
    let deployment = deployment().await;
    let process = deployment.serve(&[]).await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    let deleted = admin
        .delete_topics(&[&deployment.source], &AdminOptions::new())
        .await
        .unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let detail = eventually("not ready", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let detail = answer["checks"]["kafka"].as_str()?.to_owned();
        (status == StatusCode::SERVICE_UNAVAILABLE && detail != "ok").then_some(detail)
    })
    .await;
    assert!(
        detail.contains(&deployment.source) && detail.contains("no such topic"),
        "{detail}"
    );
}

#[tokio::test]
async fn route_alone_without_a_source_waits_until_it_is_stopped() {
    let deployment = Deployment::create(&[]).await;
    let mut process = deployment.serve(&["--roles", "route"]).await;
    assert!(process.log_text().contains("the role `route` has nothing to do"));
    process.terminate();
    let status = process.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "{}", process.log_text());
}

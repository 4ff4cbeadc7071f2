//! Topics that are deleted and made anew under a running process: what they hold is read from its
//! beginning, and nothing of it is taken for what was there before.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureRecord;
use serde_json::{Value, json};

use crate::detect_completeness::create_topic;
use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn delete(topics: &[&str]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    let deleted = admin.delete_topics(topics, &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

async fn make_anew(topic: &str) {
    delete(&[topic]).await;
    create_topic(topic, 4).await;
}

/// Waits for the warning that names topic, partition and both offsets.
async fn is_told(process: &Process, topic: &str) {
    eventually("the warning", TIMEOUT, || async {
        let log = process.log_text();
        let line = log
            .lines()
            .find(|line| line.contains("offsets went back") && line.contains(topic))?;
        let names_all = ["\"warn\"", "expected", "found", "partition"]
            .iter()
            .all(|word| line.contains(word));
        names_all.then_some(())
    })
    .await;
}

/// Waits until all of a topic is done and committed.
async fn all_is_done(process: &Process, group: &str, topic: &str) {
    let lag = format!("bellwether_consumer_lag_records{{group=\"{group}\",topic=\"{topic}\"}}");
    process.metric_is(&lag, 0.0).await;
}

/// Short, because the group waits so long for a member that was killed.
const SHORT_SESSION: [(&str, &str); 2] = [
    ("kafka.properties.session.timeout.ms", "1500"),
    ("kafka.properties.heartbeat.interval.ms", "300"),
];

#[tokio::test]
async fn deliveries_made_anew_are_read_from_their_beginning() {
    let stage = GoalStage::start(&SHORT_SESSION, json!({})).await;
    let topic = stage.deployment.topic("deliveries");
    for n in 0..6 {
        stage.goal(&format!("before {n}")).await;
    }
    stage.receiver.wait_for("hook", 6).await;
    all_is_done(&stage.process, "deliver", &topic).await;
    make_anew(&topic).await;
    for n in 0..3 {
        stage.goal(&format!("after {n}")).await;
    }
    stage.receiver.wait_for("hook", 9).await;
    is_told(&stage.process, &topic).await;
    all_is_done(&stage.process, "deliver", &topic).await;
    // The commit is of the new topic: another process goes on from there.
    stage.process.signal("KILL");
    let process = stage.deployment.serve(&[]).await;
    stage.goal("last").await;
    stage.receiver.wait_for("hook", 10).await;
    all_is_done(&process, "deliver", &topic).await;
    // The lag may be that of before the last goal.
    let recorded = "select count(*) from deliveries where attempts = 1";
    stage.count_is(recorded, 10).await;
}

#[tokio::test]
async fn a_tier_made_anew_is_read_from_its_beginning() {
    let stage = GoalStage::start(&SHORT_SESSION, json!({})).await;
    stage.receiver.answer("hook", |attempt| match attempt {
        1 => Answer::status(500),
        _ => Answer::status(200),
    });
    let topic = stage.deployment.topic("retry.1s");
    for n in 0..4 {
        stage.goal(&format!("before {n}")).await;
    }
    stage.receiver.wait_for("hook", 8).await;
    all_is_done(&stage.process, "deliver", &topic).await;
    make_anew(&topic).await;
    stage.goal("after").await;
    stage.receiver.wait_for("hook", 10).await;
    is_told(&stage.process, &topic).await;
    all_is_done(&stage.process, "deliver", &topic).await;
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 5)
        .await;
}

#[tokio::test]
async fn an_unkeyed_source_made_anew_is_read_from_its_beginning() {
    let mut settings = vec![("sources", "[{topic=\"{source}\", clock=\"live\", keyed=false}]")];
    settings.extend(SHORT_SESSION);
    let deployment = Deployment::create(&settings).await;
    let process = deployment.serve(&[]).await;
    let receiver: Receiver = deployment.goal_receiver(&process, "a.example").await;
    deployment.registry_is_read(&process).await;
    let goal = |name: String| {
        let event = json!({"site_id": "a.example", "type": "goal", "name": name}).to_string();
        let (producer, topic) = (deployment.producer.clone(), deployment.source.clone());
        async move {
            let record = FutureRecord::<[u8], [u8]>::to(&topic)
                .partition(2)
                .payload(event.as_bytes());
            producer.send(record, TIMEOUT).await.unwrap();
        }
    };
    for n in 0..6 {
        goal(format!("before {n}")).await;
    }
    receiver.wait_for("hook", 6).await;
    all_is_done(&process, "route", &deployment.source).await;
    make_anew(&deployment.source).await;
    for n in 0..3 {
        goal(format!("after {n}")).await;
    }
    receiver.wait_for("hook", 9).await;
    is_told(&process, &deployment.source).await;
    all_is_done(&process, "route", &deployment.source).await;
}

/// Publishes events of visitors of their own.
async fn visit(stage: &GoalStage, names: std::ops::Range<u32>) {
    for n in names {
        let event = json!({"site_id": SITE, "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"});
        stage.deployment.publish(event).await;
    }
}

/// A stage with a spike under way that was reported, and whose state is stored without anything
/// left to confirm.
async fn firing() -> (GoalStage, String) {
    let stage = GoalStage::start(&SHORT_SESSION, json!({})).await;
    let url = stage.receiver.url("spike");
    let spike = json!({"name": "spike", "url": url, "events": ["visitor_spike"],
                       "triggers": {"visitor_spike": {"threshold": 3}}});
    stage.deployment.create_webhook(&stage.process, SITE, spike).await;
    stage.deployment.registry_is_read(&stage.process).await;
    visit(&stage, 0..3).await;
    stage.receiver.wait_for("spike", 1).await;
    let topic = stage.deployment.topic("detector-state");
    eventually("the state is stored", TIMEOUT, || async { latest_state(&topic) }).await;
    (stage, topic)
}

/// The latest state on the topic, if it has an episode and nothing to confirm.
fn latest_state(topic: &str) -> Option<Value> {
    let latest = kafka::read_all(topic).pop()?;
    let state: Value = serde_json::from_slice(latest.payload()?).ok()?;
    let is_settled = state["unconfirmed"] == json!([]) && state["triggers"][0]["episode"].is_object();
    is_settled.then_some(state)
}

/// Stops the process as planned, starts another, and counts the spikes that were reported once it
/// has handled another visitor.
async fn spikes_after_a_restart(mut stage: GoalStage) -> usize {
    all_is_done(&stage.process, "detect", &stage.deployment.source).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    let process = stage.deployment.serve(&[]).await;
    visit(&stage, 3..4).await;
    stage.goal("after").await;
    stage.receiver.wait_for("hook", 1).await;
    all_is_done(&process, "detect", &stage.deployment.source).await;
    process
        .metric_is("bellwether_episodes{event=\"visitor_spike\"}", 1.0)
        .await;
    stage.receiver.received("spike").len()
}

#[tokio::test]
async fn states_made_anew_are_written_again() {
    let (stage, topic) = firing().await;
    delete(&[&topic]).await;
    create_like_ours(&stage.deployment).await;
    is_told(&stage.process, &topic).await;
    eventually("the state is stored again", TIMEOUT, || async {
        latest_state(&topic)
    })
    .await;
    assert_eq!(spikes_after_a_restart(stage).await, 1);
}

#[tokio::test]
async fn states_made_anew_and_written_before_a_look_are_noticed() {
    let (stage, topic) = firing().await;
    delete(&[&topic]).await;
    // Written as soon as the topic is back: as many as there were before, and more.
    for n in 0..30 {
        let site = format!("s{n}.example");
        let url = stage.receiver.url("other");
        let errors = json!({"name": "errors", "url": url, "events": ["error_condition"],
                            "triggers": {"error_condition": {"error_events": 1}}});
        stage
            .deployment
            .create_webhook(&stage.process, &site, errors)
            .await;
    }
    stage.deployment.registry_is_read(&stage.process).await;
    for n in 0..30 {
        let error = json!({"site_id": format!("s{n}.example"), "type": "error"});
        stage.deployment.publish(error).await;
    }
    create_like_ours(&stage.deployment).await;
    stage.receiver.wait_for("other", 30).await;
    is_told(&stage.process, &topic).await;
    all_is_done(&stage.process, "deliver", &stage.deployment.topic("deliveries")).await;
    assert_eq!(spikes_after_a_restart(stage).await, 1);
}

#[tokio::test]
async fn states_made_anew_while_nothing_runs_are_told() {
    let (mut stage, topic) = firing().await;
    all_is_done(&stage.process, "detect", &stage.deployment.source).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    delete(&[&topic]).await;
    create_like_ours(&stage.deployment).await;
    let mut process = stage.deployment.serve(&[]).await;
    is_told(&process, &topic).await;
    // Once, and not at the next start.
    visit(&stage, 3..4).await;
    stage.receiver.wait_for("spike", 2).await;
    all_is_done(&process, "detect", &stage.deployment.source).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    let process = stage.deployment.serve(&[]).await;
    assert!(!process.log_text().contains("offsets went back"));
}

#[tokio::test]
async fn a_missing_topic_of_states_is_named_on_readyz() {
    let (stage, topic) = firing().await;
    delete(&[&topic]).await;
    let is_named = || async {
        let (status, answer) = stage.process.readyz().await?;
        let text = answer["checks"]["kafka"].to_string();
        (status != 200 && text.contains(&topic) && text.contains("topics create")).then_some(())
    };
    eventually("the topic is named", TIMEOUT, is_named).await;
    create_like_ours(&stage.deployment).await;
    let is_ready = || async { (stage.process.readyz().await?.0 == 200).then_some(()) };
    eventually("it is ready", TIMEOUT, is_ready).await;
}

/// Makes the missing topics, once the one that was deleted is gone.
async fn create_like_ours(deployment: &Deployment) {
    eventually("the topic is made", TIMEOUT, || async {
        let created = deployment.run(&["topics", "create"]);
        created.status.success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn topics_that_are_gone_are_named_until_they_are_back() {
    let stage = GoalStage::start(&[], json!({})).await;
    let gone = ["rejected", "retry.1s", "dead-letter"].map(|name| stage.deployment.topic(name));
    let names: Vec<&str> = gone.iter().map(String::as_str).collect();
    let notices = || async {
        let (status, answer) = stage.process.readyz().await?;
        assert_eq!(status, 200, "{answer}");
        Some(answer["notices"].to_string())
    };
    delete(&names).await;
    eventually("readyz names the topics and the remedy", TIMEOUT, || async {
        let notices = notices().await?;
        let is_told = |name: &&str| notices.contains(&format!("no such topic as {name} any more"));
        (names.iter().all(is_told) && notices.contains("`bellwether topics create` makes it")).then_some(())
    })
    .await;
    for name in &names {
        create_topic(name, 4).await;
    }
    eventually("the notices go", TIMEOUT, || async {
        (!notices().await?.contains("no such topic")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_source_made_anew_while_stopped_lacks_what_it_held() {
    let deployment = Deployment::create(&SHORT_SESSION).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    deployment
        .create_webhook(
            &process,
            "a.example",
            json!({"name": "spike", "url": receiver.url("spike"), "events": ["visitor_spike"],
                   "triggers": {"visitor_spike": {"threshold": 3, "window_seconds": 3600}}}),
        )
        .await;
    deployment.registry_is_read(&process).await;
    for n in 0..4 {
        let visitor = format!("v{n}");
        let event = json!({"site_id": "a.example", "type": "pageview", "visitor_id": visitor});
        deployment.publish(event).await;
    }
    receiver.wait_for("spike", 1).await;
    all_is_done(&process, "detect", &deployment.source).await;
    process.metric_is("bellwether_partitions_incomplete", 0.0).await;
    process.kill();
    make_anew(&deployment.source).await;
    let process = deployment.serve(&[]).await;
    // The visitors of the last hour are not known any more, and so the spike goes on.
    process.metric_is("bellwether_partitions_incomplete", 1.0).await;
    let told = |line: &str| line.contains("\"warn\"") && line.contains("as when a topic is made anew");
    assert!(process.log_text().lines().any(told));
}

//! Topics that are deleted and made anew under a running process: what they hold is read from its
//! beginning, and nothing of it is taken for what was there before.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::detect_completeness::create_topic;
use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::goal_stage::GoalStage;
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

async fn make_anew(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    let deleted = admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
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

//! A cluster that answers for a while that it has no brokers, as one does whose only broker it took
//! for dead: everything goes on by itself once it has some again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::Process;
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::goal_stage::GoalStage;
use crate::support::receiver::Answer;

/// A bound that only decides how long a failure takes.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn is_ready(process: &Process, wanted: bool) {
    eventually(&format!("is ready: {wanted}"), TIMEOUT, || async {
        let (status, _) = process.readyz().await?;
        ((status == StatusCode::OK) == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_know_no_broker_any_more_find_them_again() {
    let wire = Wire::to_kafka().await;
    let settings = [
        ("kafka.brokers", wire.address()),
        // Every client hears of it soon.
        (
            "kafka.properties.topic.metadata.refresh.interval.ms",
            "300".to_owned(),
        ),
    ];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let stage = GoalStage::start(&settings, json!({})).await;
    // Each goal needs the members of all groups, the producer, and the reader of the tiers.
    stage.receiver.answer("hook", |attempt| {
        Answer::status(if attempt == 1 { 503 } else { 200 })
    });
    for round in 1..=3 {
        stage.goal(&format!("goal {round}")).await;
        stage
            .count_is(
                "select count(*) from deliveries where status = 'delivered'",
                round,
            )
            .await;
        is_ready(&stage.process, true).await;
        wire.hide_brokers(true);
        is_ready(&stage.process, false).await;
        wire.hide_brokers(false);
    }
    let told = stage.process.log_text();
    assert!(told.contains("know no broker any more"), "{told}");
}

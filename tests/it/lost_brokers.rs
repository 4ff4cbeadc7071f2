//! A cluster that answers for a while that it has no brokers, as one does whose only broker it took
//! for dead: everything goes on by itself once it has some again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::receiver::{Answer, Receiver};

/// A bound that only decides how long a failure takes.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn is_ready(process: &Process, wanted: bool) {
    eventually(&format!("is ready: {wanted}"), TIMEOUT, || async {
        let (status, _) = process.readyz().await?;
        ((status == StatusCode::OK) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_that_know_no_broker_any_more_find_them_again() {
    let wire = Wire::to_kafka().await;
    let mut deployment = Deployment::create(&[
        // Every client hears of it soon.
        ("kafka.properties.topic.metadata.refresh.interval.ms", "300"),
    ])
    .await;
    deployment.set("kafka.brokers", &wire.address());
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    // Each goal needs the members of all groups, the producer, and the reader of the tiers.
    receiver.answer("hook", |attempt| {
        Answer::status(if attempt == 1 { 503 } else { 200 })
    });
    deployment
        .goal_webhook(&process, "hook.example", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    for round in 1..=3 {
        deployment
            .publish(json!({"site_id": "hook.example", "type": "goal", "name": format!("goal {round}")}))
            .await;
        eventually("the goal is delivered", TIMEOUT, || async {
            let delivered: i64 =
                sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
                    .fetch_one(&deployment.database.pool)
                    .await
                    .unwrap();
            (delivered == round).then_some(())
        })
        .await;
        is_ready(&process, true).await;
        wire.hide_brokers(true);
        is_ready(&process, false).await;
        wire.hide_brokers(false);
    }
    let told = process.log_text();
    assert!(told.contains("know no broker any more"), "{told}");
}

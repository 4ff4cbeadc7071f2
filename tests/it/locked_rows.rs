//! Rows that another session of Postgres holds: the outcomes of all others are recorded meanwhile.

use std::time::Duration;

use serde_json::json;
use sqlx::{Postgres, Transaction};

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::receiver::{Answer, Receiver};

/// Holds what a query locks until the transaction ends.
async fn hold(stage: &GoalStage, query: &str) -> Transaction<'static, Postgres> {
    let mut tx = stage.pool().begin().await.unwrap();
    sqlx::query(query).execute(&mut *tx).await.unwrap();
    tx
}

/// Adds a webhook beside that of the stage.
async fn neighbour(stage: &GoalStage) -> Receiver {
    let receiver = Receiver::start().await;
    let body = json!({"name": "other", "url": receiver.url("other"), "events": ["goal_completion"]});
    let (deployment, process) = (&stage.deployment, &stage.process);
    deployment.create_webhook(process, SITE, body).await;
    deployment.registry_is_read(process).await;
    receiver
}

#[tokio::test]
async fn a_held_delivery_holds_back_no_other_outcome() {
    let stage = GoalStage::start(&[], json!({})).await;
    stage.receiver.answer("hook", |attempt| {
        Answer::status(if attempt == 1 { 500 } else { 200 })
    });
    stage.goal("held").await;
    let retrying = "select count(*) from deliveries where status = 'retrying'";
    stage.count_is(retrying, 1).await;
    let held = hold(&stage, "select id from deliveries for update").await;
    stage.receiver.wait_for("hook", 2).await;
    let other = neighbour(&stage).await;
    for name in ["one", "two"] {
        stage.goal(name).await;
    }
    let delivered = "select count(*) from deliveries where status = 'delivered'";
    stage.count_is(delivered, 4).await;
    let unwritten = "bellwether_outcomes_unwritten";
    stage.process.metric_is(unwritten, 1.0).await;
    let line = "another session of Postgres holds rows";
    eventually("a line in the log", Duration::from_secs(30), || async {
        stage.process.log_text().contains(line).then_some(())
    })
    .await;
    held.rollback().await.unwrap();
    stage.count_is(delivered, 5).await;
    stage.process.metric_is(unwritten, 0.0).await;
    assert_eq!(stage.count("select count(*) from delivery_attempts").await, 8);
    assert_eq!(
        (
            stage.receiver.received("hook").len(),
            other.received("other").len()
        ),
        (6, 2)
    );
}

#[tokio::test]
async fn held_health_holds_back_no_other_outcome() {
    let stage = GoalStage::start(&[], json!({})).await;
    stage.pause("now() + interval '1 hour'").await;
    let other = neighbour(&stage).await;
    let held = hold(&stage, "select webhook_id from webhook_health for update").await;
    stage.goal("waits").await;
    let delivered = "select count(*) from deliveries where status = 'delivered'";
    stage.count_is(delivered, 1).await;
    assert_eq!(stage.count("select count(*) from parked").await, 0);
    held.rollback().await.unwrap();
    stage.count_is("select count(*) from parked", 1).await;
    stage.pause("null").await;
    stage.count_is(delivered, 2).await;
    assert_eq!(
        (
            stage.receiver.received("hook").len(),
            other.received("other").len()
        ),
        (1, 1)
    );
}

//! Outcomes that Postgres refuses: recorded in part, or as an end with a name.

use serde_json::json;

use crate::support::goal_stage::GoalStage;
use crate::support::kafka;
use crate::support::receiver::Answer;

/// Lets Postgres refuse rows of attempts that break a rule.
async fn refuse(stage: &GoalStage, rule: &str) {
    let sql = format!("alter table delivery_attempts add constraint refused check ({rule}) not valid");
    sqlx::query(&sql).execute(stage.pool()).await.unwrap();
}

#[tokio::test]
async fn what_postgres_refuses_of_an_answer_is_left_out() {
    let stage = GoalStage::start(&[], json!({})).await;
    refuse(&stage, "error is null and remote_address is null").await;
    stage.receiver.answer("hook", |attempt| {
        Answer::status(if attempt < 3 { 500 } else { 200 })
    });
    stage.goal("one").await;
    stage
        .count_is(
            "select count(*) from deliveries where status = 'delivered' and attempts = 3",
            1,
        )
        .await;
    assert_eq!(stage.receiver.received("hook").len(), 3);
    assert_eq!(stage.count("select count(*) from delivery_attempts").await, 3);
    assert_eq!(kafka::read_all(&stage.deployment.topic("dead-letter")).len(), 0);
    assert!(stage.process.log_text().contains("recorded without it"));
}

#[tokio::test]
async fn a_delivery_whose_outcome_is_refused_ends_by_name() {
    let stage = GoalStage::start(&[], json!({})).await;
    // Its row is there when the outcome comes.
    stage.pause("now() + interval '1 hour'").await;
    stage.goal("fails").await;
    stage.count_is("select count(*) from parked", 1).await;
    refuse(&stage, "false").await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.pause("null").await;
    let failed = "select count(*) from deliveries
        where status = 'failed' and failure_reason = 'unrecordable' and attempts = 1 and parked_reason is null";
    stage.count_is(failed, 1).await;
    stage.count_is("select count(*) from parked", 0).await;
    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.goal("arrives").await;
    stage
        .count_is(
            "select count(*) from deliveries where status = 'delivered' and failure_reason is null",
            1,
        )
        .await;
    let series = "bellwether_delivery_failures_total{reason=\"unrecordable\"}";
    stage.process.metric_is(series, 1.0).await;
    stage
        .process
        .metric_is("bellwether_open_offsets{group=\"deliver\"}", 0.0)
        .await;
    let letters = kafka::read_all(&stage.deployment.topic("dead-letter"));
    let reasons: Vec<_> = letters
        .iter()
        .map(|letter| kafka::header(letter, "bw-reason"))
        .collect();
    assert_eq!(reasons, [Some("unrecordable")]);
    assert_eq!(stage.receiver.received("hook").len(), 2, "each was sent once");
}

//! Records of a tier of retries that are removed before they are read.

use std::time::Duration;

use serde_json::json;

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::kafka::{self, Raw};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Publishes the second attempt of a delivery, due now.
async fn publish_retry(stage: &GoalStage, topic: &str) {
    let now_ms = chrono::Utc::now().timestamp_millis();
    Raw::delivery(topic, &stage.webhook, SITE, now_ms)
        .with("bw-attempt", "2")
        .with("bw-due-at-ms", &now_ms.to_string())
        .with("bw-first-attempt-at-ms", &now_ms.to_string())
        .publish(&stage.deployment.producer)
        .await;
}

#[tokio::test]
async fn retries_that_go_while_it_reads_are_counted_and_told() {
    let stage = GoalStage::start(&[], json!({})).await;
    let topic = stage.deployment.topic("retry.1s");
    publish_retry(&stage, &topic).await;
    stage.receiver.wait_for("hook", 1).await;
    stage.process.signal("STOP");
    // Its last fetch, which waits at the broker for up to 100 ms, must be answered with nothing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..4 {
        publish_retry(&stage, &topic).await;
    }
    kafka::delete_before(&topic, 0, 4).await;
    stage.process.signal("CONT");
    stage.receiver.wait_for("hook", 2).await;
    let missed = format!("bellwether_records_missed_total{{topic=\"{topic}\"}}");
    stage.process.metric_is(&missed, 3.0).await;
    let lag = format!("bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{topic}\"}}");
    stage.process.metric_is(&lag, 0.0).await;
    let line = "records were removed before they were read";
    let log = stage.process.log_text();
    assert!(log.lines().any(|one| one.contains(line) && one.contains(&topic)));
    let notice = format!("3 records of {topic} were removed by Kafka before they were read");
    eventually("the notice on readyz", TIMEOUT, || async {
        let (_, answer) = stage.process.readyz().await?;
        answer["notices"].to_string().contains(&notice).then_some(())
    })
    .await;
    assert_eq!(stage.receiver.received("hook").len(), 2);
}

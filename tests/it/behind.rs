//! `consumer_behind_seconds`: how long something that is due has waited to be read.

use std::time::Duration;

use serde_json::json;

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::kafka::Raw;
use crate::support::receiver::Answer;

const TIMEOUT: Duration = Duration::from_secs(60);

fn series(name: &str, topic: &str) -> String {
    format!("bellwether_consumer_{name}{{group=\"deliver\",topic=\"{topic}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_rises_while_what_is_due_is_unread() {
    let stage = GoalStage::start(&[], json!({})).await;
    let topic = stage.deployment.topic("deliveries");
    let behind = series("behind_seconds", &topic);
    stage.goal("first").await;
    stage.receiver.wait_for("hook", 1).await;
    stage.process.metric_is(&behind, 0.0).await;
    // A record of a newer version is held back, and one that follows it stays unread.
    let now_ms = chrono::Utc::now().timestamp_millis();
    for version in ["2", "1"] {
        let record = Raw::delivery(&topic, &stage.webhook, SITE, now_ms).with("bw-version", version);
        record.publish(&stage.deployment.producer).await;
    }
    for seconds in [1.0, 3.0] {
        eventually(&format!("it is behind by {seconds} s"), TIMEOUT, || async {
            (stage.process.metric(&behind).await >= seconds).then_some(())
        })
        .await;
    }
    let age = (chrono::Utc::now().timestamp_millis() - now_ms) as f64 / 1_000.0;
    let shown = stage.process.metric(&behind).await;
    assert!(shown <= age + 1.0, "{shown} s after {age} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_is_0_for_what_waits_for_its_time() {
    let stage = GoalStage::start(&[("webhooks.retry_schedules", "{default=[\"8s\"]}")], json!({})).await;
    stage.receiver.answer("hook", |attempt| match attempt {
        1 => Answer::status(500),
        _ => Answer::status(200),
    });
    let topic = stage.deployment.topic("retry.8s");
    let (behind, lag) = (series("behind_seconds", &topic), series("lag_records", &topic));
    stage.goal("Signup").await;
    stage.process.metric_is(&lag, 1.0).await;
    let mut looks = 0;
    // Until it is delivered, which is eight seconds after the first attempt.
    while stage.receiver.received("hook").len() < 2 {
        // Read between two looks at the lag, in both of which it waits.
        let before = stage.process.metric(&lag).await;
        let shown = stage.process.metric(&behind).await;
        if before == 1.0 && stage.receiver.received("hook").len() < 2 {
            assert_eq!(shown, 0.0);
            looks += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(looks > 3, "it was looked at {looks} times");
    stage.receiver.wait_for("hook", 2).await;
}

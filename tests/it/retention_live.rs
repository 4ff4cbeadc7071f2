//! Retention beside a deliverer that has work.

use std::time::{Duration, Instant};

use bellwether::clock;
use bellwether::record::partitions::ensure_partitions;
use bellwether::record::retention::{self, RetentionStep};
use serde_json::json;

use crate::record_support::DAY_MS;
use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};

/// Fewer than the notifications of a minute beyond which a webhook gets a summary.
const GOALS: usize = 500;
const OLD_DAYS: i64 = 40;
/// A step waits 100 ms for a lock at most, for each of two tables; the rest is a slow machine's.
const LONGEST_GAP: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_are_dropped_beside_a_deliverer_that_never_stops() {
    let stage = GoalStage::start(&[], json!({"rate_limit_per_second": null})).await;
    let now_ms = clock::now_ms();
    let before_ms = now_ms - 31 * DAY_MS;
    let mut conn = stage.pool().acquire().await.unwrap();
    ensure_partitions(&mut conn, before_ms - OLD_DAYS * DAY_MS, before_ms)
        .await
        .unwrap();
    let publishing = async {
        for number in 0..GOALS {
            let goal =
                json!({"site_id": SITE, "type": "goal", "name": "Paid", "visitor_id": format!("v{number}")});
            stage.deployment.publish(goal).await;
            // The pace of the load: what is dropped beside it must find work under way.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let dropping = async {
        let begun = Instant::now();
        let mut dropped = 0;
        loop {
            match retention::drop_expired(&mut conn, before_ms).await.unwrap() {
                RetentionStep::Done => return dropped,
                RetentionStep::Dropped => dropped += 1,
                RetentionStep::Busy => {}
            }
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{dropped} days after two minutes"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ((), dropped) = tokio::join!(publishing, dropping);
    // The process itself may have dropped some.
    assert!(dropped >= OLD_DAYS / 2, "{dropped} days");
    stage
        .count_is(
            "select count(*) from deliveries where status = 'delivered' and attempts = 1",
            i64::try_from(GOALS).unwrap(),
        )
        .await;
    let received = eventually("all have arrived", Duration::from_secs(60), || async {
        let received = stage.receiver.received("hook");
        (received.len() >= GOALS).then_some(received)
    })
    .await;
    assert_eq!(received.len(), GOALS, "none twice");
    let gaps = received
        .windows(2)
        .map(|pair| pair[1].at.duration_since(pair[0].at));
    let longest = gaps.max().unwrap();
    assert!(longest < LONGEST_GAP, "nothing arrived for {longest:?}");
}

//! Cancelling what waits for a webhook, more than one batch of it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Deliveries that wait: more than two batches.
const WAITING: i64 = 1_234;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_cancels_more_than_one_batch_and_nothing_else() {
    let stage = GoalStage::start(&[], json!({})).await;
    // Another webhook of the site, whose deliveries stay.
    let url = stage.receiver.url("other");
    stage.deployment.goal_webhook(&stage.process, SITE, &url).await;
    let insert = "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status,
             attempts, created_at, inserted_at, updated_at, next_retry_at)
         select gen_random_uuid(), gen_random_uuid(), webhooks.id, 'example.com', 'goal_completion', 'event', status,
             1, now(), now(), now(), now() + interval '1 hour'
         from webhooks, unnest(array['pending', 'retrying', 'delivered', 'failed']) as status,
             generate_series(1, $1)";
    sqlx::query(insert)
        .bind(WAITING as i32 / 2)
        .execute(stage.pool())
        .await
        .unwrap();
    let path = format!("/api/sites/{SITE}/webhooks/{}", stage.webhook);
    let (status, answer) = stage
        .deployment
        .call(&stage.process, Method::DELETE, &path, None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    eventually("the job is done", TIMEOUT, || async {
        (stage
            .count("select count(*) from jobs where kind = 'cancel' and status = 'running'")
            .await
            == 0)
            .then_some(())
    })
    .await;
    let cancelled =
        "select count(*) from deliveries where status = 'cancelled' and failure_reason = 'deleted'";
    assert_eq!(stage.count(cancelled).await, WAITING);
    for (status, rows) in [
        ("pending", WAITING / 2),
        ("retrying", WAITING / 2),
        ("delivered", WAITING),
        ("failed", WAITING),
    ] {
        let left: i64 = sqlx::query_scalar("select count(*) from deliveries where status = $1")
            .bind(status)
            .fetch_one(stage.pool())
            .await
            .unwrap();
        assert_eq!(left, rows, "{status}");
    }
}

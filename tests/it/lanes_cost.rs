//! The cost of a webhook that has been dead for a week: nothing in Kafka, little in Postgres, and
//! almost nothing in the process.

use std::time::Duration;

use serde_json::json;

use crate::support::goal_stage::GoalStage;

/// Rows put there, and those that the process parks itself: fewer than a webhook may get in a
/// minute.
const ROWS: i64 = 99_500;
const PARKED_HERE: i64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_parked_cost_the_process_under_10_mb() {
    let stage = GoalStage::start(&[], json!({})).await;
    let webhook: bellwether::domain::id::WebhookId = stage.webhook.parse().unwrap();
    stage.goal("the first").await;
    stage.receiver.wait_for("hook", 1).await;
    let resident = async || stage.process.metric("process_resident_memory_bytes").await as i64;
    let before = resident().await;

    let delivery = "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
             payload, created_at, inserted_at, updated_at, parked_reason, parked_until)
         select overlay(id::text placing lpad(n::text, 12, '0') from 25)::uuid, notification_id, webhook_id, site_id,
             event_type, origin, 'pending', 0, payload, created_at, inserted_at, updated_at, 'circuit', now()
         from deliveries, generate_series(1, $1) n";
    let row = "insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
         select id, webhook_id, $1, now() - interval '1 day', 'circuit', 1, 0 from deliveries where status = 'pending'";
    let opened =
        "update webhook_health set state = 'open', reason = 'failures', since = now() - interval '4 days',
             next_probe_at = now() + interval '1 hour', updated_at = now() + interval '1 minute'";
    let partition = bellwether::kafka::murmur2::partition_of(stage.webhook.as_bytes(), 4);
    let well = "select count(*) from webhook_health where last_success_at is not null";
    stage.count_is(well, 1).await;
    stage.count_is("select count(*) from deliveries", 1).await;
    sqlx::query(delivery)
        .bind(ROWS)
        .execute(stage.pool())
        .await
        .unwrap();
    sqlx::query(row)
        .bind(partition)
        .execute(stage.pool())
        .await
        .unwrap();
    sqlx::query(opened).execute(stage.pool()).await.unwrap();
    // The state is read when partitions are taken: by a process that follows.
    let GoalStage {
        deployment,
        process,
        receiver,
        ..
    } = stage;
    process.kill();
    let process = deployment.serve(&[]).await;
    let stage = GoalStage {
        deployment,
        process,
        receiver,
        webhook: webhook.to_string(),
    };
    let fresh = stage.process.metric("process_resident_memory_bytes").await as i64;
    for number in 0..PARKED_HERE {
        stage.goal(&format!("goal {number}")).await;
    }
    stage
        .count_is("select count(*) from parked", ROWS + PARKED_HERE)
        .await;
    // The process looks once a second at what waits, and nothing outside shows a look: so long that
    // ten have been.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = stage.process.metric("process_resident_memory_bytes").await as i64;
    for tier in ["deliveries", "retry.1s", "retry.2s", "retry.4s"] {
        let topic = stage.deployment.topic(tier);
        let lag = format!("bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{topic}\"}}");
        stage.process.metric_is(&lag, 0.0).await;
    }
    stage
        .process
        .metric_is("bellwether_open_offsets{group=\"deliver\"}", 0.0)
        .await;
    let rows = stage.count("select pg_total_relation_size('parked')").await;
    let grown = after - fresh;
    println!(
        "100,000 parked: lag 0 and 0 open offsets in Kafka; {} KiB of `parked`, indexes included; process {} KiB more \
         ({} KiB with none, {} KiB after a start, {} KiB now)",
        rows / 1_024,
        grown / 1_024,
        before / 1_024,
        fresh / 1_024,
        after / 1_024
    );
    assert!(grown < 10 * 1_024 * 1_024, "{grown} bytes");
    assert_eq!(stage.receiver.received("hook").len(), 1);
}

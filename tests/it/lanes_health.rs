//! The ladder of an endpoint's health: the circuit opens, probes and drains; pauses; 410; overflow.

use std::time::Duration;

use bellwether::domain::id::{DeliveryId, WebhookId};
use serde_json::json;

use crate::support::eventually;
use crate::support::goal_stage::GoalStage;
use crate::support::kafka;
use crate::support::receiver::Answer;

const TIMEOUT: Duration = Duration::from_secs(60);

impl GoalStage {
    /// Brings the next probe forward, as if its time had come.
    async fn probe_now(&self) {
        // The owner keeps it in memory: a new one reads it.
        sqlx::query("update webhook_health set next_probe_at = now()")
            .execute(self.pool())
            .await
            .unwrap();
    }
}

const WAITING: &str = "select count(*) from parked where reason = 'circuit'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_circuit_parks_then_probes_and_drains() {
    let mut stage = GoalStage::start(
        &[("webhooks.retry_schedules", "{default=[\"1s\"]}")],
        json!({"failure_threshold": 2}),
    )
    .await;
    assert_eq!(stage.health().await["state"], "new");
    stage.receiver.answer("hook", |_| Answer::status(500));
    for name in ["one", "two"] {
        stage.goal(name).await;
    }
    let open = stage.state_is("open").await;
    assert_eq!(open["reason"], "failures");
    assert!(
        open["next_probe_at"].is_string() && open["since"].is_string(),
        "{open}"
    );
    assert_eq!(open["consecutive_failures"], 2);
    let tried = stage.receiver.received("hook").len();
    for number in 0..20 {
        stage.goal(&format!("waits {number}")).await;
    }
    stage.count_is(WAITING, 20).await;
    assert_eq!(stage.health().await["waiting"], 20);
    assert_eq!(
        stage.receiver.received("hook").len(),
        tried,
        "nothing is sent while it is open"
    );
    let shown: (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where status = 'pending' and parked_until > now())
         from deliveries where parked_reason = 'circuit'",
    )
    .fetch_one(stage.pool())
    .await
    .unwrap();
    assert_eq!(shown, (20, 20));

    // The state outlives the process; a failed probe uses nothing up.
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.probe_now().await;
    stage.process = stage.deployment.serve(&[]).await;
    let probed = stage.receiver.wait_for("hook", tried + 1).await;
    let oldest = probed[tried].json();
    assert_eq!(oldest["data"]["goal_name"], "waits 0", "the oldest that waits");
    stage
        .count_is("select count(*) from parked where attempt = 2 and step = 0", 1)
        .await;
    assert_eq!(stage.health().await["state"], "open");

    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.probe_now().await;
    stage.process = stage.deployment.serve(&[]).await;
    let ok = stage.state_is("ok").await;
    assert_eq!(ok["consecutive_failures"], 0);
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 20)
        .await;
    stage.count_is("select count(*) from parked", 0).await;
    assert_eq!(stage.health().await["waiting"], 0);
    let drained: Vec<String> = stage.receiver.received("hook")[tried + 1..]
        .iter()
        .map(|one| one.json()["data"]["goal_name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(drained.len(), 20, "each once: {drained:?}");
    assert_eq!(drained[0], "waits 0", "oldest first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_back_and_its_end_delivers() {
    let stage = GoalStage::start(&[], json!({})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..5 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage
        .count_is("select count(*) from parked where reason = 'paused'", 5)
        .await;
    assert!(stage.receiver.received("hook").is_empty());
    assert_eq!(stage.health().await["waiting"], 5);
    // Ended early: what waits goes at once.
    stage.pause("null").await;
    stage.receiver.wait_for("hook", 5).await;
    stage.count_is("select count(*) from parked", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_timeouts_open_the_circuit() {
    let stage = GoalStage::start(&[("webhooks.timeout", "1s")], json!({"failure_threshold": 100})).await;
    stage
        .receiver
        .answer("hook", |_| Answer::status(200).after(Duration::from_secs(60)));
    stage.goal("first").await;
    stage.state_is("careful").await;
    for number in 0..20 {
        stage.goal(&format!("goal {number}")).await;
    }
    let open = stage.state_is("open").await;
    assert_eq!(open["reason"], "timeouts");
    // Eight before it was careful at most, one at a time after that.
    stage
        .count_is("select unanswered::bigint from webhook_health", 10)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_cancels_what_is_parked_in_batches() {
    let stage = GoalStage::start(&[], json!({"rate_limit_per_second": 1})).await;
    for number in 0..30 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage
        .count_is("select (count(*) > 10)::int::bigint from parked", 1)
        .await;
    stage.receiver.answer("hook", |_| Answer::status(410));
    let disabled = stage.state_is("disabled").await;
    assert_eq!(disabled["reason"], "gone");
    stage.count_is("select count(*) from parked", 0).await;
    stage
        .count_is(
            "select count(*) from deliveries where status in ('pending', 'retrying')",
            0,
        )
        .await;
    let cancelled = stage
        .count("select count(*) from deliveries where status = 'cancelled' and failure_reason = 'disabled'")
        .await;
    assert!(cancelled > 10, "{cancelled}");
    let rows: String = sqlx::query_scalar("select state from webhook_health")
        .fetch_one(stage.pool())
        .await
        .unwrap();
    assert_eq!(rows, "disabled");
}

/// Parks so many rows of the webhook, which are due in a year.
async fn fill_with_far_due(stage: &GoalStage, rows: i32) {
    let webhook: WebhookId = stage.webhook.parse().unwrap();
    sqlx::query(
        "insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
         select gen_random_uuid(), $1, p, now() + interval '1 year', 'far_due', 1, 0
         from generate_series(1, $3), (select $2::int as p) as place",
    )
    .bind(webhook.uuid())
    .bind(bellwether::kafka::murmur2::partition_of(
        stage.webhook.as_bytes(),
        4,
    ))
    .bind(rows)
    .execute(stage.pool())
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_cannot_hold_overflows_and_fails() {
    let stage = GoalStage::start(&[], json!({})).await;
    // All but three of its places are taken.
    fill_with_far_due(&stage, 99_997).await;
    sqlx::query("update webhooks set paused_until = now() + interval '1 hour', updated_at = now()")
        .execute(stage.pool())
        .await
        .unwrap();
    stage.deployment.registry_is_read(&stage.process).await;
    assert_eq!(stage.health().await["waiting"], 99_997);
    // Counted less often than the owner looks.
    let series = "bellwether_parked{reason=\"far_due\"}";
    stage.process.metric_is(series, 99_997.0).await;
    for number in 0..8 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage
        .count_is(
            "select count(*) from deliveries where status = 'failed' and failure_reason = 'overflow'",
            5,
        )
        .await;
    stage.count_is("select count(*) from parked", 100_000).await;
    assert_eq!(
        stage.count("select max(waiting) from webhook_health").await,
        100_000
    );
    stage
        .process
        .metric_is("bellwether_delivery_failures_total{reason=\"overflow\"}", 5.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_webhook_parks_no_attempt_either() {
    let stage = GoalStage::start(&[], json!({})).await;
    fill_with_far_due(&stage, 100_000).await;
    // Counted less often than the owner looks.
    let series = "bellwether_parked{reason=\"far_due\"}";
    stage.process.metric_is(series, 100_000.0).await;
    // Later than any tier holds.
    stage
        .receiver
        .answer("hook", |_| Answer::status(429).with("retry-after", "86000"));
    stage.goal("one").await;
    let failed = "select count(*) from deliveries
        where status = 'failed' and failure_reason = 'overflow' and attempts = 1 and response_code = 429";
    stage.count_is(failed, 1).await;
    assert_eq!(stage.count("select count(*) from parked").await, 100_000);
}

#[tokio::test]
async fn an_endpoint_known_as_gone_is_switched_off_in_sight() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    // Left by an owner that died between the two: it had not disabled the webhook yet.
    sqlx::query(
        "insert into webhook_health (webhook_id, state, reason, since, updated_at)
         select id, 'disabled', 'gone', now(), now() from webhooks
         on conflict (webhook_id) do update set state = 'disabled', reason = 'gone', since = now()",
    )
    .execute(stage.pool())
    .await
    .unwrap();
    stage.process = stage.deployment.serve(&[]).await;
    stage.goal("one").await;
    let disabled = "select count(*) from webhooks where disabled_at is not null and disabled_reason = 'gone'";
    stage.count_is(disabled, 1).await;
    let health = stage.state_is("disabled").await;
    assert_eq!(health["reason"], "gone");
}

#[tokio::test]
async fn a_row_that_may_have_been_sent_stays_so_at_a_hand_over() {
    let mut stage = GoalStage::start(&[], json!({"max_concurrency": 1})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..3 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage.count_is("select count(*) from parked", 3).await;
    // As after an owner that was killed: a claim that has ended.
    sqlx::query("update parked set claimed_until = 'epoch'")
        .execute(stage.pool())
        .await
        .unwrap();
    // One is sent and hangs; the others are claimed and wait behind it.
    stage
        .receiver
        .answer("hook", |_| Answer::status(200).after(Duration::from_secs(5)));
    stage.pause("null").await;
    stage
        .count_is("select count(*) from parked where claimed_until > now()", 3)
        .await;
    stage.receiver.wait_for("hook", 1).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.receiver.answer("hook", |_| Answer::status(200));
    let _next = stage.deployment.serve(&[]).await;
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 3)
        .await;
    let flagged = "select count(*) from delivery_attempts where possible_repeat";
    assert_eq!(stage.count(flagged).await, 3);
}

#[tokio::test]
async fn a_parked_row_of_a_newer_version_holds_back_no_other() {
    let stage = GoalStage::start(&[], json!({})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..5 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage.count_is("select count(*) from parked", 5).await;
    // The oldest, so that it comes first whenever rows are claimed.
    sqlx::query(
        "update deliveries set event_type = 'event_of_tomorrow'
         where id = (select delivery_id from parked order by due_at, delivery_id limit 1)",
    )
    .execute(stage.pool())
    .await
    .unwrap();
    stage.pause("null").await;
    stage.receiver.wait_for("hook", 4).await;
    stage.count_is("select count(*) from parked", 1).await;
    assert_eq!(
        stage
            .count("select count(*) from deliveries where status = 'delivered'")
            .await,
        4
    );
    assert!(stage.process.log_text().contains("finish the upgrade"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_claimed_while_it_stops_are_given_back() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..3 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage.count_is("select count(*) from parked", 3).await;
    // The claim waits for the table, until the process has left its group.
    let mut lock = stage.pool().begin().await.unwrap();
    sqlx::query("lock table parked in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    stage.pause("null").await;
    let claiming = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%update parked set claimed_until%'";
    stage.count_is(claiming, 1).await;
    stage.process.terminate();
    eventually("it has left its group", TIMEOUT, || async {
        let log = stage.process.log_text();
        log.lines()
            .any(|line| line.contains("left the group") && line.contains("\"deliver\""))
            .then_some(())
    })
    .await;
    assert_eq!(stage.count(claiming).await, 1);
    lock.rollback().await.unwrap();
    assert!(stage.process.ended(TIMEOUT).await.success());
    assert_eq!(
        stage
            .count("select count(*) from parked where claimed_until is not null")
            .await,
        0
    );
    let _next = stage.deployment.serve(&[]).await;
    stage.receiver.wait_for("hook", 3).await;
}

#[tokio::test]
async fn a_pause_holds_back_also_what_waited_before_it() {
    let mut stage = GoalStage::start(&[], json!({"max_age_seconds": 3_600})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..3 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage.count_is("select count(*) from parked", 3).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    // As if it had waited for the circuit when the owner paused it.
    for sql in [
        "update parked set reason = 'circuit'",
        "update deliveries set parked_reason = 'circuit', parked_until = now()",
    ] {
        sqlx::query(sql).execute(stage.pool()).await.unwrap();
    }
    stage.process = stage.deployment.serve(&[]).await;
    stage
        .count_is("select count(*) from parked where reason = 'paused'", 3)
        .await;
    let shown = "select count(*) from deliveries d join webhooks w on w.id = d.webhook_id
        where d.parked_reason = 'paused' and d.parked_until = date_trunc('milliseconds', w.paused_until)";
    assert_eq!(stage.count(shown).await, 3);
    // Two hours pass, all of them in the pause.
    for sql in [
        "update parked set parked_at = parked_at - interval '2 hours'",
        "update deliveries set created_at = created_at - interval '2 hours'",
        "update webhooks set active_since = active_since - interval '3 hours'",
    ] {
        sqlx::query(sql).execute(stage.pool()).await.unwrap();
    }
    stage.pause("null").await;
    stage.receiver.wait_for("hook", 3).await;
}

/// Leaves three rows of a process that stopped. The attempt of one failed for good, and its dead
/// letter was not published. Returns the one.
async fn rows_without_a_dead_letter(stage: &mut GoalStage, reason: &str) -> DeliveryId {
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..3 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage.count_is("select count(*) from parked", 3).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    // As the statement that writes outcomes leaves it.
    let (failed,): (sqlx::types::Uuid,) = sqlx::query_as(
        "with failed as (
             update deliveries set status = 'failed', failure_reason = $1, attempts = 1, response_code = 410,
                 parked_reason = null, parked_until = null
             where id = (select delivery_id from parked order by delivery_id limit 1) returning id
         )
         update parked set due_at = now(), has_ended = true from failed where delivery_id = failed.id returning delivery_id",
    )
    .bind(reason)
    .fetch_one(stage.pool())
    .await
    .unwrap();
    DeliveryId::from_uuid(failed)
}

/// Waits until so many rows are left. Exactly one dead letter is published then, of this delivery.
async fn one_letter_is_there(stage: &GoalStage, delivery: DeliveryId, reason: &str, left: i64) {
    stage.count_is("select count(*) from parked", left).await;
    let letters = kafka::read_all(&stage.deployment.topic("dead-letter"));
    let of = |letter, name| kafka::header(letter, name).map(str::to_owned);
    let found: Vec<_> = letters
        .iter()
        .map(|letter| (of(letter, "bw-delivery-id"), of(letter, "bw-reason")))
        .collect();
    assert_eq!(found, [(Some(delivery.to_string()), Some(reason.to_owned()))]);
}

#[tokio::test]
async fn a_pending_dead_letter_of_a_row_is_published() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    let failed = rows_without_a_dead_letter(&mut stage, "exhausted").await;
    sqlx::query("update webhooks set paused_until = null, updated_at = now()")
        .execute(stage.pool())
        .await
        .unwrap();
    let _next = stage.deployment.serve(&[]).await;
    one_letter_is_there(&stage, failed, "exhausted", 0).await;
    assert_eq!(stage.receiver.all().len(), 2);
}

#[tokio::test]
async fn a_pending_dead_letter_waits_for_no_pause_or_circuit() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    let failed = rows_without_a_dead_letter(&mut stage, "exhausted").await;
    sqlx::query(
        "insert into webhook_health (webhook_id, state, reason, since, next_probe_at, updated_at)
         select id, 'open', 'failures', now(), now() + interval '1 hour', now() from webhooks
         on conflict (webhook_id) do update
             set state = 'open', reason = 'failures', next_probe_at = now() + interval '1 hour', updated_at = now()",
    )
    .execute(stage.pool())
    .await
    .unwrap();
    let _next = stage.deployment.serve(&[]).await;
    one_letter_is_there(&stage, failed, "exhausted", 2).await;
    assert!(stage.receiver.all().is_empty());
}

#[tokio::test]
async fn a_pending_dead_letter_outlives_its_webhooks_end() {
    let mut stage = GoalStage::start(&[], json!({})).await;
    let failed = rows_without_a_dead_letter(&mut stage, "gone").await;
    sqlx::query("update webhooks set disabled_at = now(), disabled_reason = 'gone', updated_at = now()")
        .execute(stage.pool())
        .await
        .unwrap();
    let _next = stage.deployment.serve(&[]).await;
    one_letter_is_there(&stage, failed, "gone", 0).await;
    let cancelled = "select count(*) from deliveries where status = 'cancelled'";
    assert_eq!(stage.count(cancelled).await, 2);
}

/// Parks three goals for a pause of an hour, and stops the process.
async fn paused_and_stopped() -> GoalStage {
    let mut stage = GoalStage::start(&[], json!({"max_age_seconds": 3_600})).await;
    stage.pause("now() + interval '1 hour'").await;
    for number in 0..3 {
        stage.goal(&format!("goal {number}")).await;
    }
    let paused = "select count(*) from parked where reason = 'paused'";
    stage.count_is(paused, 3).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage
}

#[tokio::test]
async fn a_pause_that_was_lifted_while_nobody_delivered_ends() {
    let stage = paused_and_stopped().await;
    for sql in [
        "update webhooks set paused_until = null, updated_at = now()",
        "update webhook_health set state = 'open', reason = 'timeouts', since = now(),
             next_probe_at = now() + interval '1 hour'",
    ] {
        sqlx::query(sql).execute(stage.pool()).await.unwrap();
    }
    let _next = stage.deployment.serve(&[]).await;
    let shown = "select count(*) from parked join deliveries d on d.id = delivery_id
        where reason = 'circuit' and d.parked_reason = 'circuit' and d.parked_until <= now()";
    stage.count_is(shown, 3).await;
}

#[tokio::test]
async fn a_pause_counts_for_no_age_while_nobody_delivers() {
    let mut stage = GoalStage::start(&[], json!({"max_age_seconds": 5})).await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.process = stage.deployment.serve(&["--roles", "route,detect,api"]).await;
    stage.pause("now() + interval '12 seconds'").await;
    stage.goal("while nobody delivers").await;
    let is_older = "select count(*) from webhooks where paused_until < now() + interval '6 seconds'";
    stage.count_is(is_older, 1).await;
    let _deliverer = stage.deployment.serve(&["--roles", "deliver"]).await;
    stage.receiver.wait_for("hook", 1).await;
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 1)
        .await;
}

#[tokio::test]
async fn time_after_a_pause_counts_while_nobody_delivers() {
    let stage = paused_and_stopped().await;
    // Paused for an hour, and lifted two hours ago.
    for sql in [
        "update parked set parked_at = now() - interval '3 hours'",
        "update deliveries set created_at = now() - interval '3 hours'",
        "update webhooks set active_since = now() - interval '4 hours', paused_until = null,
             pause_lifted_at = now() - interval '2 hours', updated_at = now() - interval '1 minute'",
    ] {
        sqlx::query(sql).execute(stage.pool()).await.unwrap();
    }
    let _next = stage.deployment.serve(&[]).await;
    let expired = "select count(*) from deliveries where status = 'failed' and failure_reason = 'expired'";
    stage.count_is(expired, 3).await;
    assert_eq!(stage.receiver.all().len(), 0);
}

use sqlx::{Connection as _, PgPool};

use super::*;
use crate::clock;
use crate::domain::id::JobId;
use crate::record::rows_read::rows_read;
use crate::record::{pauses, resends};

const BUSY: Uuid = Uuid::from_u128(7);
const QUIET: Uuid = Uuid::from_u128(8);
const CLAIM: Duration = Duration::from_secs(90);
/// Rows that wait for the busy webhook.
const WAITING: i64 = 30_000;
/// Rows that one look may read.
const FEW: i64 = 200;

/// Writes deliveries that wait for a webhook, and that ended if `has_ended`, in this partition.
async fn park(conn: &mut PgConnection, webhook: Uuid, count: i64, partition: i32, has_ended: bool) {
    sqlx::query(
        "with made as (
             insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
                 payload, created_at, parked_until, parked_reason, inserted_at, updated_at)
             select gen_random_uuid(), gen_random_uuid(), $1, 'a.example', 'visitor_spike', 'event', 'pending', 0,
                 '{}', now(), now(), 'circuit', now(), now()
             from generate_series(1, $2::bigint)
             returning id
         )
         insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step, has_ended)
         select id, $1, $3, now() - interval '1 minute', 'circuit', 1, 0, $4 from made",
    )
    .bind(webhook)
    .bind(count)
    .bind(partition)
    .bind(has_ended)
    .execute(conn)
    .await
    .expect("parked");
}

/// Names of deliveries and of what waits.
const TABLES: &str = "^(deliveries|parked)";

#[sqlx::test]
async fn a_claim_reads_nothing_of_a_busy_webhook(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    park(&mut conn, BUSY, WAITING, 0, false).await;
    sqlx::raw_sql("analyze deliveries; analyze parked")
        .execute(&mut *conn)
        .await
        .expect("counted");
    park(&mut conn, QUIET, 3, 1, false).await;
    let mut tx = conn.begin().await.expect("begun");
    let before = rows_read(&mut tx, TABLES).await;
    let wanted = [(WebhookId::from_uuid(QUIET), 8)];
    let taken = take(&mut tx, &wanted, clock::now(), CLAIM).await.expect("taken");
    let read = rows_read(&mut tx, TABLES).await - before;
    assert_eq!(taken.readable.len(), 3);
    assert!((3..FEW).contains(&read), "{read} rows were read");
}

#[sqlx::test]
async fn ended_rows_are_claimed_without_reading_others(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    park(&mut conn, BUSY, WAITING / 2, 0, false).await;
    park(&mut conn, BUSY, WAITING / 2, 0, true).await;
    sqlx::raw_sql("analyze deliveries; analyze parked")
        .execute(&mut *conn)
        .await
        .expect("counted");
    park(&mut conn, QUIET, 3, 1, true).await;
    let mut tx = conn.begin().await.expect("begun");
    let before = rows_read(&mut tx, TABLES).await;
    let taken = take_ended(&mut tx, &[1], 1_000, CLAIM).await.expect("taken");
    let read = rows_read(&mut tx, TABLES).await - before;
    assert_eq!(taken.readable.len(), 3);
    assert!((3..FEW).contains(&read), "{read} rows were read");
}

/// Adds the busy webhook, which is on.
async fn add_webhook(conn: &mut PgConnection) {
    sqlx::raw_sql(
        "insert into sites (site_id, inserted_at, updated_at) values ('a.example', now(), now());
         insert into webhooks (id, site_id, name, url, events, enabled, failure_threshold, max_concurrency,
             retry_schedule, active_since, inserted_at, updated_at)
         values (lpad('7', 32, '0')::uuid, 'a.example', 'one', '', '{}', true, 1, 1, 'default', now(), now(), now())",
    )
    .execute(conn)
    .await
    .expect("added");
}

async fn count(conn: &mut PgConnection, rows: &str) -> i64 {
    let count = format!("select count(*) from {rows}");
    sqlx::query_scalar(&count)
        .fetch_one(conn)
        .await
        .expect("a number")
}

async fn cancel(conn: &mut PgConnection) -> i64 {
    let webhook = WebhookId::from_uuid(BUSY);
    let cancelled = cancel_batch(conn, webhook, FailureReason::Disabled).await;
    let (cancelled, has_more) = cancelled.expect("cancelled");
    assert!(!has_more);
    cancelled.iter().map(|(_, count)| count).sum()
}

#[sqlx::test]
async fn what_waits_for_a_webhook_that_is_on_is_not_cancelled(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    add_webhook(&mut conn).await;
    park(&mut conn, BUSY, 3, 0, false).await;
    // The registry of a replica may still have it off.
    assert_eq!(cancel(&mut conn).await, 0);
    assert_eq!(count(&mut conn, "deliveries where status = 'pending'").await, 3);
    for change in [
        "update webhooks set enabled = false",
        "update webhooks set disabled_at = now(), disabled_reason = 'gone'",
        "update webhooks set deleted_at = now(), url = null, headers = null",
        "delete from webhooks",
    ] {
        let mut tx = conn.begin().await.expect("begun");
        sqlx::query(change).execute(&mut *tx).await.expect("changed");
        assert_eq!(cancel(&mut tx).await, 3, "{change}");
        assert_eq!(count(&mut tx, "parked").await, 0, "{change}");
        tx.rollback().await.expect("undone");
    }
}

#[sqlx::test]
async fn nobody_holds_rows_and_waits_for_their_deliveries(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let (webhook, job) = (WebhookId::from_uuid(BUSY), JobId::from_uuid(BUSY));
    park(&mut conn, BUSY, 3, 0, false).await;
    sqlx::raw_sql("update parked set job_id = webhook_id; set lock_timeout = '1s'")
        .execute(&mut *conn)
        .await
        .expect("set");
    let mut holder = pool.begin().await.expect("begun");
    sqlx::query("select id from deliveries order by id limit 1 for update")
        .execute(&mut *holder)
        .await
        .expect("held");

    let mut tx = conn.begin().await.expect("begun");
    assert_eq!(cancel(&mut tx).await, 2);
    assert_eq!(count(&mut tx, "parked").await, 1, "the next batch cancels it");
    tx.rollback().await.expect("undone");

    let mut tx = conn.begin().await.expect("begun");
    let withdrawn = resends::withdraw(&mut tx, job).await.expect("withdrawn");
    assert_eq!(withdrawn, (2, 1));
    tx.rollback().await.expect("undone");

    let mut tx = conn.begin().await.expect("begun");
    let until = clock::now() + chrono::TimeDelta::hours(1);
    let marked = pauses::mark_paused(&mut tx, webhook, until, None).await;
    assert_eq!(marked.expect("marked"), None);
    assert_eq!(count(&mut tx, "parked where reason = 'paused'").await, 3);
    assert_eq!(
        count(&mut tx, "deliveries where parked_reason = 'paused'").await,
        2
    );
    tx.rollback().await.expect("undone");

    holder.rollback().await.expect("given back");
    assert_eq!(cancel(&mut conn).await, 3);
}

#[sqlx::test]
async fn a_row_without_history_is_removed_and_a_failed_one_stays(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    park(&mut conn, BUSY, 3, 0, false).await;
    sqlx::raw_sql(
        "with first as (select id from deliveries order by id limit 1)
         delete from deliveries where id = (select id from first);
         with last as (select id from deliveries order by id desc limit 1)
         update deliveries set status = 'failed' where id = (select id from last)",
    )
    .execute(&mut *conn)
    .await
    .expect("changed");
    assert_eq!(cancel(&mut conn).await, 1);
    assert_eq!(count(&mut conn, "parked").await, 1);
    assert_eq!(count(&mut conn, "deliveries where status = 'failed'").await, 1);
}

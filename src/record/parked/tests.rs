use sqlx::{Connection as _, PgPool};

use super::*;
use crate::clock;
use crate::record::rows_read::rows_read;

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

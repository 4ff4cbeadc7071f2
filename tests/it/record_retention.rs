//! Retention against a real Postgres.

use std::time::{Duration, Instant};

use bellwether::clock;
use bellwether::domain::id::uuid_floor;
use bellwether::record::audit;
use bellwether::record::partitions::ensure_partitions;
use bellwether::record::retention::{self, RetentionStep};
use sqlx::{PgConnection, PgPool};

use crate::record_schema::insert_delivery;
use crate::record_support::{DAY_MS, NOON_MS};

/// History that began at this time or later is kept.
const KEEP_FROM_MS: i64 = NOON_MS - 30 * DAY_MS;

/// Days around the limit, each with a delivery: two that are over, the one that the limit lies in,
/// and today.
async fn fill(conn: &mut PgConnection) {
    ensure_partitions(conn, NOON_MS - 32 * DAY_MS, NOON_MS)
        .await
        .expect("made");
    for age in [32, 31, 30, 0] {
        insert_delivery(conn, uuid_floor(NOON_MS - age * DAY_MS)).await;
    }
}

async fn count(conn: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(&format!("select count(*) from {table}"))
        .fetch_one(conn)
        .await
        .expect("counted")
}

/// Takes steps until nothing is due, and returns their number.
async fn drop_all(conn: &mut PgConnection) -> u32 {
    for steps in 0..100 {
        match retention::drop_expired(conn, KEEP_FROM_MS).await.expect("a step") {
            RetentionStep::Done => return steps,
            RetentionStep::Dropped => {}
            RetentionStep::Busy => panic!("nobody else is there"),
        }
    }
    panic!("it never ends");
}

#[sqlx::test]
async fn whole_days_before_the_limit_are_dropped_and_no_other(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    fill(&mut conn).await;
    let lag = retention::lag_seconds(&mut conn, "deliveries", KEEP_FROM_MS).await;
    assert_eq!(lag.expect("read"), 86_400 + 43_200);
    assert_eq!(drop_all(&mut conn).await, 2);
    assert_eq!(count(&mut conn, "deliveries").await, 2);
    assert_eq!(count(&mut conn, "delivery_attempts").await, 2);
    let lag = retention::lag_seconds(&mut conn, "deliveries", KEEP_FROM_MS).await;
    assert_eq!(lag.expect("read"), 0);
    let left = "pg_class where relname ~ '_p202601(23|24)$'";
    assert_eq!(count(&mut conn, left).await, 0);
    assert_eq!(drop_all(&mut conn).await, 0, "again is the same as once");
}

#[sqlx::test]
async fn old_rows_of_days_without_a_partition_are_deleted(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    for ms in [0, KEEP_FROM_MS - 1, KEEP_FROM_MS] {
        insert_delivery(&mut conn, uuid_floor(ms)).await;
    }
    assert_eq!(drop_all(&mut conn).await, 1);
    assert_eq!(count(&mut conn, "deliveries").await, 1);
    assert_eq!(count(&mut conn, "delivery_attempts").await, 1);
}

#[sqlx::test]
async fn a_day_that_was_taken_out_by_a_dead_process_is_dropped(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    fill(&mut conn).await;
    sqlx::raw_sql("alter table deliveries detach partition deliveries_p20260123")
        .execute(&mut *conn)
        .await
        .expect("detached");
    drop_all(&mut conn).await;
    assert_eq!(
        count(&mut conn, "pg_class where relname ~ '_p20260123$'").await,
        0
    );
    assert_eq!(count(&mut conn, "deliveries").await, 2);
}

#[sqlx::test]
async fn a_table_in_use_holds_up_no_writer_and_is_dropped_later(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    fill(&mut conn).await;
    let mut reader = pool.begin().await.expect("begun");
    count(&mut reader, "deliveries").await;
    let mut slowest = Duration::ZERO;
    for age in 1..=5 {
        let began = Instant::now();
        let (step, ()) = tokio::join!(retention::drop_expired(&mut conn, KEEP_FROM_MS), async {
            let mut writer = pool.acquire().await.expect("connection");
            insert_delivery(&mut writer, uuid_floor(NOON_MS - age)).await;
        });
        assert_eq!(step.expect("a step"), RetentionStep::Busy);
        slowest = slowest.max(began.elapsed());
    }
    println!("the slowest writer beside a lock that was not given took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    reader.commit().await.expect("ended");
    assert_eq!(drop_all(&mut conn).await, 2);
    assert_eq!(count(&mut conn, "deliveries").await, 7);
}

#[sqlx::test]
async fn days_are_dropped_while_rows_are_written(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    fill(&mut conn).await;
    let writer = async {
        let mut writer = pool.acquire().await.expect("connection");
        for ms in 1..=500 {
            insert_delivery(&mut writer, uuid_floor(NOON_MS + ms)).await;
        }
    };
    let dropper = async {
        let mut dropped = 0;
        while dropped < 2 {
            let step = retention::drop_expired(&mut conn, KEEP_FROM_MS)
                .await
                .expect("a step");
            dropped += u32::from(step == RetentionStep::Dropped);
        }
    };
    tokio::join!(writer, dropper);
    assert_eq!(count(&mut conn, "deliveries").await, 502);
}

#[sqlx::test]
async fn a_day_stays_while_deliveries_of_it_are_paused(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    fill(&mut conn).await;
    sqlx::query(
        "insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
         select id, webhook_id, 0, now(), 'paused', 1, 0 from deliveries order by id limit 1",
    )
    .execute(&mut *conn)
    .await
    .expect("parked");
    assert_eq!(drop_all(&mut conn).await, 1, "the other day goes");
    assert_eq!(count(&mut conn, "deliveries").await, 3);
    // No pause lasts longer.
    sqlx::query("update parked set parked_at = now() - interval '32 days'")
        .execute(&mut *conn)
        .await
        .expect("aged");
    assert_eq!(drop_all(&mut conn).await, 1);
    assert_eq!(count(&mut conn, "deliveries").await, 2);
}

#[sqlx::test]
async fn the_audit_log_loses_what_is_older_than_asked(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    // Two batches of old entries, and some that are kept.
    sqlx::query(
        "insert into audit_log (at, subject, action)
         select now() - make_interval(days => case when n <= 7000 then 401 else 399 end), 'ops', 'site.put'
         from generate_series(1, 7010) n",
    )
    .execute(&mut *conn)
    .await
    .expect("inserted");
    let before = clock::now() - chrono::TimeDelta::days(400);
    let mut batches = Vec::new();
    loop {
        match audit::purge(&mut conn, before).await.expect("purged") {
            0 => break,
            purged => batches.push(purged),
        }
    }
    assert_eq!(batches, [5_000, 2_000]);
    assert_eq!(count(&mut conn, "audit_log").await, 10);
}

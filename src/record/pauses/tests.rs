use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;

use super::*;
use crate::clock;
use crate::record::parked;

fn webhook() -> WebhookId {
    WebhookId::from_uuid(Uuid::from_u128(3))
}

/// Parks a delivery that waits for `reason` and is due in `due_in_s` seconds. Returns its id.
async fn park(conn: &mut PgConnection, number: u128, reason: &str, due_in_s: f64) -> Uuid {
    let id = Uuid::from_u128(number);
    sqlx::query(
        "with parked as (
             insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
             values ($1, $2, 0, now() + make_interval(secs => $4), $3, 1, 0)
         )
         insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, payload,
             created_at, parked_until, parked_reason, inserted_at, updated_at)
         values ($1, $1, $2, 'example.com', 'goal_completion', 'event', 'pending', '{}', now(),
             now() + make_interval(secs => $4), $3, now(), now())",
    )
    .bind(id)
    .bind(webhook().uuid())
    .bind(reason)
    .bind(due_in_s)
    .execute(conn)
    .await
    .expect("parked");
    id
}

/// Marks page after page. Returns how many there were.
async fn mark(conn: &mut PgConnection, until: DateTime<Utc>) -> usize {
    let (mut after, mut pages) = (None, 0);
    loop {
        after = mark_paused(conn, webhook(), until, after).await.expect("marked");
        pages += 1;
        if after.is_none() {
            return pages;
        }
    }
}

/// Reason of a row, of its delivery, and if it counts as paused from its due time on.
async fn row(conn: &mut PgConnection, id: Uuid) -> (String, String, bool) {
    sqlx::query_as(
        "select reason, parked_reason, parked_at = due_at from parked join deliveries on id = delivery_id where id = $1",
    )
    .bind(id)
    .fetch_one(conn)
    .await
    .expect("a row")
}

#[sqlx::test]
async fn a_pause_marks_what_it_holds_back_and_nothing_else(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let until = clock::now() + TimeDelta::hours(1);
    for (number, reason, due_in_s, marked) in [
        (1, "queue", -5.0, Some(false)),
        (2, "rate", -5.0, Some(false)),
        (3, "circuit", -5.0, Some(false)),
        (4, "resend", -5.0, None),
        (5, "recover", -5.0, None),
        (6, "far_due", 600.0, Some(true)),
        (7, "far_due", 7_200.0, None),
    ] {
        let id = park(&mut conn, number, reason, due_in_s).await;
        assert_eq!(mark(&mut conn, until).await, 1);
        let expected = match marked {
            Some(from_due) => ("paused".to_owned(), "paused".to_owned(), from_due),
            None => (reason.to_owned(), reason.to_owned(), false),
        };
        assert_eq!(row(&mut conn, id).await, expected, "{number}");
    }
    // A pause that was made longer is shown, and counts from where it began.
    let before: Vec<DateTime<Utc>> = parked_at(&mut conn).await;
    let longer = from_micros(until + TimeDelta::minutes(30));
    mark(&mut conn, longer).await;
    assert_eq!(parked_at(&mut conn).await, before);
    let shown: i64 = sqlx::query_scalar("select count(*) from deliveries where parked_until = $1")
        .bind(longer)
        .fetch_one(&mut *conn)
        .await
        .expect("read");
    assert_eq!(shown, 4);
}

#[sqlx::test]
async fn webhooks_with_marked_rows_are_listed_by_partition(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    park(&mut conn, 1, "queue", -5.0).await;
    park(&mut conn, 2, "circuit", -5.0).await;
    let marked = marked_webhooks(&mut conn, &[0, 1]).await;
    assert_eq!(marked.expect("read"), []);
    mark(&mut conn, clock::now() + TimeDelta::hours(1)).await;
    for (partitions, listed) in [(&[0, 1][..], &[webhook()][..]), (&[1], &[])] {
        let marked = marked_webhooks(&mut conn, partitions).await;
        assert_eq!(marked.expect("read"), listed);
    }
}

async fn parked_at(conn: &mut PgConnection) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar("select parked_at from parked order by delivery_id")
        .fetch_all(conn)
        .await
        .expect("rows")
}

/// Rounds an instant as Postgres keeps it.
fn from_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).expect("an instant")
}

#[sqlx::test]
async fn what_is_worked_on_is_not_marked(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let id = park(&mut conn, 1, "queue", -5.0).await;
    let claim = Duration::from_secs(90);
    parked::take(&mut conn, &[(webhook(), 1)], clock::now(), claim)
        .await
        .expect("claimed");
    mark(&mut conn, clock::now() + TimeDelta::hours(1)).await;
    assert_eq!(row(&mut conn, id).await.0, "queue");
}

#[sqlx::test]
async fn rows_that_come_and_go_between_pages_hide_no_other(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    for number in 1..=1_200 {
        // Many are due at the same instant: their ids say which comes first.
        park(&mut conn, number, "queue", -((number % 3) as f64)).await;
    }
    let until = clock::now() + TimeDelta::hours(1);
    let first = mark_paused(&mut conn, webhook(), until, None)
        .await
        .expect("marked");
    // The last of the page goes, and others come behind it and before it.
    sqlx::query("delete from parked where delivery_id = $1")
        .bind(first.expect("more").delivery_id)
        .execute(&mut *conn)
        .await
        .expect("deleted");
    park(&mut conn, 2_000, "queue", 5.0).await;
    park(&mut conn, 2_001, "paused", -60.0).await;
    let second = mark_paused(&mut conn, webhook(), until, first)
        .await
        .expect("marked");
    let third = mark_paused(&mut conn, webhook(), until, second)
        .await
        .expect("marked");
    assert_eq!(third, None);
    let unmarked: i64 = sqlx::query_scalar("select count(*) from parked where reason <> 'paused'")
        .fetch_one(&mut *conn)
        .await
        .expect("read");
    assert_eq!(unmarked, 0);
}

/// Rows of `parked` that are read in marking so many.
async fn read_for(pool: &PgPool, rows: i64) -> i64 {
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query(
        "insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
         select gen_random_uuid(), $1, 0, now() - n * interval '1 ms', 'circuit', 1, 0 from generate_series(1, $2) n",
    )
    .bind(webhook().uuid())
    .bind(rows)
    .execute(&mut *transaction)
    .await
    .expect("rows");
    sqlx::query("analyze parked")
        .execute(&mut *transaction)
        .await
        .expect("analyzed");
    let read = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
        where relname = 'parked'";
    let before: i64 = sqlx::query_scalar(read)
        .fetch_one(&mut *transaction)
        .await
        .expect("counted");
    let pages = mark(&mut transaction, clock::now() + TimeDelta::hours(1)).await;
    assert_eq!(pages as i64, rows / PAGE + 1);
    let after: i64 = sqlx::query_scalar(read)
        .fetch_one(&mut *transaction)
        .await
        .expect("counted");
    let unmarked: i64 = sqlx::query_scalar("select count(*) from parked where reason <> 'paused'")
        .fetch_one(&mut *transaction)
        .await
        .expect("read");
    assert_eq!(unmarked, 0);
    transaction.rollback().await.expect("rolled back");
    after - before
}

#[sqlx::test]
async fn four_times_the_rows_cost_four_times_the_reads(pool: PgPool) {
    let (few, many) = (read_for(&pool, 4_000).await, read_for(&pool, 16_000).await);
    println!("{few} rows read for 4,000, {many} for 16,000");
    assert!((4_000..=32_000).contains(&few), "{few}");
    assert!(many <= 5 * few, "{few} for 4,000, {many} for 16,000");
}

/// Reason of a row and of its delivery, and the milliseconds that it was paused.
async fn after_pause(conn: &mut PgConnection, id: Uuid) -> (String, String, i64) {
    sqlx::query_as(
        "select reason, parked_reason, paused_ms from parked join deliveries on id = delivery_id where id = $1",
    )
    .bind(id)
    .fetch_one(conn)
    .await
    .expect("a row")
}

#[sqlx::test]
async fn no_time_counts_as_paused_after_the_end_of_a_pause(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let waiting = park(&mut conn, 1, "circuit", -5.0).await;
    let far_due = park(&mut conn, 2, "far_due", 600.0).await;
    let resent = park(&mut conn, 3, "resend", -5.0).await;
    mark(&mut conn, clock::now() + TimeDelta::hours(1)).await;
    let ended = clock::now() - TimeDelta::seconds(4);
    sqlx::query("update parked set paused_ms = 1000, parked_at = $2 where delivery_id = $1")
        .bind(waiting)
        .bind(ended - TimeDelta::seconds(6))
        .execute(&mut *conn)
        .await
        .expect("set");
    for (state, waits_for) in [("ok", "queue"), ("open", "circuit")] {
        let mut tx = sqlx::Connection::begin(&mut *conn).await.expect("begun");
        sqlx::query(
            "insert into webhook_health (webhook_id, state, since) values ($1, $2, now())
             on conflict (webhook_id) do update set state = excluded.state",
        )
        .bind(webhook().uuid())
        .bind(state)
        .execute(&mut *tx)
        .await
        .expect("set");
        // Once: what waits for something else is left as it is.
        for _ in 0..2 {
            let next = end_pause(&mut tx, webhook(), ended, None).await.expect("ended");
            assert_eq!(next, None);
            let (reason, shown, paused_ms) = after_pause(&mut tx, waiting).await;
            assert_eq!((&*reason, &*shown), (waits_for, waits_for));
            assert_eq!(paused_ms, 7_000);
        }
        let (reason, shown, paused_ms) = after_pause(&mut tx, far_due).await;
        assert_eq!((&*reason, &*shown, paused_ms), ("far_due", "far_due", 0));
        assert_eq!(after_pause(&mut tx, resent).await.0, "resend");
        tx.rollback().await.expect("undone");
    }
}

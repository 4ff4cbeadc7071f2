use chrono::TimeDelta;
use sqlx::{Connection as _, PgPool};

use super::*;
use crate::clock;
use crate::domain::id::uuid_floor;

/// Webhooks 1 to `count`, all open for six days.
async fn open(conn: &mut PgConnection, count: i32) {
    sqlx::query("insert into sites (site_id, inserted_at, updated_at) values ('a.example', now(), now())")
        .execute(&mut *conn)
        .await
        .expect("a site");
    sqlx::query(
        "with made as (
             insert into webhooks (id, site_id, name, url, events, enabled, failure_threshold, max_concurrency,
                 retry_schedule, active_since, inserted_at, updated_at)
             select lpad(n::text, 32, '0')::uuid, 'a.example', 'one', '', '{}', true, 1, 1, 'default', now(), now(),
                 now()
             from generate_series(1, $1) n
             returning id
         )
         insert into webhook_health (webhook_id, state, reason, since)
         select id, 'open', 'failures', now() - interval '6 days' from made",
    )
    .bind(count)
    .execute(conn)
    .await
    .expect("open webhooks");
}

/// Disables batch after batch. Returns how many each has disabled.
async fn disable_all(conn: &mut PgConnection) -> Vec<usize> {
    let (mut after, mut batches) = (None, Vec::new());
    loop {
        let before = clock::now() - TimeDelta::days(5);
        let disabled = disable_open_too_long(conn, before, after).await.expect("done");
        batches.push(disabled.len());
        if disabled.len() < OPEN_TOO_LONG_BATCH {
            return batches;
        }
        after = disabled.last().copied();
    }
}

#[sqlx::test]
async fn what_is_open_for_too_long_is_disabled_in_batches(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    open(&mut conn, 1_200).await;
    assert_eq!(disable_all(&mut conn).await, [500, 500, 200]);
    let left: i64 = sqlx::query_scalar(
        "select count(*) from webhooks w join webhook_health h on h.webhook_id = w.id
         where w.disabled_reason is distinct from 'open_too_long' or h.state <> 'disabled'",
    )
    .fetch_one(&mut *conn)
    .await
    .expect("a number");
    assert_eq!(left, 0);
    assert_eq!(disable_all(&mut conn).await, [0], "once each");
}

#[sqlx::test]
async fn a_webhook_that_is_held_keeps_no_other_from_being_disabled(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    open(&mut conn, 600).await;
    sqlx::query("set lock_timeout = '100ms'")
        .execute(&mut *conn)
        .await
        .expect("set");
    let mut holder = pool.acquire().await.expect("a connection");
    let mut held = holder.begin().await.expect("begun");
    for statement in [
        "select id from webhooks order by id limit 1 for update",
        "select webhook_id from webhook_health order by webhook_id desc limit 1 for update",
    ] {
        sqlx::query(statement).execute(&mut *held).await.expect("held");
    }
    assert_eq!(disable_all(&mut conn).await, [500, 98]);
    held.rollback().await.expect("given back");
    assert_eq!(disable_all(&mut conn).await, [2]);
}

#[sqlx::test]
async fn what_an_old_url_did_disables_nothing(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    open(&mut conn, 1).await;
    let id = WebhookId::from_uuid(Uuid::from_u128(1));
    let edited: DateTime<Utc> =
        sqlx::query_scalar("update webhooks set url_changed_at = now() returning url_changed_at")
            .fetch_one(&mut *conn)
            .await
            .expect("edited");
    let delivery = DeliveryId::from_uuid(uuid_floor(clock::now_ms()));
    sqlx::query(
        "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, result, fault)
         values ($1, 1, now(), now(), now() - interval '1 second', '410', 'endpoint')",
    )
    .bind(delivery.uuid())
    .execute(&mut *conn)
    .await
    .expect("an attempt");
    let (gone, later) = (DisableReason::Gone, clock::now() + TimeDelta::seconds(5));
    for url in [None, Some(edited - TimeDelta::microseconds(1))] {
        assert!(has_other_url(&mut conn, id, url).await.expect("asked"));
        assert!(!disable(&mut conn, id, gone, later, url).await.expect("asked"));
    }
    assert!(
        !disable_gone(&mut conn, id, delivery).await.expect("asked"),
        "it ended before"
    );
    assert_eq!(disable_all(&mut conn).await, [0], "five days count from the edit");
    assert!(!has_other_url(&mut conn, id, Some(edited)).await.expect("asked"));
    assert!(
        disable(&mut conn, id, gone, later, Some(edited))
            .await
            .expect("disabled")
    );
}

/// The health of a webhook that is open.
fn opened(webhook: u128) -> HealthRow {
    let now = clock::now();
    HealthRow {
        webhook_id: WebhookId::from_uuid(Uuid::from_u128(webhook)),
        state: HealthState::Open,
        reason: None,
        since: now,
        consecutive_failures: 3,
        unanswered: 0,
        last_success_at: None,
        next_probe_at: None,
        probes_failed: 0,
        url_changed_at: None,
        updated_at: now,
    }
}

#[sqlx::test]
async fn a_locked_row_is_left_and_no_lock_waits_for_it(pool: PgPool) {
    let mut ours = pool.acquire().await.expect("a connection");
    // A write that waits fails.
    sqlx::query("set lock_timeout = '2s'")
        .execute(&mut *ours)
        .await
        .expect("set");
    let (first, second) = (opened(1).webhook_id, opened(2).webhook_id);
    let done = write(&mut ours, &[opened(1), opened(2)]).await.expect("new ones");
    assert_eq!(done, [first, second]);
    let count = "update webhook_health set waiting = waiting + 1 where webhook_id = $1";
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query(count)
        .bind(second.uuid())
        .execute(&mut *other)
        .await
        .expect("locked");
    let done = write(&mut ours, &[opened(1), opened(2)]).await.expect("written");
    assert_eq!(done, [first]);
    // Against the order, as the triggers of one statement may do it.
    sqlx::query(count)
        .bind(first.uuid())
        .execute(&mut *other)
        .await
        .expect("nobody holds it");
    other.commit().await.expect("committed");
    let done = write(&mut ours, &[opened(2)]).await.expect("written");
    assert_eq!(done, [second]);
}

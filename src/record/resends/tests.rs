use sqlx::{Connection as _, PgPool};

use super::*;
use crate::clock;
use crate::record::deliveries_read::{self, StoredDelivery};
use crate::record::rows_read::rows_read;

/// Delivery of a neighbour with this number, in today's partition.
fn delivery(number: u128) -> StoredDelivery {
    let id = uuid_floor(clock::now_ms()).as_u128() + number;
    let now = clock::now();
    StoredDelivery {
        id: Uuid::from_u128(id),
        notification_id: Uuid::from_u128(number),
        webhook_id: Uuid::from_u128(7),
        site_id: "s".to_owned(),
        event_type: "visitor_spike".to_owned(),
        origin: "event".to_owned(),
        status: "delivered".to_owned(),
        attempts: 1,
        response_code: None,
        failure_reason: None,
        next_retry_at: None,
        parked_until: None,
        parked_reason: None,
        resend_of: None,
        payload: None,
        created_at: now,
        first_attempt_at: None,
        inserted_at: now,
        updated_at: now,
    }
}

/// Runs everything that looks for resends, and returns how many rows of deliveries that read.
async fn looked_at(conn: &mut PgConnection) -> i64 {
    let asked = delivery(1);
    let span = MissedSpan {
        webhook: WebhookId::from_uuid(asked.webhook_id),
        since: asked.created_at - TimeDelta::hours(1),
        until: asked.created_at + TimeDelta::hours(1),
    };
    let mut tx = conn.begin().await.expect("begun");
    let before = rows_read(&mut tx, "^deliveries_").await;
    let resent = deliveries_read::resends(&mut tx, &asked).await.expect("read");
    let sent = sent_since(&mut tx, span.webhook, &[asked.notification_id])
        .await
        .expect("read");
    let missed = missed(&mut tx, span, None).await.expect("read");
    let counted = count_missed(&mut tx, span, None).await.expect("read");
    let ended = end_overdue(&mut tx, span.webhook, span.ids(), clock::now())
        .await
        .expect("asked");
    assert_eq!(ended, 0);
    assert!(resent.is_empty() && sent.is_empty() && missed.is_empty());
    assert_eq!(counted, (0, None));
    let read = rows_read(&mut tx, "^deliveries_").await - before;
    tx.commit().await.expect("done");
    read
}

#[sqlx::test]
async fn resends_are_found_without_reading_a_busy_neighbours(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    sqlx::raw_sql("analyze deliveries; set plan_cache_mode = force_generic_plan")
        .execute(&mut *conn)
        .await
        .expect("set");
    // Plans are made while today's partition is known to be empty.
    assert_eq!(looked_at(&mut conn).await, 0);
    let first = delivery(0).id.as_u128() >> 80;
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, created_at,
             resend_of, inserted_at, updated_at)
         select (lpad(to_hex($1::bigint), 12, '0') || lpad(n::text, 20, '0'))::uuid, gen_random_uuid(),
             lpad(case when n % 1000 = 7 then n::text else '9' end, 32, '0')::uuid, 's', 'visitor_spike', 'event',
             case when n % 2 = 0 then 'failed' else 'delivered' end, now(),
             case when n % 10 = 0 then gen_random_uuid() end, now(), now()
         from generate_series(1, 20000) n",
    )
    .bind(i64::try_from(first).expect("milliseconds"))
    .execute(&mut *conn)
    .await
    .expect("inserted");
    let read = looked_at(&mut conn).await;
    assert!(read < 100, "{read} rows were read before statistics");
    sqlx::raw_sql("analyze deliveries")
        .execute(&mut *conn)
        .await
        .expect("analyzed");
    let read = looked_at(&mut conn).await;
    assert!(read < 100, "{read} rows were read");
}

#[sqlx::test]
async fn only_what_is_overdue_and_in_nobodys_hands_ends(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let webhook = WebhookId::from_uuid(Uuid::from_u128(7));
    let now = clock::now();
    // Due so many minutes ago, its claim over so many minutes ago, changed so many minutes ago.
    for (number, status, due, claimed, changed, parked_reason) in [
        (1_i64, "retrying", Some(61), None, 61, None),
        (2, "pending", None, Some(61), 62, None),
        (3, "retrying", Some(61), Some(300), 61, None),
        (4, "retrying", Some(59), None, 61, None),
        (5, "retrying", Some(300), Some(59), 300, None),
        (6, "retrying", Some(300), None, 59, None),
        (7, "retrying", Some(300), None, 300, Some("circuit")),
        (8, "failed", Some(300), None, 300, None),
    ] {
        sqlx::query(
            "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, created_at,
                 next_retry_at, claimed_until, claimed_attempt, parked_until, parked_reason, inserted_at, updated_at)
             select lpad($1::text, 32, '0')::uuid, gen_random_uuid(), $2, 's', 'visitor_spike', 'event', $3, now(),
                 $4 - make_interval(mins => $5), $4 - make_interval(mins => $6), $6 / $6,
                 case when $8::text is not null then now() end, $8, now(), $4 - make_interval(mins => $7)",
        )
        .bind(number)
        .bind(webhook.uuid())
        .bind(status)
        .bind(now)
        .bind(due)
        .bind(claimed)
        .bind(changed)
        .bind(parked_reason)
        .execute(&mut *conn)
        .await
        .expect("inserted");
    }
    let mut tx = conn.begin().await.expect("begun");
    let one = Uuid::from_u128(1)..Uuid::from_u128(2);
    let ended = end_overdue(&mut tx, webhook, one.clone(), now)
        .await
        .expect("done");
    assert_eq!(ended, 1);
    assert_eq!(end_overdue(&mut tx, webhook, one, now).await.expect("done"), 0);
    let all = Uuid::nil()..Uuid::max();
    assert_eq!(end_overdue(&mut tx, webhook, all, now).await.expect("done"), 2);
    let ended: Vec<String> = sqlx::query_scalar(
        "select ltrim(replace(id::text, '-', ''), '0') from deliveries
         where status = 'cancelled' and failure_reason = 'overdue' and next_retry_at is null order by id",
    )
    .fetch_all(&mut *tx)
    .await
    .expect("read");
    assert_eq!(ended, ["1", "2", "3"]);
}

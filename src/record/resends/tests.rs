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

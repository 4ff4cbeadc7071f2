use sqlx::PgPool;

use super::*;
use crate::clock;
use crate::record::rows_read::rows_read;
use crate::record::sites;

async fn run(conn: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(conn).await.expect("done");
}

#[sqlx::test]
async fn keys_of_a_site_are_found_without_reading_those_of_others(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    run(
        &mut conn,
        "insert into idempotency_keys (token_id, path, key, request_hash, holder, claimed_at)
         select gen_random_uuid(), path, 'k', '', gen_random_uuid(), now() - interval '1 hour'
         from (select '/api/sites/s' || n || '.example/webhooks' from generate_series(1, 20000) n
               union all values ('/api/sites/gone.example/webhooks'), ('/sites/gone.example/webhooks'),
                   ('/api/sites/gone.example0/webhooks'), ('/api/sites/gone.example-/goals'),
                   ('/api/tokens')) as paths (path);
         analyze idempotency_keys;
         set plan_cache_mode = force_generic_plan;",
    )
    .await;
    let mut tx = sqlx::Connection::begin(&mut *conn).await.expect("begun");
    let before = rows_read(&mut tx, "^idempotency_keys$").await;
    erase_site_rows(&mut tx, "gone.example", clock::now())
        .await
        .expect("erased");
    let read = rows_read(&mut tx, "^idempotency_keys$").await - before;
    assert!(read < 100, "{read} rows were read");
    let left: i64 = sqlx::query_scalar("select count(*) from idempotency_keys")
        .fetch_one(&mut *tx)
        .await
        .expect("a number");
    assert_eq!(left, 20_003);
}

#[sqlx::test]
async fn history_is_erased_without_reading_that_of_others(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    run(
        &mut conn,
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, created_at,
             inserted_at, updated_at)
         select lpad(n::text, 32, '0')::uuid, gen_random_uuid(), lpad(case n % 1000 when 7 then '7' else '1' end, 32, '0')::uuid, 's',
             'visitor_spike', 'event', 'failed', now(), now(), now()
         from generate_series(1, 20000) n;
         insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, result, fault)
         select id, 1, now(), now(), now(), '2xx', 'none' from deliveries;
         analyze deliveries, delivery_attempts;
         set plan_cache_mode = force_generic_plan;",
    )
    .await;
    let mut tx = sqlx::Connection::begin(&mut *conn).await.expect("begun");
    let tables = "^deliver(ies|y_attempts)_";
    let before = rows_read(&mut tx, tables).await;
    let webhook = [Uuid::from_u128(7)];
    assert!(erase_history(&mut tx, &webhook).await.expect("erased"));
    let read = rows_read(&mut tx, tables).await - before;
    assert!(read < 500, "{read} rows were read");
    for table in ["deliveries", "delivery_attempts"] {
        let left: i64 = sqlx::query_scalar(&format!("select count(*) from {table}"))
            .fetch_one(&mut *tx)
            .await
            .expect("a number");
        assert_eq!(left, 19_980, "{table}");
    }
    assert!(!erase_history(&mut tx, &webhook).await.expect("erased"));
}

#[sqlx::test]
async fn a_site_is_deleted_without_reading_webhooks_of_others(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    run(
        &mut conn,
        "insert into sites (site_id, inserted_at, updated_at)
         select 's' || n || '.example', now(), now() from generate_series(1, 5000) n;
         insert into webhooks (id, site_id, name, url, events, enabled, failure_threshold, max_concurrency,
             retry_schedule, active_since, inserted_at, updated_at)
         select gen_random_uuid(), site_id, 'one', '', '{}', true, 1, 1, 'default', now(), now(), now()
         from sites, generate_series(1, 2);
         analyze sites, webhooks;
         set plan_cache_mode = force_generic_plan;",
    )
    .await;
    let mut tx = sqlx::Connection::begin(&mut *conn).await.expect("begun");
    let before = rows_read(&mut tx, "^webhooks$").await;
    let site = "s7.example".parse().expect("a site id");
    let gone = sites::delete(&mut tx, &site).await.expect("deleted");
    assert_eq!(gone.map(|webhooks| webhooks.len()), Some(2));
    let read = rows_read(&mut tx, "^webhooks$").await - before;
    assert!(read < 100, "{read} rows were read");
}

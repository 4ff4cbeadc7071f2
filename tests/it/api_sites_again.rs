//! Sites that are registered again after they were erased.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use crate::api_support::Api;
use crate::support::eventually;

const SITE: &str = "/api/sites/example.com";

/// Waits until a statement waits for a lock of another.
async fn somebody_waits(pool: &PgPool) {
    eventually("a statement waits", Duration::from_secs(30), || async {
        sqlx::query_scalar::<_, bool>(
            "select true from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_optional(pool)
        .await
        .expect("read")
    })
    .await;
}

#[sqlx::test]
async fn a_site_that_comes_again_holds_no_other_up(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    api.send("PUT", SITE, Some(json!({}))).await;
    assert_eq!(api.send("DELETE", SITE, None).await.status, 204);
    sqlx::query(
        "insert into episodes (id, site_id, event_type, trigger, webhook_ids, started_at, peak, updated_at)
         values (gen_random_uuid(), 'example.com', 'visitor_spike', '{}', '{}', now(), 5, now())",
    )
    .execute(&pool)
    .await
    .expect("inserted");
    let mut holder = pool.begin().await.expect("begun");
    sqlx::query("select id from episodes for update")
        .execute(&mut *holder)
        .await
        .expect("held");
    let other = async {
        somebody_waits(&pool).await;
        let other = api.send("PUT", "/api/sites/other.example", Some(json!({})));
        let other = tokio::time::timeout(Duration::from_secs(10), other).await;
        holder.rollback().await.expect("given back");
        other.map(|other| other.status)
    };
    let (again, other) = tokio::join!(api.send("PUT", SITE, Some(json!({}))), other);
    assert_eq!(other, Ok(201), "nobody waits for the other site's past");
    assert_eq!(again.status, 201, "{}", again.body);
    let left: i64 = sqlx::query_scalar("select count(*) from episodes")
        .fetch_one(&pool)
        .await
        .expect("a number");
    assert_eq!(left, 0);
}

#[sqlx::test]
async fn a_webhook_of_a_site_that_is_being_deleted_registers_it(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    api.send("PUT", SITE, Some(json!({}))).await;
    let mut deleting = pool.begin().await.expect("begun");
    sqlx::query("delete from sites")
        .execute(&mut *deleting)
        .await
        .expect("deleted");
    let deleted = async {
        somebody_waits(&pool).await;
        deleting.commit().await.expect("committed");
    };
    let webhook = json!({"url": "https://example.com/hook", "events": ["goal_completion"]});
    let created = api.send("POST", "/api/sites/example.com/webhooks", Some(webhook));
    let (created, ()) = tokio::join!(created, deleted);
    assert_eq!(created.status, 201, "{}", created.body);
}

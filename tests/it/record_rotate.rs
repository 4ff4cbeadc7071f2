//! Re-encryption with another key, in Postgres and with running processes.

use std::time::Duration;

use bellwether::clock;
use bellwether::record::rotate::{self, SEALED_COLUMNS};
use bellwether::record::{keys, webhooks};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use crate::commands::said;
use crate::record_support::{add_webhook, keyring, site};
use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::Receiver;

/// Columns of bytes that are no ciphertext.
const PLAIN_COLUMNS: [&str; 5] = [
    "api_tokens.token_hash",
    "deliveries.payload",
    "delivery_attempts.response",
    "operator_notices.body",
    "site_activity.minutes",
];

#[sqlx::test]
async fn every_column_of_bytes_is_known_to_be_sealed_or_plain(pool: PgPool) {
    let found: Vec<String> = sqlx::query_scalar(
        "select c.table_name || '.' || c.column_name from information_schema.columns c
         join pg_class t on t.oid = c.table_name::regclass
         where c.table_schema = 'public' and c.data_type = 'bytea' and not t.relispartition
           and c.table_name <> '_sqlx_migrations'
         order by 1",
    )
    .fetch_all(&pool)
    .await
    .expect("read");
    let mut known: Vec<&str> = SEALED_COLUMNS.into_iter().chain(PLAIN_COLUMNS).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

/// Number of sealed values that another key than `id` has.
async fn with_another_key(conn: &mut PgConnection, id: &str) -> i64 {
    let mut all = 0;
    for column in SEALED_COLUMNS {
        let (table, column) = column.split_once('.').expect("a table and a column");
        let statement = format!("select count(*) from {table} where substring({column} from 3 for $2) <> $1");
        let count: i64 = sqlx::query_scalar(&statement)
            .bind(id.as_bytes())
            .bind(i32::try_from(id.len()).expect("short"))
            .fetch_one(&mut *conn)
            .await
            .expect("counted");
        all += count;
    }
    all
}

#[sqlx::test]
async fn a_value_that_was_moved_is_refused_and_left_as_it_is(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let (old, new) = (keyring(&[("old", 1)]), keyring(&[("new", 2), ("old", 1)]));
    let one = add_webhook(&mut conn, &old, "a.example", "one").await;
    let other = add_webhook(&mut conn, &old, "a.example", "other").await;
    sqlx::query("update webhooks set url = (select url from webhooks where id = $1) where id = $2")
        .bind(one.uuid())
        .bind(other.uuid())
        .execute(&mut *conn)
        .await
        .expect("moved");
    let done = rotate::reencrypt(&mut conn, &new).await.expect("gone over");
    let places: Vec<&str> = done.unreadable.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, [format!("webhooks.url of row {}", other.uuid())]);
    assert_eq!(with_another_key(&mut conn, "new").await, 1);
    let again = rotate::reencrypt(&mut conn, &new).await.expect("gone over");
    assert_eq!((again.total(), again.unreadable.len()), (0, 1));
    let moved = webhooks::get(&mut conn, &new, &site("a.example"), other).await;
    assert!(moved.expect("read").expect("there").is_err());
}

#[sqlx::test]
async fn a_wrong_key_reencrypts_nothing(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    add_webhook(&mut conn, &keyring(&[("old", 1)]), "a.example", "one").await;
    let wrong = keyring(&[("new", 2), ("old", 3)]);
    let done = rotate::reencrypt(&mut conn, &wrong).await.expect("gone over");
    assert_eq!((done.total(), done.unreadable.len()), (0, 3));
    assert_eq!(with_another_key(&mut conn, "old").await, 0);
}

#[sqlx::test]
async fn more_rows_than_a_batch_are_reencrypted_and_readable(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let (old, new) = (keyring(&[("old", 1)]), keyring(&[("new", 2), ("old", 1)]));
    let mut last = None;
    for number in 0..205 {
        let site = format!("{}.example", number / 10);
        last = Some((site.clone(), add_webhook(&mut conn, &old, &site, "one").await));
    }
    keys::visitor_hash_key(&mut conn, &old, clock::now())
        .await
        .expect("made");
    let done = rotate::reencrypt(&mut conn, &new).await.expect("gone over");
    // A URL, headers and a secret each, and the key of the visitor hash.
    assert_eq!((done.total(), done.unreadable.len()), (3 * 205 + 1, 0));
    assert_eq!(with_another_key(&mut conn, "new").await, 0);
    let (site_id, id) = last.expect("one");
    let alone = keyring(&[("new", 2)]);
    let read = webhooks::get(&mut conn, &alone, &site(&site_id), id).await;
    assert!(read.expect("read").expect("there").is_ok());
}

const OLD: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn keys_rotate_replica_by_replica_lets_the_old_key_leave() {
    let mut deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let first = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&first, "a.example", &receiver.url("hook"))
        .await;
    // Step one: everybody reads both.
    deployment.set("encryption.keys", &format!("{OLD},{NEW}"));
    let reader = deployment.serve(&[]).await;
    first.kill();
    // Too early: it still writes with the old one.
    deployment.set("encryption.keys", &format!("{NEW},{OLD}"));
    let (code, out, err) = said(deployment.run(&["keys", "rotate"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("still writes with key `test`"), "{err}");
    deployment.set("encryption.keys", NEW);
    let refused = deployment.refused(&[]).await;
    assert!(refused.contains("lacks key `test`"), "{refused}");
    // Step two: everybody writes with the new one.
    deployment.set("encryption.keys", &format!("{NEW},{OLD}"));
    let writer = deployment.serve(&[]).await;
    reader.kill();
    let (status, _) = deployment
        .call(&writer, Method::PUT, "/api/sites/b.example", Some(json!({})))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let (code, out, err) = said(deployment.run(&["keys", "rotate"]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("key `test` may leave encryption.keys"), "{out}");
    let mut conn = deployment.database.pool.acquire().await.unwrap();
    assert_eq!(with_another_key(&mut conn, "new").await, 0);
    writer.kill();

    deployment.set("encryption.keys", NEW);
    let last = deployment.serve(&[]).await;
    deployment.registry_is_read(&last).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    receiver.wait_for("hook", 1).await;
    let (code, out, _) = said(deployment.run(&["keys", "rotate"]));
    assert_eq!((code, out.contains("may leave")), (0, false), "{out}");
}

#[tokio::test]
async fn what_a_replica_lacks_the_key_for_is_decided_and_waits() {
    let mut deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let old = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&old, "a.example", &receiver.url("old"))
        .await;
    // The wrong order: one process writes with the new key, and the one that decides lacks it.
    deployment.set("encryption.keys", &format!("{NEW},{OLD}"));
    let writer = deployment.serve(&["--roles", "api"]).await;
    let new = deployment
        .goal_webhook(&writer, "a.example", &receiver.url("new"))
        .await;
    deployment.registry_is_read(&old).await;
    eventually("it says so", Duration::from_secs(10), || async {
        let (_, ready) = old.readyz().await?;
        let notices = ready["notices"].to_string();
        notices
            .contains("webhooks that cannot be read here: 1,")
            .then_some(())
    })
    .await;
    old.metric_is("bellwether_webhooks_unreadable", 1.0).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    receiver.wait_for("old", 1).await;
    let path = format!("/api/sites/a.example/webhooks/{}", new["id"].as_str().unwrap());
    let (status, problem) = deployment.call(&old, Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let (status, _) = deployment.call(&writer, Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::OK);

    let both = deployment.serve(&[]).await;
    old.kill();
    receiver.wait_for("new", 1).await;
    drop(both);
}

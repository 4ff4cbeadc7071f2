//! Connections that callers and strangers may hold, and requests whose callers hang up.

use std::time::Duration;

use bellwether::record::tokens::{Role, Scope};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};

use crate::api_support::{Api, read};
use crate::pages_support::Pages;
use crate::support::eventually;

const SITE: &str = "/api/sites/example.com";

/// A pool of four connections to the same database.
async fn four(pool: &PgPool) -> PgPool {
    let options = PgPoolOptions::new().max_connections(4);
    let options = options.acquire_timeout(Duration::from_secs(5));
    options
        .connect_with((*pool.connect_options()).clone())
        .await
        .expect("a pool")
}

/// Locks a table against all others.
async fn lock(pool: &PgPool, table: &str) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.expect("a transaction");
    let lock = format!("lock table {table} in access exclusive mode");
    sqlx::query(&lock).execute(&mut *tx).await.expect("locked");
    tx
}

/// Waits until as many statements wait for a lock.
pub(crate) async fn wait_for_waiting(pool: &PgPool, number: i64) {
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    eventually("statements that wait", Duration::from_secs(20), async || {
        let count: i64 = sqlx::query_scalar(waiting)
            .fetch_one(pool)
            .await
            .expect("a count");
        (count >= number).then_some(())
    })
    .await;
}

#[sqlx::test]
async fn strangers_share_one_connection(pool: PgPool) {
    let api = Api::start(four(&pool).await).await;
    let knock = |n: usize| read(api.request("GET", SITE).bearer_auth(format!("bw_wrong-{n}")));
    for n in 0..10 {
        assert_eq!(knock(n).await.status, 401);
    }
    let locked = lock(&pool, "api_tokens").await;
    let mut knocks: FuturesUnordered<_> = (10..30).map(knock).collect();
    for _ in 0..19 {
        // Nineteen are answered while the twentieth waits for the table.
        let answer = knocks.next().await.expect("an answer");
        assert_eq!(answer.status, 429);
        answer.problem("too-many-failed-logins");
        assert!(answer.headers.contains_key("retry-after"));
    }
    wait_for_waiting(&pool, 1).await;
    locked.rollback().await.expect("unlocked");
    assert_eq!(knocks.next().await.expect("the last").status, 429);
    assert_eq!(api.get("/api/sites").await.status, 200);
}

#[sqlx::test]
async fn a_token_leaves_connections_to_others(pool: PgPool) {
    let api = Api::start(four(&pool).await).await;
    api.send("PUT", SITE, Some(json!({}))).await;
    let greedy = api.as_token(&Scope::Admin, Role::Editor).await;
    let path = format!("{SITE}/goals");
    let locked = lock(&pool, "webhooks").await;
    let webhooks = format!("{SITE}/webhooks");
    let mut calls: FuturesUnordered<_> = (0..10).map(|_| greedy.send("GET", &webhooks, None)).collect();
    let others = async {
        wait_for_waiting(&pool, 2).await;
        for _ in 0..5 {
            assert_eq!(api.get(&path).await.status, 200);
        }
        // Those that wait for their share in vain are told so.
    };
    tokio::pin!(others);
    let mut refused = 0;
    let mut is_done = false;
    while !is_done || refused < 8 {
        tokio::select! {
            () = &mut others, if !is_done => is_done = true,
            Some(answer) = calls.next() => {
                answer.problem("rate-limited");
                assert_eq!(answer.headers["retry-after"], "1");
                refused += 1;
            }
        }
    }
    locked.rollback().await.expect("unlocked");
    let answered: Vec<u16> = calls.map(|answer| answer.status).collect().await;
    assert_eq!(answered, [200, 200]);
}

#[sqlx::test]
async fn an_abandoned_request_stores_its_answer(pool: PgPool) {
    let api = Api::start(four(&pool).await).await;
    api.send("PUT", SITE, Some(json!({}))).await;
    let post = || {
        api.request("POST", &format!("{SITE}/goals"))
            .bearer_auth(&api.token)
            .header("content-type", "application/json")
            .header("idempotency-key", "once")
            .body(json!({"name": "Paid", "kind": "event", "event": "paid"}).to_string())
    };
    let locked = lock(&pool, "goals").await;
    tokio::select! {
        _ = post().send() => panic!("answered beside the lock"),
        () = wait_for_waiting(&pool, 1) => {}
    }
    assert_eq!(api.get("/api/sites").await.status, 200);
    let early = read(post()).await;
    early.problem("idempotency-key-in-flight");
    locked.rollback().await.expect("unlocked");
    let answer = eventually("the answer", Duration::from_secs(20), async || {
        let answer = read(post()).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.headers["idempotent-replayed"], "true");
}

#[sqlx::test]
async fn an_abandoned_form_is_carried_out(pool: PgPool) {
    let pages = Pages::start(four(&pool).await).await;
    pages.api("PUT", SITE, json!({})).await;
    let visitor = pages.visitor(&["example.com"], Role::Editor).await;
    let path = "/sites/example.com/goals/new";
    let hidden = visitor.get(path).await.hidden();
    let fields = [("name", "Paid"), ("kind", "event"), ("event", "paid")];
    let locked = lock(&pool, "goals").await;
    tokio::select! {
        _ = visitor.send(path, &hidden, &fields) => panic!("answered beside the lock"),
        () = wait_for_waiting(&pool, 1) => {}
    }
    assert_eq!(visitor.get("/sites/example.com/settings").await.status, 200);
    locked.rollback().await.expect("unlocked");
    let again = visitor.send(path, &hidden, &fields).await;
    assert_eq!(again.location(), "/sites/example.com/goals");
}

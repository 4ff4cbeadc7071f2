//! `Idempotency-Key`: a request that is sent twice takes effect once.

use std::collections::BTreeMap;

use bellwether::api::{CALLS, Method};
use bellwether::clock;
use bellwether::record::idempotency::{self, Claimed, ScopedKey, StoredAnswer};
use bellwether::record::tokens::{Role, Scope};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Answer, Api, read};
use crate::api_webhooks::{WEBHOOKS, body};
use crate::record_support::keyring;

const GOALS: &str = "/api/sites/example.com/goals";

async fn post(api: &Api, token: &str, path: &str, key: &str, body: &Value) -> Answer {
    read(
        api.request("POST", path)
            .bearer_auth(token)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body.to_string()),
    )
    .await
}

async fn count(pool: &PgPool, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(pool).await.expect("counted")
}

const WEBHOOK_COUNT: &str = "select count(*) from webhooks";
const KEY_COUNT: &str = "select count(*) from idempotency_keys";

#[sqlx::test]
async fn a_repeated_request_gets_the_first_answer_without_the_secret(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let mut chosen = body();
    chosen["secret"] = json!("a-secret-of-mine");
    let first = post(&api, &api.token, WEBHOOKS, "key-1", &chosen).await;
    assert_eq!(first.status, 201, "{}", first.body);
    assert_eq!(first.headers.get("idempotent-replayed"), None);
    assert_eq!(first.body["secret"], "a-secret-of-mine");
    // Spaces and the order of fields make no difference.
    let again = post(&api, &api.token, WEBHOOKS, "key-1", &chosen).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let mut wanted = first.body.clone();
    wanted["secret"] = json!("********");
    wanted
        .as_object_mut()
        .expect("an object")
        .remove("standard_webhooks_secret");
    assert_eq!(again.body, wanted);
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 1);
    let stored: String = sqlx::query_scalar("select idempotency_keys::text from idempotency_keys")
        .fetch_one(&pool)
        .await
        .expect("one");
    for secret in ["a-secret-of-mine", "secret-header-value", "secret-path"] {
        assert!(!stored.contains(secret), "{stored}");
    }

    api.send("PUT", "/api/sites/example.com", Some(json!({}))).await;
    let goal = json!({"name": "Paid", "kind": "event", "event": "paid"});
    let first = post(&api, &api.token, GOALS, "key-1", &goal).await;
    assert_eq!(first.status, 201, "the same key on another path is another");
    let again = post(&api, &api.token, GOALS, "key-1", &goal).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(count(&pool, "select count(*) from goals").await, 1);
}

#[sqlx::test]
async fn a_key_belongs_to_one_body_one_path_and_one_token(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    post(&api, &api.token, WEBHOOKS, "key", &body()).await;
    let mut other = body();
    other["name"] = json!("Another");
    let reused = post(&api, &api.token, WEBHOOKS, "key", &other).await;
    assert_eq!(reused.status, 422);
    reused.problem("idempotency-key-reused");
    let reused = post(&api, &api.token, WEBHOOKS, "key", &json!({"colour": 1})).await;
    reused.problem("idempotency-key-reused");
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 1);
    let elsewhere = post(&api, &api.token, "/api/sites/b/webhooks", "key", &other).await;
    assert_eq!(elsewhere.status, 201);
    let somebody = api.as_token(&Scope::Admin, Role::Editor).await;
    assert_eq!(
        post(&api, &somebody.token, WEBHOOKS, "key", &other).await.status,
        201
    );
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 3);
    // A viewer learns nothing about keys.
    let viewer = api.as_token(&Scope::Admin, Role::Viewer).await;
    assert_eq!(
        post(&api, &viewer.token, WEBHOOKS, "key", &body()).await.status,
        403
    );
}

#[sqlx::test]
async fn a_refused_request_leaves_its_key_free(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let refused = post(
        &api,
        &api.token,
        WEBHOOKS,
        "key",
        &json!({"url": "https://example.com"}),
    )
    .await;
    assert_eq!(refused.errors(), [("/events", "required")]);
    let goal = json!({"name": "Paid", "kind": "event", "event": "paid"});
    assert_eq!(
        post(&api, &api.token, GOALS, "key", &goal).await.status,
        404,
        "no site"
    );
    assert_eq!(count(&pool, KEY_COUNT).await, 0);
    assert_eq!(post(&api, &api.token, WEBHOOKS, "key", &body()).await.status, 201);
    assert_eq!(post(&api, &api.token, GOALS, "key", &goal).await.status, 201);
}

#[sqlx::test]
async fn a_failed_request_leaves_its_key_free(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for statement in [
        "create function fail() returns trigger language plpgsql as $$ begin raise 'broken'; end $$",
        "create trigger broken before insert on webhook_secrets for each row execute function fail()",
    ] {
        sqlx::query(statement).execute(&pool).await.expect("made");
    }
    let failed = post(&api, &api.token, WEBHOOKS, "key", &body()).await;
    assert_eq!(failed.status, 500);
    failed.problem("internal");
    assert_eq!(count(&pool, KEY_COUNT).await, 0);
    sqlx::query("drop trigger broken on webhook_secrets")
        .execute(&pool)
        .await
        .expect("dropped");
    assert_eq!(post(&api, &api.token, WEBHOOKS, "key", &body()).await.status, 201);
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 1);
}

#[sqlx::test]
async fn an_invalid_key_is_refused_before_any_change(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for bad in ["", "two words", &"k".repeat(256)] {
        let refused = post(&api, &api.token, WEBHOOKS, bad, &body()).await;
        assert_eq!(refused.status, 400, "{bad}");
        refused.problem("invalid-idempotency-key");
    }
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 0);
    assert_eq!(
        post(&api, &api.token, WEBHOOKS, &"k".repeat(255), &body())
            .await
            .status,
        201
    );
}

#[sqlx::test]
async fn twenty_requests_at_once_with_one_key_create_one_webhook(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let body = body();
    let answers =
        futures_util::future::join_all((0..20).map(|_| post(&api, &api.token, WEBHOOKS, "one", &body))).await;
    let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
    let mut made: Vec<&Value> = Vec::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            201 => made.push(&answer.body["id"]),
            409 => {
                answer.problem("idempotency-key-in-flight");
                assert_eq!(answer.headers["retry-after"], "1");
            }
            other => panic!("{other} {}", answer.body),
        }
    }
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 1, "{statuses:?}");
    assert!(
        !made.is_empty() && made.iter().all(|id| *id == made[0]),
        "{statuses:?}"
    );
    let with_secret = answers
        .iter()
        .filter(|answer| answer.status == 201 && answer.body["secret"] != "********");
    assert_eq!(with_secret.count(), 1, "only the first answer shows the secret");
    let after = post(&api, &api.token, WEBHOOKS, "one", &body).await;
    assert_eq!((after.status, &after.body["id"]), (201, made[0]));
}

#[sqlx::test]
async fn a_request_that_died_holds_its_key_for_three_minutes(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    post(&api, &api.token, WEBHOOKS, "key", &body()).await;
    // As if the process had died before it committed.
    let died = async |seconds: f64| {
        sqlx::query(
            "update idempotency_keys set status = null, location = null, body = null, holder = gen_random_uuid(),
             claimed_at = now() - make_interval(secs => $1)",
        )
        .bind(seconds)
        .execute(&pool)
        .await
        .expect("updated");
        sqlx::query("delete from webhooks")
            .execute(&pool)
            .await
            .expect("deleted");
    };
    died(170.0).await;
    let waits = post(&api, &api.token, WEBHOOKS, "key", &body()).await;
    assert_eq!(waits.status, 409);
    waits.problem("idempotency-key-in-flight");
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 0);
    died(181.0).await;
    assert_eq!(post(&api, &api.token, WEBHOOKS, "key", &body()).await.status, 201);
    assert_eq!(count(&pool, WEBHOOK_COUNT).await, 1);
    let again = post(&api, &api.token, WEBHOOKS, "key", &body()).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[sqlx::test]
async fn a_claim_that_was_taken_over_stores_no_answer(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("connection");
    let keys = keyring(&[("a", 1)]);
    let key = ScopedKey {
        token_id: uuid::Uuid::from_u128(1),
        path: "/p".into(),
        key: "k".into(),
    };
    let now = clock::now();
    let mut holders = (1..).map(uuid::Uuid::from_u128);
    let mut claim = async |hash: [u8; 32], at| {
        let holder = holders.next().expect("endless");
        idempotency::claim(&mut conn, &keys, key.clone(), &hash, holder, at)
            .await
            .expect("asked")
    };
    let Claimed::Ours(first) = claim([1; 32], now).await else {
        panic!("nobody had it")
    };
    assert!(matches!(claim([1; 32], now).await, Claimed::InFlight));
    assert!(matches!(claim([2; 32], now).await, Claimed::OtherRequest));
    let later = now + idempotency::IN_FLIGHT;
    let Claimed::Ours(second) = claim([1; 32], later).await else {
        panic!("taken over")
    };
    let mut conn = pool.acquire().await.expect("connection");
    let result = |body: &str| StoredAnswer {
        status: 201,
        location: None,
        body: body.into(),
    };
    idempotency::release(&mut conn, &first).await.expect("asked");
    for (claim, body, kept) in [(&first, "1", false), (&second, "2", true), (&second, "3", false)] {
        let done = idempotency::keep(&mut conn, claim, &result(body)).await;
        assert_eq!(done.expect("asked"), kept, "{body}");
    }
    let again = uuid::Uuid::from_u128(9);
    let mut claim = async |at| {
        idempotency::claim(&mut conn, &keys, key.clone(), &[1; 32], again, at)
            .await
            .expect("asked")
    };
    // A day later the key is free for another request.
    let known = claim(later + idempotency::KEEP - chrono::TimeDelta::seconds(1)).await;
    assert!(
        matches!(&known, Claimed::Answered(kept) if *kept == result("2")),
        "{known:?}"
    );
    assert!(matches!(claim(later + idempotency::KEEP).await, Claimed::Ours(_)));
}

#[sqlx::test]
async fn no_answer_is_repeated_after_its_site_is_deleted(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let webhook = post(&api, &api.token, WEBHOOKS, "key-1", &body()).await;
    let goal = json!({"name": "Paid", "kind": "event", "event": "paid"});
    assert_eq!(post(&api, &api.token, GOALS, "key-2", &goal).await.status, 201);
    let secret = format!(
        "{WEBHOOKS}/{}/rotate-secret",
        webhook.body["id"].as_str().expect("an id")
    );
    assert_eq!(
        post(&api, &api.token, &secret, "key-3", &json!({})).await.status,
        200
    );
    let links = "/api/sites/example.com/portal-links";
    assert_eq!(
        post(&api, &api.token, links, "key-4", &json!({})).await.status,
        201
    );
    // No job runs here: the keys are still stored.
    assert_eq!(
        api.send("DELETE", "/api/sites/example.com", None).await.status,
        204
    );
    assert_eq!(count(&pool, KEY_COUNT).await, 4);
    for (path, key, body) in [
        (WEBHOOKS, "key-1", &body()),
        (GOALS, "key-2", &goal),
        (&secret, "key-3", &json!({})),
        (links, "key-4", &json!({})),
    ] {
        let answer = post(&api, &api.token, path, key, body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    assert_eq!(count(&pool, "select count(*) from sites").await, 0);
}

#[sqlx::test]
async fn answers_older_than_a_day_are_purged(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for (key, hours) in [("old", 25), ("young", 23)] {
        post(&api, &api.token, WEBHOOKS, key, &body()).await;
        sqlx::query(
            "update idempotency_keys set claimed_at = now() - make_interval(hours => $2) where key = $1",
        )
        .bind(key)
        .bind(hours)
        .execute(&pool)
        .await
        .expect("updated");
    }
    let mut conn = pool.acquire().await.expect("connection");
    assert_eq!(
        idempotency::purge(&mut conn, clock::now()).await.expect("purged"),
        1
    );
    let left: String = sqlx::query_scalar("select key from idempotency_keys")
        .fetch_one(&pool)
        .await
        .expect("one");
    assert_eq!(left, "young");
}

#[sqlx::test]
async fn every_post_of_the_table_takes_a_key(pool: PgPool) {
    let api = Api::start(pool).await;
    let webhook = api.post(WEBHOOKS, body()).await.body["id"].clone();
    for call in CALLS.iter().filter(|call| call.method == Method::Post) {
        let path = call
            .path
            .replace("{site_id}", "example.com")
            .replace("{webhook_id}", webhook.as_str().expect("an id"))
            .replace("{delivery_id}", "dlv_00000000000000000000000000");
        let answer = post(&api, &api.token, &path, "not a key", &json!({})).await;
        assert_eq!(answer.status, 400, "{}: {}", call.path, answer.body);
        answer.problem("invalid-idempotency-key");
    }
}

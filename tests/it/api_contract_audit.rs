//! The audit log against the table of calls: every change leaves one entry, and no value.

use bellwether::api::{CALLS, Call, Method};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_contract::described_body;
use crate::api_support::{Api, text};

/// Calls that are no method of changing, and are recorded all the same.
const RECORDED_READS: [&str; 1] = ["/api/sites/{site_id}/webhooks/{webhook_id}/secret"];
/// Text that no entry of the log may hold.
const PLANTED: &str = "planted-9f2c";

/// A site with a webhook, a goal and a token of its own for one call.
async fn path_of(api: &Api, call: &Call, number: usize) -> String {
    let site = format!("site-{number}.example");
    let base = format!("/api/sites/{site}");
    let webhook = json!({"url": "https://example.com/x", "events": ["goal_completion"]});
    let webhook = api.post(&format!("{base}/webhooks"), webhook).await;
    let goal = json!({"name": "g", "kind": "event", "event": "e"});
    let goal = api.post(&format!("{base}/goals"), goal).await;
    let token = json!({"sites": [site], "role": "viewer", "subject": "s"});
    let token = api.post("/api/tokens", token).await;
    call.path
        .replace("{site_id}", &site)
        .replace("{webhook_id}", text(&webhook.body["id"]))
        .replace("{goal_id}", text(&goal.body["id"]))
        .replace("{token_id}", text(&token.body["id"]))
}

/// The example of a call's body in the document, with a planted text wherever one is free.
fn planted_body(call: &Call) -> Option<Value> {
    let mut body = described_body(call)?;
    for field in ["name", "subject"] {
        if body.get(field).is_some() {
            body[field] = json!(PLANTED);
        }
    }
    if body.get("url").is_some() {
        body["url"] = json!(format!("https://example.com/{PLANTED}"));
    }
    Some(body)
}

#[sqlx::test]
async fn each_change_of_the_table_leaves_one_entry_without_values(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let entries = async || -> Vec<(String, String)> {
        sqlx::query_as("select action, audit_log::text from audit_log order by id")
            .fetch_all(&pool)
            .await
            .expect("read")
    };
    let mut seen = 0;
    for (number, call) in CALLS.iter().enumerate() {
        // They need a delivery, a job or an endpoint, and have tests of their own.
        let needs_more = ["{delivery_id}", "{job_id}", "/test"];
        if needs_more.iter().any(|part| call.path.contains(part)) {
            continue;
        }
        let path = path_of(&api, call, number).await;
        let before = entries().await.len();
        let answer = api.send(call.method.as_str(), &path, planted_body(call)).await;
        let name = format!("{} {path}", call.method);
        let new = entries().await.split_off(before);
        let is_change = call.method != Method::Get || RECORDED_READS.contains(&call.path);
        if !is_change {
            assert!(new.is_empty(), "{name}: {new:?}");
            continue;
        }
        assert!(
            (200..300).contains(&answer.status),
            "{name}: {} {}",
            answer.status,
            answer.body
        );
        assert_eq!(new.len(), 1, "{name}: {new:?}");
        assert!(
            new[0].0.contains('.') && !new[0].1.contains(PLANTED),
            "{name}: {new:?}"
        );
        seen += 1;
    }
    assert!(seen >= 11, "{seen}");
}

#[sqlx::test]
async fn a_token_is_stored_as_its_hash_alone(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let made = api
        .post(
            "/api/tokens",
            json!({"admin": true, "role": "viewer", "subject": "s"}),
        )
        .await;
    let token = text(&made.body["token"]);
    // A row is found by the hash: no comparison sees the token, so none takes a time that depends
    // on it.
    let found: i64 =
        sqlx::query_scalar("select count(*) from api_tokens where token_hash = sha256($1::bytea)")
            .bind(token.as_bytes())
            .fetch_one(&pool)
            .await
            .expect("read");
    assert_eq!(found, 1);
    let rows: Vec<String> = sqlx::query_scalar(
        "select api_tokens::text from api_tokens union all select audit_log::text from audit_log
         union all select idempotency_keys::text from idempotency_keys",
    )
    .fetch_all(&pool)
    .await
    .expect("read");
    assert!(rows.len() >= 3);
    // Nine characters are shown, to tell tokens apart.
    let rest = &token[9..];
    assert!(rows.iter().all(|row| !row.contains(rest)), "{rows:?}");
    let wrong = format!("{}x", &token[..token.len() - 1]);
    for token in [wrong.as_str(), &token[..9], "bw_"] {
        let answer = api.request("GET", "/api/sites").bearer_auth(token).send().await;
        assert_eq!(answer.expect("an answer").status(), 401);
    }
}

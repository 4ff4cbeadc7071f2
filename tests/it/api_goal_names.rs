//! Goals that webhooks name, when they are renamed or deleted.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};

const GOALS: &str = "/api/sites/example.com/goals";
const WEBHOOKS: &str = "/api/sites/example.com/webhooks";

/// Adds a goal of this name and returns its path.
async fn goal(api: &Api, name: &str) -> String {
    let made = api
        .post(GOALS, json!({"name": name, "kind": "event", "event": "signup"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    format!("{GOALS}/{}", text(&made.body["id"]))
}

/// Adds a webhook with these triggers and returns its path.
async fn webhook(api: &Api, name: &str, triggers: Value) -> String {
    let events: Vec<&String> = triggers.as_object().expect("an object").keys().collect();
    let body = json!({"name": name, "url": "https://example.com/x", "events": events, "triggers": triggers});
    let made = api.post(WEBHOOKS, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    format!("{WEBHOOKS}/{}", text(&made.body["id"]))
}

async fn rename(api: &Api, goal: &str, name: &str) {
    let body = json!({"name": name, "kind": "event", "event": "signup"});
    let answer = api.send("PUT", goal, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn triggers(api: &Api, webhook: &str) -> Value {
    api.get(webhook).await.body["triggers"].clone()
}

async fn start(pool: PgPool) -> Api {
    let api = Api::start(pool).await;
    let site = api.send("PUT", "/api/sites/example.com", Some(json!({}))).await;
    assert_eq!(site.status, 201, "{}", site.body);
    api
}

#[sqlx::test]
async fn webhooks_follow_a_goal_that_is_renamed(pool: PgPool) {
    let api = start(pool.clone()).await;
    let signup = goal(&api, "Signup").await;
    goal(&api, "Trial").await;
    let listed = |names: Value| json!({"goal_completion": {"goals": names, "every": 3}});
    let some = webhook(&api, "some", listed(json!(["Trial", "Signup", "Published"]))).await;
    let twice = webhook(&api, "twice", listed(json!(["Registered", "Signup"]))).await;
    let all = webhook(&api, "all", json!({"goal_completion": {}})).await;
    let other = webhook(&api, "other", listed(json!(["Trial"]))).await;
    let silence = webhook(
        &api,
        "silence",
        json!({"error_condition": {"silence": {"goal": "Signup"}}}),
    )
    .await;
    let untouched = [api.get(&all).await.body, api.get(&other).await.body];

    sqlx::query(
        "insert into site_activity (site_id, hour, minutes, covered, events, goals, updated_at)
         select 'example.com', date_trunc('hour', now(), 'UTC') - make_interval(hours => ago), '', 0, 9,
                case ago when 1 then '{\"Signup\": 3, \"Other\": 1}'::jsonb
                         when 2 then '{\"Signup\": 3, \"Registered\": 4}' else '{\"Other\": 2}' end, now()
         from generate_series(1, 3) ago",
    )
    .execute(&pool)
    .await
    .expect("inserted");

    rename(&api, &signup, "Registered").await;
    let hours: Vec<Value> = sqlx::query_scalar("select goals from site_activity order by hour desc")
        .fetch_all(&pool)
        .await
        .expect("read");
    let renamed = [
        json!({"Registered": 3, "Other": 1}),
        json!({"Registered": 7}),
        json!({"Other": 2}),
    ];
    assert_eq!(hours, renamed);
    let wanted = listed(json!(["Trial", "Registered", "Published"]));
    assert_eq!(triggers(&api, &some).await, wanted);
    assert_eq!(
        triggers(&api, &twice).await,
        listed(json!(["Registered"])),
        "each once"
    );
    assert_eq!(
        triggers(&api, &silence).await["error_condition"]["silence"],
        json!({"goal": "Registered"})
    );
    assert_eq!([api.get(&all).await.body, api.get(&other).await.body], untouched);
    let warnings = api.get(&some).await.body["warnings"].clone();
    assert_eq!(
        warnings[0]["pointer"], "/triggers/goal_completion/goals/2",
        "{warnings}"
    );
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
    let noted: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where action = 'webhook.update' and detail->'fields' = '[\"triggers\"]'",
    )
    .fetch_one(&pool)
    .await
    .expect("counted");
    assert_eq!(noted, 3);
    // A change that keeps the name touches no webhook.
    let before = api.get(&some).await.body;
    rename(&api, &signup, "Registered").await;
    assert_eq!(api.get(&some).await.body, before);
}

#[sqlx::test]
async fn a_goal_whose_silence_is_watched_is_not_deleted(pool: PgPool) {
    let api = start(pool).await;
    let signup = goal(&api, "Signup").await;
    let listing = webhook(&api, "lists", json!({"goal_completion": {"goals": ["Signup"]}})).await;
    let watching = webhook(
        &api,
        "on call",
        json!({"error_condition": {"silence": {"goal": "Signup"}}}),
    )
    .await;
    let refused = api.send("DELETE", &signup, None).await;
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (409, &json!("urn:bellwether:error:goal-watched"))
    );
    assert!(
        text(&refused.body["detail"]).contains("`on call`"),
        "{}",
        refused.body
    );
    assert_eq!(api.get(&signup).await.status, 200);

    let site_wide = json!({"triggers": {"error_condition": {"silence": true}}});
    assert_eq!(api.patch(&watching, site_wide).await.status, 200);
    assert_eq!(api.send("DELETE", &signup, None).await.status, 204);
    assert_eq!(api.send("DELETE", &signup, None).await.status, 404);
    // It says so from now on: only a producer's goals of that name are left.
    let warnings = api.get(&listing).await.body["warnings"].clone();
    assert_eq!(warnings[0]["code"], "unknown_goal", "{warnings}");
}

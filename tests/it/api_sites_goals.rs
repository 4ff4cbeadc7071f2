//! The calls on sites and goals, over HTTP and against a real Postgres.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};

const SITE: &str = "/api/sites/example.com";
const GOALS: &str = "/api/sites/example.com/goals";

async fn put(api: &Api, path: &str, body: Value) -> crate::api_support::Answer {
    api.send("PUT", path, Some(body)).await
}

#[sqlx::test]
async fn a_put_registers_a_site_and_then_replaces_its_settings(pool: PgPool) {
    let api = Api::start(pool).await;
    assert_eq!(api.get(SITE).await.status, 404);
    let new = put(
        &api,
        SITE,
        json!({"name": "Example", "time_zone": "Europe/Berlin", "aliases": ["www.example.com"]}),
    )
    .await;
    assert_eq!(new.status, 201, "{}", new.body);
    assert_eq!(new.headers["location"], SITE);
    assert_eq!(new.body["site_id"], "example.com");
    assert_eq!(new.body["name"], "Example");
    assert_eq!(new.body["time_zone"], "Europe/Berlin");
    assert_eq!(new.body["aliases"], json!(["www.example.com"]));
    assert_eq!(
        (&new.body["first_event_at"], &new.body["last_event_at"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(api.get(SITE).await.body, new.body);

    let replaced = put(&api, SITE, json!({})).await;
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.body["name"], Value::Null);
    assert_eq!(replaced.body["time_zone"], "UTC");
    assert_eq!(replaced.body["aliases"], json!([]));
    assert_eq!(replaced.body["inserted_at"], new.body["inserted_at"]);
}

#[sqlx::test]
async fn a_site_counts_webhooks_by_state_and_open_episodes(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let none = json!({"ok": 0, "careful": 0, "open": 0, "disabled": 0, "paused": 0});
    let new = put(&api, SITE, json!({})).await;
    assert_eq!(
        (&new.body["webhooks"], &new.body["open_episodes"]),
        (&none, &json!(0))
    );
    put(&api, "/api/sites/other.example", json!({})).await;
    let until = bellwether::clock::now() + chrono::TimeDelta::days(1);
    for (name, extra, state, is_ours) in [
        ("new", json!({}), "new", false),
        ("well", json!({}), "ok", false),
        ("careful", json!({}), "careful", false),
        ("open", json!({}), "open", false),
        ("off", json!({"enabled": false}), "open", false),
        ("gone", json!({"paused_until": until}), "disabled", true),
        ("paused", json!({"paused_until": until}), "open", false),
        ("deleted", json!({}), "open", false),
    ] {
        let mut body = json!({"name": name, "url": "https://example.com/x", "events": ["goal_completion"]});
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        let made = api.post(&format!("{SITE}/webhooks"), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id: bellwether::domain::id::WebhookId = text(&made.body["id"]).parse().expect("an id");
        sqlx::query("update webhook_health set state = $2 where webhook_id = $1")
            .bind(id.uuid())
            .bind(state)
            .execute(&pool)
            .await
            .expect("updated");
        if is_ours {
            sqlx::query("update webhooks set disabled_at = now(), disabled_reason = 'gone' where id = $1")
                .bind(id.uuid())
                .execute(&pool)
                .await
                .expect("updated");
        }
        if name == "deleted" {
            let path = format!("{SITE}/webhooks/{id}");
            assert_eq!(api.send("DELETE", &path, None).await.status, 204);
        }
    }
    sqlx::query(
        "insert into episodes (id, site_id, event_type, trigger, webhook_ids, started_at, ended_at, peak, updated_at)
         select gen_random_uuid(), 'example.com', 'visitor_spike', '{}', '{}', now(), ended_at, 5, now()
         from unnest(array[null, null, now()]) as ended_at",
    )
    .execute(&pool)
    .await
    .expect("inserted");
    let wanted = json!({"ok": 2, "careful": 1, "open": 1, "disabled": 2, "paused": 1});
    let listed = api.get("/api/sites").await.body["data"].clone();
    for site in [api.get(SITE).await.body, listed[0].clone()] {
        assert_eq!(
            (&site["webhooks"], &site["open_episodes"]),
            (&wanted, &json!(2)),
            "{site}"
        );
    }
    assert_eq!(
        (&listed[1]["webhooks"], &listed[1]["open_episodes"]),
        (&none, &json!(0))
    );
    let sent_back = put(&api, SITE, api.get(SITE).await.body).await;
    assert_eq!(sent_back.status, 200, "{}", sent_back.body);
}

#[sqlx::test]
async fn every_bad_field_of_a_site_is_named_at_once(pool: PgPool) {
    let api = Api::start(pool).await;
    let answer = put(
        &api,
        SITE,
        json!({"name": "x".repeat(101), "time_zone": "Mars/Olympus", "timezone": "UTC",
               "aliases": ["ok", "", "ok", "example.com", 5, "a\0b", "x".repeat(256)]}),
    )
    .await;
    let wanted = [
        ("/timezone", "unknown_field"),
        ("/time_zone", "unknown"),
        ("/name", "too_long"),
        ("/aliases/1", "invalid"),
        ("/aliases/2", "duplicate"),
        ("/aliases/3", "duplicate"),
        ("/aliases/4", "wrong_type"),
        ("/aliases/5", "invalid"),
        ("/aliases/6", "invalid"),
    ];
    assert_eq!(answer.errors(), wanted);
    assert_eq!(
        put(&api, SITE, json!({"time_zone": "europe/berlin"}))
            .await
            .status,
        422
    );
    assert_eq!(
        put(&api, SITE, json!({"time_zone": "Asia/Kolkata"})).await.status,
        201
    );
}

#[sqlx::test]
async fn an_id_means_one_site(pool: PgPool) {
    let api = Api::start(pool).await;
    put(&api, SITE, json!({"aliases": ["www.example.com", "example.net"]})).await;
    put(&api, "/api/sites/other.example", json!({})).await;
    let taken = put(
        &api,
        "/api/sites/third.example",
        json!({"aliases": ["mine", "example.net", "other.example"]}),
    )
    .await;
    assert_eq!(taken.errors(), [("/aliases/1", "taken"), ("/aliases/2", "taken")]);
    let webhook = json!({"url": "https://example.com", "events": ["goal_completion"]});
    for answer in [
        put(&api, "/api/sites/www.example.com", json!({})).await,
        api.post("/api/sites/www.example.com/webhooks", webhook).await,
    ] {
        assert_eq!(answer.status, 409);
        answer.problem("site-is-alias");
    }
    assert_eq!(
        put(&api, SITE, json!({"aliases": ["example.net"]})).await.status,
        200,
        "its own alias is no conflict"
    );
    assert_eq!(
        put(&api, "/api/sites/www.example.com", json!({})).await.status,
        201,
        "free again"
    );
}

#[sqlx::test]
async fn sites_are_listed_by_id_page_by_page(pool: PgPool) {
    let api = Api::start(pool).await;
    for id in ["b", "a", "Z", "%C3%BC", "c%2Fd"] {
        assert_eq!(
            put(&api, &format!("/api/sites/{id}"), json!({})).await.status,
            201
        );
    }
    let mut seen: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/api/sites?limit=2&after={after}")).await.body;
        seen.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|site| text(&site["site_id"]).to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = next.replace('/', "%2F").replace('ü', "%C3%BC");
    }
    assert_eq!(seen, ["Z", "a", "b", "c/d", "ü"]);
    assert_eq!(
        api.get("/api/sites?limit=0&x=1").await.errors(),
        [("/x", "unknown_field"), ("/limit", "out_of_range")]
    );
}

#[sqlx::test]
async fn a_goal_is_created_read_replaced_and_deleted(pool: PgPool) {
    let api = Api::start(pool).await;
    let page = json!({"name": "Thanks", "kind": "page", "path": "/thanks*", "props": {"plan": "pro"}});
    let early = api.post(GOALS, page.clone()).await;
    assert_eq!(early.status, 404);
    assert!(
        text(&early.body["detail"]).contains("PUT /api/sites/{site_id}"),
        "the detail names the call"
    );
    put(&api, SITE, json!({})).await;

    let made = api.post(GOALS, page).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = made.headers["location"].to_str().expect("text").to_owned();
    assert_eq!(path, format!("{GOALS}/{}", text(&made.body["id"])));
    let mut rest = made.body.clone();
    for changing in ["id", "inserted_at", "updated_at"] {
        rest.as_object_mut().expect("an object").remove(changing);
    }
    assert_eq!(
        rest,
        json!({"site_id": "example.com", "name": "Thanks", "kind": "page", "path": "/thanks*", "props": {"plan": "pro"}})
    );
    assert_eq!(api.get(&path).await.body, made.body);

    let scroll = json!({"name": "Read", "kind": "scroll", "path": "/**", "scroll_threshold": 75});
    let replaced = put(&api, &path, scroll).await;
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    assert_eq!(
        (&replaced.body["kind"], &replaced.body["props"]),
        (&json!("scroll"), &json!({}))
    );
    assert_eq!(replaced.body["id"], made.body["id"]);
    let event = json!({"name": "Signup", "kind": "event", "event": "signup"});
    assert_eq!(api.post(GOALS, event).await.status, 201);
    let list = api.get(GOALS).await.body;
    assert_eq!(list["next"], Value::Null);
    let names: Vec<&str> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|goal| text(&goal["name"]))
        .collect();
    assert_eq!(names, ["Read", "Signup"]);

    assert_eq!(api.send("DELETE", &path, None).await.status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(api.send(method, &path, None).await.status, 404);
    }
    assert_eq!(
        put(&api, &path, json!({"name": "x", "kind": "event", "event": "x"}))
            .await
            .status,
        404
    );
}

#[sqlx::test]
async fn names_of_goals_are_unique_within_a_site(pool: PgPool) {
    let api = Api::start(pool).await;
    let goal = |name: &str| json!({"name": name, "kind": "event", "event": "e"});
    for site in ["a", "b"] {
        put(&api, &format!("/api/sites/{site}"), json!({})).await;
        assert_eq!(
            api.post(&format!("/api/sites/{site}/goals"), goal("Signup"))
                .await
                .status,
            201
        );
    }
    let twice = api.post("/api/sites/a/goals", goal("Signup")).await;
    assert_eq!(twice.status, 409);
    twice.problem("duplicate-goal");
    let other = api.post("/api/sites/a/goals", goal("signup")).await;
    assert_eq!(other.status, 201, "names differ by case");
    let path = other.headers["location"].to_str().expect("text");
    assert_eq!(put(&api, path, goal("Signup")).await.status, 409);
    assert_eq!(
        put(&api, path, goal("signup")).await.status,
        200,
        "its own name is no conflict"
    );
}

#[sqlx::test]
async fn a_site_has_at_most_a_thousand_goals(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    put(&api, SITE, json!({})).await;
    sqlx::query(
        "insert into goals (id, site_id, name, kind, event, active_since, inserted_at, updated_at)
         select gen_random_uuid(), 'example.com', n::text, 'event', 'e', now(), now(), now()
         from generate_series(1, 999) n",
    )
    .execute(&pool)
    .await
    .expect("inserted");
    let goal = |name: &str| json!({"name": name, "kind": "event", "event": "e"});
    assert_eq!(api.post(GOALS, goal("last")).await.status, 201);
    let refused = api.post(GOALS, goal("one more")).await;
    assert_eq!(refused.status, 409);
    refused.problem("goal-limit");
    assert_eq!(
        api.get(GOALS).await.body["data"]
            .as_array()
            .expect("a list")
            .len(),
        1_000
    );
}

#[sqlx::test]
async fn every_change_is_in_the_audit_log(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    put(&api, SITE, json!({"name": "n"})).await;
    let goal = api
        .post(GOALS, json!({"name": "g", "kind": "event", "event": "e"}))
        .await;
    let goal = goal.headers["location"].to_str().expect("text").to_owned();
    put(&api, &goal, json!({"name": "h", "kind": "event", "event": "e"})).await;
    api.send("DELETE", &goal, None).await;
    let webhook = json!({"url": "https://example.com", "events": ["goal_completion"]});
    let webhook = api.post("/api/sites/example.com/webhooks", webhook).await.headers["location"]
        .to_str()
        .expect("text")
        .to_owned();
    api.patch(&webhook, json!({"enabled": false})).await;
    api.send("DELETE", &webhook, None).await;
    // Refused requests leave no entry.
    api.patch(&webhook, json!({"enabled": true})).await;
    put(&api, SITE, json!({"name": 5})).await;
    let log: Vec<(String, String, Value)> =
        sqlx::query_as("select action, subject, detail->'fields' from audit_log order by id")
            .fetch_all(&pool)
            .await
            .expect("read");
    let wanted = [
        ("site.put", json!(["name"])),
        ("goal.create", json!(["event", "kind", "name"])),
        ("goal.replace", json!(["event", "kind", "name"])),
        ("goal.delete", json!([])),
        ("webhook.create", json!(["events", "url"])),
        ("webhook.update", json!(["enabled"])),
        ("webhook.delete", json!([])),
    ];
    let wanted: Vec<(String, String, Value)> = wanted
        .into_iter()
        .map(|(action, fields)| (action.to_owned(), "a test".to_owned(), fields))
        .collect();
    assert_eq!(log, wanted);
}

#[sqlx::test]
async fn a_site_that_is_registered_again_has_no_past(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    put(&api, SITE, json!({})).await;
    for statement in [
        "insert into site_activity (site_id, hour, minutes, covered, events, goals, updated_at)
         values ('example.com', date_trunc('hour', now(), 'UTC') - interval '2 hours', '\\x05', 1, 1, '{}', now())",
        "insert into site_now (site_id, current_visitors, as_of, triggers, updated_at)
         values ('example.com', 7, now(), '[]', now())",
        "insert into episodes (id, site_id, event_type, trigger, webhook_ids, started_at, peak, updated_at)
         values (gen_random_uuid(), 'example.com', 'visitor_spike', '{}', '{}', now(), 5, now())",
        "insert into idempotency_keys (token_id, path, key, request_hash, holder, claimed_at)
         select gen_random_uuid(), path, 'one', '', gen_random_uuid(), now()
         from unnest(array['/sites/example.com/settings', '/api/sites/example.com/goals',
             '/sites/example.com.au/settings']) as path",
    ] {
        sqlx::query(statement).execute(&pool).await.expect("inserted");
    }
    let alerts = format!("{SITE}/alerts");
    assert_eq!(
        api.get(&alerts).await.body["data"].as_array().map(Vec::len),
        Some(1)
    );
    let keys = async || -> Vec<String> {
        sqlx::query_scalar("select path from idempotency_keys order by path")
            .fetch_all(&pool)
            .await
            .expect("keys")
    };
    assert_eq!(keys().await.len(), 3);
    assert_eq!(api.send("DELETE", SITE, None).await.status, 204);
    let again = put(&api, SITE, json!({})).await;
    assert_eq!((again.status, &again.body["open_episodes"]), (201, &json!(0)));
    assert_eq!(api.get(&alerts).await.body["data"], json!([]));
    let status = api.get(&format!("{SITE}/status")).await.body;
    assert_eq!(
        (&status["as_of"], &status["current_visitors"]),
        (&Value::Null, &json!(0))
    );
    let activity = api.get(&format!("{SITE}/activity")).await.body;
    let data = activity["data"].as_array().expect("a list");
    assert!(data.iter().all(|one| one["visitors"].is_null()), "{activity}");
    assert_eq!(keys().await, ["/sites/example.com.au/settings"]);
}

//! The calls on webhooks, over HTTP and against a real Postgres.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};

const WEBHOOKS: &str = "/api/sites/example.com/webhooks";

fn body() -> Value {
    json!({
        "name": "Production",
        "url": "https://hooks.example.com/services/T000/secret-path-9f2c",
        "headers": {"X-Api-Key": "secret-header-value"},
        "events": ["goal_completion", "visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 500}},
    })
}

/// Creates a webhook and returns its path.
async fn create(api: &Api, body: Value) -> String {
    let created = api.post(WEBHOOKS, body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    created.headers["location"].to_str().expect("text").to_owned()
}

#[sqlx::test]
async fn creating_answers_201_with_location_secret_and_defaults(pool: PgPool) {
    let api = Api::start(pool).await;
    let created = api.post(WEBHOOKS, body()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = text(&created.body["id"]);
    assert!(id.starts_with("wh_") && id.len() == 29, "{id}");
    assert_eq!(created.headers["location"], format!("{WEBHOOKS}/{id}"));
    assert_eq!(created.headers["cache-control"], "no-store");
    let secret = text(&created.body["secret"]);
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    assert_eq!(created.body.get("standard_webhooks_secret"), None);
    assert_eq!(created.body["warnings"][0]["code"], "no_recent_events");
    let mut rest = created.body.clone();
    for changing in ["id", "secret", "warnings", "inserted_at", "updated_at"] {
        rest.as_object_mut().expect("an object").remove(changing);
    }
    assert_eq!(
        rest,
        json!({
            "site_id": "example.com", "name": "Production", "url": "https://hooks.example.com/…9f2c", "format": "json",
            "headers": {"X-Api-Key": "********"}, "events": ["goal_completion", "visitor_spike"],
            "triggers": {"visitor_spike": {"threshold": 500, "window_seconds": 300}}, "enabled": true,
            "failure_threshold": 3, "rate_limit_per_second": 50, "max_concurrency": 8, "retry_schedule": "default",
            "max_age_seconds": null,
            "health": {"state": "new", "reason": null, "last_success_at": null, "consecutive_failures": 0},
        })
    );
    assert_eq!(created.body["inserted_at"], created.body["updated_at"]);
    let at = text(&created.body["inserted_at"]);
    assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
}

#[sqlx::test]
async fn a_chosen_secret_is_shown_in_both_forms_and_warned_about_when_short(pool: PgPool) {
    let api = Api::start(pool).await;
    let mut chosen = body();
    chosen["secret"] = json!("twelve-chars");
    chosen["triggers"]["goal_completion"] = json!({"goals": ["Signup", "Paid"]});
    api.post("/api/sites/example.com/webhooks", body()).await;
    let goal = json!({"name": "Paid", "kind": "event", "event": "paid"});
    assert_eq!(api.post("/api/sites/example.com/goals", goal).await.status, 201);
    let created = api.post(WEBHOOKS, chosen).await;
    assert_eq!(created.body["secret"], "twelve-chars");
    assert_eq!(created.body["standard_webhooks_secret"], "whsec_dHdlbHZlLWNoYXJz");
    let warnings: Vec<(&str, Option<&str>)> = created.body["warnings"]
        .as_array()
        .expect("warnings")
        .iter()
        .map(|warning| (text(&warning["code"]), warning["pointer"].as_str()))
        .collect();
    let wanted = [
        ("short_secret", Some("/secret")),
        ("unknown_goal", Some("/triggers/goal_completion/goals/0")),
    ];
    assert_eq!(warnings, wanted);

    let mut chosen = body();
    chosen["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let created = api.post(WEBHOOKS, chosen).await;
    assert_eq!(created.body["secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(created.body.get("standard_webhooks_secret"), None);
}

#[sqlx::test]
async fn no_read_and_no_list_holds_anything_secret(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let mut chosen = body();
    chosen["secret"] = json!("a-secret-of-my-own-choice");
    let path = create(&api, chosen).await;
    let patched = api.patch(&path, json!({"name": "Renamed"})).await;
    for answer in [api.get(&path).await, api.get(WEBHOOKS).await, patched] {
        assert_eq!(answer.status, 200);
        let shown = answer.body.to_string();
        for secret in [
            "a-secret-of-my-own-choice",
            "secret-header-value",
            "secret-path",
            "T000",
        ] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let audited: Vec<String> = sqlx::query_scalar("select audit_log::text from audit_log")
        .fetch_all(&pool)
        .await
        .expect("read");
    assert_eq!(audited.len(), 2);
    assert!(
        audited
            .iter()
            .all(|row| !row.contains("secret-path") && !row.contains("a-secret-of-my-own"))
    );
}

#[sqlx::test]
async fn reading_and_listing_answer_the_same_webhook(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = create(&api, body()).await;
    let one = api.get(&path).await;
    assert_eq!(one.status, 200);
    let list = api.get(WEBHOOKS).await;
    assert_eq!(list.body, json!({"data": [one.body], "next": null}));
    let unknown = "wh_01h455vb4pex5vsknk084sn02q";
    for (path, what) in [
        (format!("{WEBHOOKS}/{unknown}"), "webhook"),
        (format!("{WEBHOOKS}/not-an-id"), "webhook"),
        (path.replace("wh_", "goal_"), "webhook"),
        (path.replace("example.com", "example.org"), "webhook"),
        ("/api/sites/example.org/webhooks".to_owned(), "site"),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(
            (answer.status, text(&answer.body["detail"])),
            (404, format!("There is no such {what}.").as_str()),
            "{path}"
        );
        answer.problem("not-found");
    }
}

#[sqlx::test]
async fn every_bad_field_of_a_create_is_named_at_once_and_nothing_is_made(pool: PgPool) {
    let api = Api::start(pool).await;
    let answer = api
        .post(
            WEBHOOKS,
            json!({"url": "http://example.com", "events": ["visitor_spike", "nope"], "name": "", "colour": 1}),
        )
        .await;
    let wanted = [
        ("/colour", "unknown_field"),
        ("/url", "invalid"),
        ("/name", "empty"),
        ("/events/1", "unknown"),
        ("/triggers/visitor_spike/threshold", "required"),
    ];
    assert_eq!(answer.errors(), wanted);
    assert_eq!(
        api.get("/api/sites/example.com").await.status,
        404,
        "a refused create registers nothing"
    );
}

#[sqlx::test]
async fn fifty_creates_at_once_leave_ten_webhooks(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let creates = (0..50).map(|n| {
        let mut body = body();
        body["name"] = json!(format!("number {n}"));
        api.post(WEBHOOKS, body)
    });
    let answers = futures_util::future::join_all(creates).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 10);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.status, 409, "{}", refused.body);
        refused.problem("webhook-limit");
    }
    assert_eq!(
        api.get(WEBHOOKS).await.body["data"]
            .as_array()
            .expect("a list")
            .len(),
        10
    );

    let first = format!(
        "{WEBHOOKS}/{}",
        text(&api.get(WEBHOOKS).await.body["data"][0]["id"])
    );
    assert_eq!(api.send("DELETE", &first, None).await.status, 204);
    create(&api, body()).await;
}

#[sqlx::test]
async fn a_patch_changes_what_it_names_and_null_resets(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = create(&api, body()).await;
    let before = api.get(&path).await.body;

    let patch = json!({"triggers": {"visitor_spike": {"window_seconds": 60}}, "max_age_seconds": 600, "name": "Other"});
    let after = api.patch(&path, patch).await;
    assert_eq!(after.status, 200, "{}", after.body);
    assert_eq!(
        after.body["triggers"]["visitor_spike"],
        json!({"threshold": 500, "window_seconds": 60})
    );
    assert_eq!(after.body["max_age_seconds"], 600);
    assert_eq!(after.body["name"], "Other");
    assert_eq!(after.body["headers"], before["headers"]);
    assert_ne!(after.body["updated_at"], before["updated_at"]);
    assert_eq!(after.body["inserted_at"], before["inserted_at"]);

    let reset = json!({"triggers": {"visitor_spike": {"window_seconds": null}}, "max_age_seconds": null, "name": null,
                       "headers": null, "failure_threshold": null, "rate_limit_per_second": null});
    let after = api.patch(&path, reset).await;
    assert_eq!(after.body["triggers"]["visitor_spike"]["window_seconds"], 300);
    assert_eq!(after.body["max_age_seconds"], Value::Null);
    assert_eq!(after.body["name"], "hooks.example.com");
    assert_eq!(after.body["headers"], json!({}));
    assert_eq!(after.body["rate_limit_per_second"], Value::Null, "no limit");

    // The merge-patch type, and an empty patch.
    let request = api.request("PATCH", &path).bearer_auth(&api.token);
    let request = request
        .header("content-type", "application/merge-patch+json")
        .body("{}");
    let same = crate::api_support::read(request).await;
    assert_eq!(same.status, 200);
    assert_eq!(same.body["name"], "hooks.example.com");
}

#[sqlx::test]
async fn a_patch_is_judged_by_what_it_makes_of_the_webhook(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = create(
        &api,
        json!({"url": "https://example.com", "events": ["custom_event"]}),
    )
    .await;
    let answer = api
        .patch(&path, json!({"events": ["custom_event", "visitor_spike"]}))
        .await;
    assert_eq!(
        answer.errors(),
        [("/triggers/visitor_spike/threshold", "required")]
    );
    let answer = api
        .patch(
            &path,
            json!({"url": null, "name": "x".repeat(101), "colour": null, "id": "wh_1"}),
        )
        .await;
    let wanted = [
        ("/colour", "unknown_field"),
        ("/id", "read_only"),
        ("/url", "required"),
        ("/name", "too_long"),
    ];
    assert_eq!(answer.errors(), wanted);
    let answer = api
        .patch(&path, json!({"secret": "another-secret-of-mine"}))
        .await;
    assert_eq!(answer.errors(), [("/secret", "not_available")]);
    let answer = api.patch(&path, json!({"secret": null})).await;
    assert_eq!(answer.errors(), [("/secret", "not_available")]);
    assert_eq!(api.patch(&path, json!([])).await.errors(), [("", "wrong_type")]);

    let spike = json!({"events": ["visitor_spike"], "triggers": {"visitor_spike": {"threshold": 3}}});
    assert_eq!(api.patch(&path, spike).await.status, 200);
    let back = api.patch(&path, json!({"events": ["goal_completion"]})).await;
    assert_eq!(
        (back.status, &back.body["triggers"]),
        (200, &json!({})),
        "the trigger goes with its event type"
    );
    let unknown = format!("{WEBHOOKS}/wh_01h455vb4pex5vsknk084sn02q");
    assert_eq!(api.patch(&unknown, json!({"name": "x"})).await.status, 404);
}

#[sqlx::test]
async fn an_answer_can_be_edited_and_sent_back(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    let stored = "select encode(url, 'hex') from webhooks";
    let mut answer = api.get(&path).await.body;
    for read_only in ["id", "site_id", "health", "inserted_at", "updated_at"] {
        answer.as_object_mut().expect("an object").remove(read_only);
    }
    answer["name"] = json!("Edited");
    let after = api.patch(&path, answer).await;
    assert_eq!(
        (after.status, &after.body["name"]),
        (200, &json!("Edited")),
        "{}",
        after.body
    );
    assert_eq!(after.body["url"], "https://hooks.example.com/…9f2c");
    // Still the address it was: encrypted anew, and not the masked one.
    let registry = bellwether::record::registry::RegistryReader::new(std::sync::Arc::new(
        crate::record_support::keyring(&[("a", 1)]),
    ));
    let mut reader = registry;
    let mut conn = pool.acquire().await.expect("connection");
    let seen = reader.look(&mut conn, 0).await.expect("looked").expect("first");
    let webhook = seen.webhooks.values().next().expect("one");
    assert_eq!(
        webhook.url.reveal().as_str(),
        "https://hooks.example.com/services/T000/secret-path-9f2c"
    );
    assert_eq!(webhook.headers[0].1.reveal(), "secret-header-value");
    let _: String = sqlx::query_scalar(stored).fetch_one(&pool).await.expect("stored");
}

#[sqlx::test]
async fn switching_off_cancels_what_waits_and_switching_on_counts_from_now(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    let id = webhook_uuid(&pool).await;
    for status in ["pending", "retrying", "delivered", "failed"] {
        insert_delivery(&pool, id, status).await;
    }
    let since: chrono::DateTime<chrono::Utc> = active_since(&pool).await;
    let off = api.patch(&path, json!({"enabled": false})).await;
    assert_eq!(off.body["enabled"], false);
    assert_eq!(
        off.body["health"],
        json!({"state": "disabled", "reason": "owner", "last_success_at": null, "consecutive_failures": 0})
    );
    assert_eq!(
        statuses(&pool).await,
        ["cancelled", "cancelled", "delivered", "failed"]
    );
    assert_eq!(active_since(&pool).await, since);
    let on = api.patch(&path, json!({"enabled": true})).await;
    assert_eq!(
        (&on.body["enabled"], &on.body["health"]["state"]),
        (&json!(true), &json!("new"))
    );
    let again = active_since(&pool).await;
    assert!(again > since);
    // It is on already: nothing it missed is skipped.
    api.patch(&path, json!({"enabled": true, "name": "x"})).await;
    assert_eq!(active_since(&pool).await, again);
}

#[sqlx::test]
async fn what_bellwether_switched_off_says_why_until_its_owner_decides(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    sqlx::query(
        "update webhooks set disabled_at = now(), disabled_reason = 'gone', consecutive_failures = 1",
    )
    .execute(&pool)
    .await
    .expect("updated");
    let renamed = api.patch(&path, json!({"name": "x"})).await;
    assert_eq!(renamed.body["enabled"], false);
    assert_eq!(
        renamed.body["health"]["reason"], "gone",
        "a new name says nothing about that"
    );
    let off = api.patch(&path, json!({"enabled": false})).await;
    assert_eq!(off.body["health"]["reason"], "owner");
    let on = api.patch(&path, json!({"enabled": true})).await;
    assert_eq!(
        on.body["health"],
        json!({"state": "new", "reason": null, "last_success_at": null, "consecutive_failures": 0})
    );
}

#[sqlx::test]
async fn deleting_wipes_what_is_secret_cancels_what_waits_and_keeps_the_history(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    let id = webhook_uuid(&pool).await;
    for status in ["pending", "retrying", "delivered"] {
        insert_delivery(&pool, id, status).await;
    }
    let deleted = api.send("DELETE", &path, None).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    let left: i64 = sqlx::query_scalar(
        "select count(*) from webhooks where url is not null or headers is not null or deleted_at is null",
    )
    .fetch_one(&pool)
    .await
    .expect("read");
    let secrets: i64 = sqlx::query_scalar("select count(*) from webhook_secrets")
        .fetch_one(&pool)
        .await
        .expect("read");
    assert_eq!((left, secrets), (0, 0));
    assert_eq!(statuses(&pool).await, ["cancelled", "cancelled", "delivered"]);
    let reasons: Vec<Option<String>> =
        sqlx::query_scalar("select failure_reason from deliveries order by status")
            .fetch_all(&pool)
            .await
            .expect("read");
    assert_eq!(reasons[0].as_deref(), Some("deleted"));
    for method in ["GET", "DELETE"] {
        assert_eq!(api.send(method, &path, None).await.status, 404);
    }
    assert_eq!(api.patch(&path, json!({"name": "x"})).await.status, 404);
    assert_eq!(api.get(WEBHOOKS).await.body["data"], json!([]));
    let history = api.get(&format!("{path}/deliveries")).await;
    assert_eq!(history.body["data"].as_array().expect("a list").len(), 3);
}

#[sqlx::test]
async fn a_site_id_is_one_percent_encoded_segment(pool: PgPool) {
    let api = Api::start(pool).await;
    let created = api.post("/api/sites/a%2Fb%20%C3%BC/webhooks", body()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.body["site_id"], "a/b ü");
    let location = created.headers["location"].to_str().expect("text");
    assert!(
        location.starts_with("/api/sites/a%2Fb%20%C3%BC/webhooks/wh_"),
        "{location}"
    );
    assert_eq!(api.get(location).await.status, 200);
    for bad in ["%00", "a%0Ab", &"x".repeat(256)] {
        let answer = api.post(&format!("/api/sites/{bad}/webhooks"), body()).await;
        assert_eq!(answer.errors(), [("/site_id", "invalid")], "{bad}");
        assert_eq!(
            api.get(&format!("/api/sites/{bad}/webhooks")).await.status,
            404,
            "{bad}"
        );
    }
    assert_eq!(api.get("/api/sites/%FF/webhooks").await.status, 404);
}

async fn webhook_uuid(pool: &PgPool) -> uuid::Uuid {
    sqlx::query_scalar("select id from webhooks")
        .fetch_one(pool)
        .await
        .expect("one webhook")
}

async fn active_since(pool: &PgPool) -> chrono::DateTime<chrono::Utc> {
    sqlx::query_scalar("select active_since from webhooks")
        .fetch_one(pool)
        .await
        .expect("one webhook")
}

async fn statuses(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select status from deliveries order by status")
        .fetch_all(pool)
        .await
        .expect("read")
}

async fn insert_delivery(pool: &PgPool, webhook: uuid::Uuid, status: &str) {
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, created_at,
             inserted_at, updated_at, parked_until, parked_reason)
         values (gen_random_uuid(), gen_random_uuid(), $1, 'example.com', 'visitor_spike', 'event', $2, now(), now(),
             now(), now(), 'circuit')",
    )
    .bind(webhook)
    .bind(status)
    .execute(pool)
    .await
    .expect("inserted");
}

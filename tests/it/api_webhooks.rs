//! The calls on webhooks, over HTTP and against a real Postgres.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};

pub(crate) const WEBHOOKS: &str = "/api/sites/example.com/webhooks";

pub(crate) fn body() -> Value {
    json!({
        "name": "Production",
        "url": "https://hooks.example.com/services/T000/secret-path-9f2c",
        "headers": {"X-Api-Key": "secret-header-value"},
        "events": ["goal_completion", "visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 500}},
    })
}

/// Creates a webhook and returns its path.
pub(crate) async fn create(api: &Api, body: Value) -> String {
    let created = api.post(WEBHOOKS, body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    created.headers["location"].to_str().expect("text").to_owned()
}

#[sqlx::test]
async fn a_create_answers_201_with_location_secret_and_defaults(pool: PgPool) {
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
    let health = rest["health"].as_object_mut().expect("an object");
    assert_eq!(health.remove("since"), Some(created.body["inserted_at"].clone()));
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
            "max_age_seconds": null, "external_id": null, "paused_until": null, "secret_overlap_until": null,
            "health": {"state": "new", "reason": null, "next_probe_at": null, "waiting": 0, "last_success_at": null,
                       "consecutive_failures": 0},
        })
    );
    assert_eq!(created.body["inserted_at"], created.body["updated_at"]);
    let at = text(&created.body["inserted_at"]);
    assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
}

#[sqlx::test]
async fn a_null_of_an_unknown_option_is_named_at_any_depth(pool: PgPool) {
    let api = Api::start(pool).await;
    let mut watching = body();
    watching["events"] = json!(["error_condition"]);
    watching["triggers"] = json!({"error_condition": {"silence": {"goal": "Signup"}}});
    let created = api.post(WEBHOOKS, watching).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let href = format!("{WEBHOOKS}/{}", text(&created.body["id"]));
    let patch = json!({"triggers": {"error_condition": {"silence": {"bogus": null}}}});
    let refused = api.patch(&href, patch).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let pointer = "/triggers/error_condition/silence/bogus";
    assert_eq!(refused.body["errors"][0]["pointer"], pointer);
}

#[sqlx::test]
async fn a_short_secret_of_the_owner_brings_a_warning(pool: PgPool) {
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
        ("no_recent_events", None),
    ];
    assert_eq!(warnings, wanted);
    let silence = json!({"events": ["error_condition"],
                         "triggers": {"error_condition": {"silence": {"goal": "Signup"}}}});
    let href = format!("{WEBHOOKS}/{}", text(&created.body["id"]));
    let edited = api.patch(&href, silence).await;
    let unknown = edited.body["warnings"].as_array().expect("warnings").iter();
    let pointers: Vec<_> = unknown
        .filter(|warning| warning["code"] == "unknown_goal")
        .map(|warning| &warning["pointer"])
        .collect();
    assert_eq!(
        pointers,
        ["/triggers/error_condition/silence/goal"],
        "{}",
        edited.body
    );

    // Sent back as it was answered; another one comes by the rotation alone.
    let href = format!("{WEBHOOKS}/{}", text(&created.body["id"]));
    let standard = json!({"standard_webhooks_secret": created.body["standard_webhooks_secret"]});
    assert_eq!(api.patch(&href, standard).await.status, 200);
    let another = json!({"standard_webhooks_secret": "whsec_dGhpcnRlZW4tY2hhcnM="});
    let refused = api.patch(&href, another).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["errors"][0]["code"], "read_only", "{}", refused.body);

    let mut chosen = body();
    chosen["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let created = api.post(WEBHOOKS, chosen).await;
    assert_eq!(created.body["secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(created.body.get("standard_webhooks_secret"), None);
}

#[sqlx::test]
async fn a_site_without_events_for_a_day_brings_a_warning(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for (last_event, warned) in [
        (None, true),
        (Some("now() - interval '25 hours'"), true),
        (Some("now() - interval '23 hours'"), false),
        (Some("now()"), false),
    ] {
        let site = "/api/sites/example.com";
        assert!([200, 201].contains(&api.send("PUT", site, Some(json!({}))).await.status));
        let set = format!(
            "update sites set last_event_at = {}",
            last_event.unwrap_or("null")
        );
        sqlx::query(&set).execute(&pool).await.expect("updated");
        let created = api.post(WEBHOOKS, body()).await;
        let warnings = created.body["warnings"].as_array().expect("warnings");
        let found = warnings.iter().any(|one| one["code"] == "no_recent_events");
        assert_eq!(found, warned, "{last_event:?}");
    }
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
async fn a_refused_create_names_every_bad_field_and_creates_nothing(pool: PgPool) {
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

//! Changes of webhooks: patches, disabling and enabling, deleting.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::Api;
use crate::api_webhooks::{WEBHOOKS, body, create};

#[sqlx::test]
async fn a_webhook_says_that_its_retry_schedule_vanished(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    assert_eq!(api.get(&path).await.body["warnings"], json!([]));
    sqlx::query("update webhooks set retry_schedule = 'gone'")
        .execute(&pool)
        .await
        .expect("updated");
    let changed = api.patch(&path, json!({"name": "Other"})).await;
    assert_eq!(changed.status, 200, "it stays as it is: {}", changed.body);
    let listed = api.get(WEBHOOKS).await.body["data"][0].clone();
    for webhook in [changed.body, api.get(&path).await.body, listed] {
        assert_eq!(webhook["retry_schedule"], "gone");
        let warning = &webhook["warnings"][0];
        assert_eq!(
            (&warning["code"], &warning["pointer"]),
            (&json!("unknown_retry_schedule"), &json!("/retry_schedule")),
            "{webhook}"
        );
    }
}

#[sqlx::test]
async fn a_rate_that_was_set_outlives_every_change_of_format(pool: PgPool) {
    let api = Api::start(pool).await;
    let format = |format: &str| json!({"format": format});
    let both = |format: &str, rate: u32| json!({"format": format, "rate_limit_per_second": rate});
    for (made, patches, rate) in [
        // While none is set, the rate is the format's.
        (format("json"), vec![format("slack")], 1),
        (format("slack"), vec![json!({"name": "n"}), format("json")], 50),
        // What was set stays, also if it is a format's default.
        (both("slack", 1), vec![format("json")], 1),
        (
            both("teams", 1),
            vec![json!({"name": "n"}), format("cloudevents")],
            1,
        ),
        (both("json", 50), vec![format("slack"), format("json")], 50),
        (both("json", 50), vec![format("discord")], 50),
        (
            format("json"),
            vec![
                json!({"rate_limit_per_second": 1}),
                format("slack"),
                format("json"),
            ],
            1,
        ),
        (both("json", 7), vec![format("slack")], 7),
    ] {
        let mut new = body();
        new.as_object_mut()
            .expect("an object")
            .extend(made.as_object().expect("an object").clone());
        let path = create(&api, new).await;
        for patch in &patches {
            let changed = api.patch(&path, patch.clone()).await;
            assert_eq!(changed.status, 200, "{}", changed.body);
        }
        let after = api.get(&path).await.body;
        assert_eq!(after["rate_limit_per_second"], rate, "{made} {patches:?}");
    }
}

#[sqlx::test]
async fn a_patch_changes_named_fields_and_null_resets_them(pool: PgPool) {
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
async fn a_patch_is_validated_by_the_webhook_it_results_in(pool: PgPool) {
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
    assert_eq!(answer.errors(), [("/secret", "not_applicable")]);
    let answer = api.patch(&path, json!({"secret": null})).await;
    assert_eq!(answer.errors(), [("/secret", "not_applicable")]);
    assert_eq!(api.patch(&path, json!([])).await.errors(), [("", "wrong_type")]);
    let nothing = json!({"nonsense": null, "headers": {"Host": null},
                         "triggers": {"visitor_spike": {"nonsense": null}}});
    let wanted = [
        ("/nonsense", "unknown_field"),
        ("/headers/Host", "reserved"),
        ("/triggers/visitor_spike/nonsense", "unknown_field"),
        ("/triggers/visitor_spike", "not_subscribed"),
    ];
    assert_eq!(api.patch(&path, nothing).await.errors(), wanted);

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
    let mut foreign = answer.clone();
    foreign["site_id"] = json!("other.example");
    assert_eq!(
        api.patch(&path, foreign).await.errors(),
        [("/site_id", "read_only")]
    );
    answer["name"] = json!("Edited");
    let after = api.patch(&path, answer).await;
    assert_eq!(
        (after.status, &after.body["name"]),
        (200, &json!("Edited")),
        "{}",
        after.body
    );
    assert_eq!(after.body["url"], "https://hooks.example.com/…9f2c");
    // The stored URL is the same, encrypted again; the masked form was not stored.
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

/// Counts the jobs that cancel what is open.
async fn jobs_to_cancel(pool: &PgPool, reason: &str) -> i64 {
    sqlx::query_scalar("select count(*) from jobs where kind = 'cancel' and progress->>'reason' = $1")
        .bind(reason)
        .fetch_one(pool)
        .await
        .expect("read")
}

#[sqlx::test]
async fn disabling_cancels_waiting_deliveries_by_a_job(pool: PgPool) {
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
        (&off.body["health"]["state"], &off.body["health"]["reason"]),
        (&json!("disabled"), &json!("owner"))
    );
    assert_eq!(jobs_to_cancel(&pool, "disabled").await, 1);
    assert_eq!(active_since(&pool).await, since);
    let on = api.patch(&path, json!({"enabled": true})).await;
    assert_eq!(
        (&on.body["enabled"], &on.body["health"]["state"]),
        (&json!(true), &json!("new"))
    );
    let again = active_since(&pool).await;
    assert!(again > since);
    // The webhook is enabled already: no event is skipped.
    api.patch(&path, json!({"enabled": true, "name": "x"})).await;
    assert_eq!(active_since(&pool).await, again);
}

#[sqlx::test]
async fn the_reason_of_a_disabled_webhook_stays_until_it_is_enabled(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    sqlx::query(
        "update webhooks set disabled_at = now(), disabled_reason = 'gone', consecutive_failures = 1",
    )
    .execute(&pool)
    .await
    .expect("updated");
    let renamed = api.patch(&path, json!({"name": "x"})).await;
    assert_eq!(renamed.body["enabled"], true, "its owner's wish");
    assert_eq!(renamed.body["health"]["state"], "disabled");
    assert_eq!(
        renamed.body["health"]["reason"], "gone",
        "a new name does not enable it"
    );
    let mut answer = api.get(&path).await.body;
    answer.as_object_mut().expect("an object").remove("enabled");
    answer["name"] = json!("edited and sent back");
    let edited = api.patch(&path, answer).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    assert_eq!(edited.body["name"], "edited and sent back");
    assert_eq!(edited.body["health"]["reason"], "gone", "it was disabled already");
    let on = api.patch(&path, json!({"enabled": true})).await;
    assert_eq!(
        (&on.body["health"]["state"], &on.body["health"]["reason"]),
        (&json!("new"), &Value::Null)
    );
}

#[sqlx::test]
async fn deleting_erases_secrets_and_keeps_the_history(pool: PgPool) {
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
    assert_eq!(jobs_to_cancel(&pool, "deleted").await, 1);
    assert_eq!(statuses(&pool).await, ["delivered", "pending", "retrying"]);
    for method in ["GET", "DELETE"] {
        assert_eq!(api.send(method, &path, None).await.status, 404);
    }
    assert_eq!(api.patch(&path, json!({"name": "x"})).await.status, 404);
    assert_eq!(api.get(WEBHOOKS).await.body["data"], json!([]));
    let history = api.get(&format!("{path}/deliveries")).await;
    assert_eq!(history.body["data"].as_array().expect("a list").len(), 3);
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

#[sqlx::test]
async fn an_owner_may_switch_off_what_we_have_disabled(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    sqlx::query("update webhooks set disabled_at = now(), disabled_reason = 'gone'")
        .execute(&pool)
        .await
        .expect("updated");
    let off = api.patch(&path, json!({"enabled": false})).await;
    assert_eq!((off.status, &off.body["enabled"]), (200, &json!(false)));
    assert_eq!(off.body["health"]["reason"], "owner");
}

#[sqlx::test]
async fn a_pause_lies_ahead_and_within_thirty_days(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = create(&api, body()).await;
    let at = |hours: i64| json!({"paused_until": bellwether::clock::now() + chrono::TimeDelta::hours(hours)});
    for hours in [-1, 30 * 24 + 1] {
        assert_eq!(
            api.patch(&path, at(hours)).await.errors(),
            [("/paused_until", "out_of_range")]
        );
    }
    let paused = api.patch(&path, at(1)).await;
    assert!(paused.body["paused_until"].is_string(), "{}", paused.body);
    let again = api.patch(&path, paused.body).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let resumed = api.patch(&path, json!({"paused_until": null})).await;
    assert_eq!(resumed.body["paused_until"], Value::Null);
}

#[sqlx::test]
async fn an_edit_after_a_pause_makes_it_no_longer(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    let pause = async || {
        let columns = sqlx::query_as("select paused_at, pause_lifted_at from webhooks").fetch_one(&pool);
        columns.await.expect("the webhook")
    };
    let hour = bellwether::clock::now() + chrono::TimeDelta::hours(1);
    let later = hour + chrono::TimeDelta::hours(1);
    let mut lifted: Option<chrono::DateTime<chrono::Utc>> = None;
    let mut begun: Vec<Option<chrono::DateTime<chrono::Utc>>> = Vec::new();
    for (change, is_lifted) in [
        (json!({"paused_until": hour}), false),
        (json!({"paused_until": later}), false),
        (json!({"paused_until": null}), true),
        (json!({"name": "renamed"}), true),
        (json!({"paused_until": hour}), false),
    ] {
        let before = lifted;
        assert_eq!(api.patch(&path, change).await.status, 200);
        let paused_at;
        (paused_at, lifted) = pause().await;
        begun.push(paused_at);
        assert_eq!(lifted.is_some(), is_lifted);
        assert!(before.is_none() || lifted.is_none() || before == lifted);
    }
    assert!(
        begun[0].is_some() && begun[..4].iter().all(|at| *at == begun[0]),
        "{begun:?}"
    );
    assert!(begun[4] > begun[0], "another pause begins");
}

#[sqlx::test]
async fn an_external_id_is_of_one_webhook_until_it_is_deleted(pool: PgPool) {
    let api = Api::start(pool).await;
    let with_id = || {
        let mut body = body();
        body["external_id"] = json!("mine-1");
        body
    };
    let first = create(&api, with_id()).await;
    let second = api.post(WEBHOOKS, with_id()).await;
    assert_eq!(second.status, 409);
    second.problem("external-id-taken");
    let other = create(&api, body()).await;
    let taken = api.patch(&other, json!({"external_id": "mine-1"})).await;
    assert_eq!(taken.status, 409);
    assert_eq!(api.send("DELETE", &first, None).await.status, 204);
    let free = api.patch(&other, json!({"external_id": "mine-1"})).await;
    assert_eq!((free.status, &free.body["external_id"]), (200, &json!("mine-1")));
}

#[sqlx::test]
async fn off_since_is_when_its_owner_switched_it(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = create(&api, body()).await;
    let off = api.patch(&path, json!({"enabled": false})).await;
    let since = off.body["health"]["since"].clone();
    assert!(since.is_string(), "{}", off.body);
    for patch in [json!({"name": "renamed"}), json!({"enabled": false})] {
        let edited = api.patch(&path, patch).await;
        assert_ne!(edited.body["updated_at"], off.body["updated_at"]);
        assert_eq!(edited.body["health"]["since"], since, "{}", edited.body);
    }
    api.patch(&path, json!({"enabled": true})).await;
    let again = api.patch(&path, json!({"enabled": false})).await;
    assert_ne!(again.body["health"]["since"], since);
    let mut created_off = body();
    created_off["enabled"] = json!(false);
    let path = create(&api, created_off).await;
    let renamed = api.patch(&path, json!({"name": "renamed"})).await;
    assert_eq!(renamed.body["health"]["since"], renamed.body["inserted_at"]);
}

#[sqlx::test]
async fn a_webhook_of_a_list_may_be_sent_back(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = create(&api, body()).await;
    insert_delivery(&pool, webhook_uuid(&pool).await, "delivered").await;
    let listed = api.get(&format!("{WEBHOOKS}?include=recent")).await;
    let mut one = listed.body["data"][0].clone();
    assert_eq!(one["recent"].as_array().map(Vec::len), Some(1), "{one}");
    one["name"] = json!("edited and sent back");
    let edited = api.patch(&path, one.clone()).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    assert_eq!(edited.body["name"], "edited and sent back");
    let made = api.post(
        WEBHOOKS,
        json!({"url": "https://example.com/x", "events": ["goal_completion"], "recent": []}),
    );
    assert_eq!(made.await.errors(), [("/recent", "read_only")]);
}

//! Showing and rotating the secret of a webhook, by the API.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, text};

const MINE: &str = "a-secret-of-my-own-choice";

async fn webhook(api: &Api) -> String {
    let body = json!({"url": "https://example.com/x", "events": ["goal_completion"], "secret": MINE});
    let made = api.post("/api/sites/a.example/webhooks", body).await;
    format!("/api/sites/a.example/webhooks/{}", text(&made.body["id"]))
}

/// The secrets that sign: the old one and, during an overlap, the new one.
async fn secrets(api: &Api, path: &str) -> (String, Option<String>) {
    let shown = api.get(&format!("{path}/secret")).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(shown.headers["cache-control"], "no-store");
    let next = shown.body["next"]["secret"].as_str().map(str::to_owned);
    (text(&shown.body["secret"]).to_owned(), next)
}

#[sqlx::test]
async fn a_secret_is_shown_to_editors_and_the_showing_is_logged(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let path = webhook(&api).await;
    let shown = api.get(&format!("{path}/secret")).await;
    assert_eq!(shown.body["secret"], MINE);
    assert!(text(&shown.body["standard_webhooks_secret"]).starts_with("whsec_"));
    assert_eq!(shown.body.get("next"), None);
    let log: Vec<(String, Value)> =
        sqlx::query_as("select action, detail from audit_log where action like 'webhook.reveal%'")
            .fetch_all(&pool)
            .await
            .expect("read");
    assert_eq!(log.len(), 1);
    assert!(!log[0].1.to_string().contains(MINE));
}

#[sqlx::test]
async fn a_rotation_overlaps_for_a_day_unless_told_otherwise(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = webhook(&api).await;
    let rotate = format!("{path}/rotate-secret");

    let first = api.send("POST", &rotate, None).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let new = text(&first.body["secret"]).to_owned();
    assert!(new.starts_with("whsec_"));
    let until = text(&first.body["secret_overlap_until"]).parse::<chrono::DateTime<chrono::Utc>>();
    let left = until.expect("a time") - bellwether::clock::now();
    assert!((86_390..=86_400).contains(&left.num_seconds()), "{left}");
    assert_eq!(secrets(&api, &path).await, (MINE.to_owned(), Some(new.clone())));

    // Rotating during an overlap ends the older secret.
    let second = api
        .post(
            &rotate,
            json!({"secret": "another-secret-of-mine", "overlap_seconds": 60}),
        )
        .await;
    assert_eq!(second.body["secret"], "another-secret-of-mine");
    assert_eq!(
        secrets(&api, &path).await,
        (new, Some("another-secret-of-mine".to_owned()))
    );

    let finished = api.post(&rotate, json!({"finish": true})).await;
    assert_eq!(finished.status, 200);
    assert_eq!(finished.body["secret_overlap_until"], Value::Null);
    assert_eq!(finished.body["secret"], "********", "finishing shows no secret");
    assert_eq!(
        secrets(&api, &path).await,
        ("another-secret-of-mine".to_owned(), None)
    );
    assert_eq!(
        api.post(&rotate, json!({"finish": true})).await.status,
        200,
        "nothing to finish"
    );

    // A secret that leaked ends at once, and with it that of an overlap.
    api.post(&rotate, json!({})).await;
    let leaked = api.post(&rotate, json!({"overlap_seconds": 0})).await;
    assert_eq!(leaked.body["secret_overlap_until"], Value::Null);
    assert_eq!(
        secrets(&api, &path).await,
        (text(&leaked.body["secret"]).to_owned(), None)
    );
}

#[sqlx::test]
async fn a_refused_rotation_names_every_bad_field(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = webhook(&api).await;
    let rotate = format!("{path}/rotate-secret");
    for (body, wanted) in [
        (
            json!({"overlap_seconds": 604_801}),
            vec![("/overlap_seconds", "out_of_range")],
        ),
        (
            json!({"overlap_seconds": -1}),
            vec![("/overlap_seconds", "out_of_range")],
        ),
        (json!({"secret": "short"}), vec![("/secret", "wrong_length")]),
        (
            json!({"finish": "yes", "now": 1}),
            vec![("/now", "unknown_field"), ("/finish", "wrong_type")],
        ),
        (
            json!({"finish": true, "secret": "another-secret-of-mine", "overlap_seconds": 5}),
            vec![
                ("/secret", "not_applicable"),
                ("/overlap_seconds", "not_applicable"),
            ],
        ),
    ] {
        assert_eq!(api.post(&rotate, body.clone()).await.errors(), wanted, "{body}");
    }
    assert_eq!(
        secrets(&api, &path).await,
        (MINE.to_owned(), None),
        "nothing changed"
    );
}

#[sqlx::test]
async fn a_rotation_sent_again_rotates_once_and_shows_no_secret(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = webhook(&api).await;
    let send = async || {
        let request = api
            .request("POST", &format!("{path}/rotate-secret"))
            .bearer_auth(&api.token)
            .header("idempotency-key", "once");
        crate::api_support::read(request).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.body["secret"], "********");
    let new = text(&first.body["secret"]).to_owned();
    assert_eq!(secrets(&api, &path).await, (MINE.to_owned(), Some(new)));
}

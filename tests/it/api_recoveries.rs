//! The calls of recoveries, as far as they go without a deliverer.

use serde_json::json;
use sqlx::PgPool;

use crate::api_support::{Api, text};
use crate::api_webhooks::{WEBHOOKS, body};

/// Creates a webhook and returns its path.
async fn webhook(api: &Api) -> String {
    let made = api.post(WEBHOOKS, body()).await;
    format!("{WEBHOOKS}/{}", text(&made.body["id"]))
}

#[sqlx::test]
async fn a_span_names_every_bad_field(pool: PgPool) {
    let api = Api::start(pool).await;
    let recover = format!("{}/recover", webhook(&api).await);
    for (body, wanted) in [
        (json!({}), vec![("/since", "required")]),
        (
            json!({"until": 5, "what": 1}),
            vec![
                ("/what", "unknown_field"),
                ("/since", "required"),
                ("/until", "wrong_type"),
            ],
        ),
        (json!({"since": "yesterday"}), vec![("/since", "invalid")]),
        (
            json!({"since": "2026-02-25T12:00:00Z", "until": "2026-02-25T11:00:00Z"}),
            vec![("/since", "out_of_range")],
        ),
    ] {
        let answer = api.post(&recover, body.clone()).await;
        assert_eq!(answer.errors(), wanted, "{body}");
    }
}

#[sqlx::test]
async fn ten_recoveries_of_a_webhook_run_at_a_time(pool: PgPool) {
    let api = Api::start(pool).await;
    let (mine, other) = (webhook(&api).await, webhook(&api).await);
    let recover = format!("{mine}/recover");
    let body = json!({"since": "2026-02-25T12:00:00Z"});
    let asked = (0..15).map(|_| api.post(&recover, body.clone()));
    let answers = futures_util::future::join_all(asked).await;
    let (begun, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
    assert_eq!((begun.len(), refused.len()), (10, 5));
    for answer in refused {
        assert_eq!(answer.status, 409, "{}", answer.body);
        answer.problem("recovery-limit");
    }
    let of_other = api.post(&format!("{other}/recover"), body.clone()).await;
    assert_eq!(of_other.status, 202, "each webhook has its own");
    let running = format!("{mine}/recoveries/{}", text(&begun[0].body["id"]));
    assert_eq!(api.send("DELETE", &running, None).await.status, 204);
    assert_eq!(api.post(&recover, body).await.status, 202, "one has ended");
}

#[sqlx::test]
async fn a_job_belongs_to_its_webhook_and_is_cancelled_once(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let (mine, other) = (webhook(&api).await, webhook(&api).await);
    let body = json!({"since": "2026-02-25T12:00:00Z", "until": "2026-02-26T12:00:00Z"});
    let begun = api.post(&format!("{mine}/recover"), body).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let id = text(&begun.body["id"]);
    let wanted = json!({
        "id": id, "status": "running", "since": "2026-02-25T12:00:00.000Z", "until": "2026-02-26T12:00:00.000Z",
        "total": 0, "sent": 0, "skipped": 0, "inserted_at": begun.body["inserted_at"], "ended_at": null
    });
    assert_eq!(begun.body, wanted);
    let path = format!("{mine}/recoveries/{id}");
    assert_eq!(begun.headers["location"], path.as_str());
    assert_eq!(api.get(&path).await.body, wanted);
    let foreign = format!("{other}/recoveries/{id}");
    for method in ["GET", "DELETE"] {
        assert_eq!(api.send(method, &foreign, None).await.status, 404, "{method}");
    }
    for _ in 0..2 {
        assert_eq!(api.send("DELETE", &path, None).await.status, 204);
    }
    let ended = api.get(&path).await.body;
    assert_eq!(ended["status"], "cancelled");
    assert!(ended["ended_at"].is_string(), "{ended}");
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where action like '%recover%' order by id")
            .fetch_all(&pool)
            .await
            .expect("read");
    assert_eq!(actions, ["webhook.recover", "recovery.cancel"]);
    // A deleted webhook's jobs stay readable, and it takes no new one.
    assert_eq!(api.send("DELETE", &mine, None).await.status, 204);
    assert_eq!(api.get(&path).await.status, 200);
    let refused = api
        .post(
            &format!("{mine}/recover"),
            json!({"since": "2026-02-25T12:00:00Z"}),
        )
        .await;
    assert_eq!(refused.status, 409);
    refused.problem("not-sendable");
}

//! The end of a rotation's overlap, as receivers see it.

use std::time::Duration;

use bellwether::clock;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::{Received, Receiver};

const SITE: &str = "example.com";
const OLD: &str = "the-old-secret-of-this-hook";
const NEW: &str = "the-new-secret-of-this-hook";

/// What `signature verify` ends with: 0 if the secret signed the request.
fn verify(secret: &str, received: &Received) -> i32 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &received.body).unwrap();
    let signature = received.header("x-webhook-signature");
    let arguments = [
        "signature",
        "verify",
        "--secret",
        secret,
        "--signature",
        signature,
    ];
    crate::commands::run(&[&arguments, [file.to_str().unwrap()].as_slice()].concat(), &[]).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_ends_while_no_process_of_the_api_runs() {
    let deployment = Deployment::create(&[]).await;
    let api = deployment.serve(&["--roles", "api"]).await;
    let worker = deployment.serve(&["--roles", "route,detect,deliver"]).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url("hook"), "events": ["goal_completion"], "secret": OLD});
    let made = deployment.create_webhook(&api, SITE, body).await;
    let path = format!(
        "/api/sites/{SITE}/webhooks/{}/rotate-secret",
        made["id"].as_str().unwrap()
    );
    let rotation = json!({"secret": NEW, "overlap_seconds": 2});
    let (status, rotated) = deployment.call(&api, Method::POST, &path, Some(rotation)).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    // Nobody is left who could tidy the rows.
    api.kill();
    deployment.registry_is_read(&worker).await;
    let until: chrono::DateTime<chrono::Utc> =
        rotated["secret_overlap_until"].as_str().unwrap().parse().unwrap();
    eventually("the overlap is over", Duration::from_secs(10), || async {
        (clock::now() > until).then_some(())
    })
    .await;
    deployment
        .publish(json!({"site_id": SITE, "type": "goal", "name": "Signup"}))
        .await;
    let received = receiver.wait_for("hook", 1).await.remove(0);
    assert_eq!(verify(NEW, &received), 0);
    assert_ne!(verify(OLD, &received), 0);
    assert!(!received.headers.contains_key("x-webhook-signature-next"));
    assert!(!received.header("webhook-signature").contains(' '));
    // The rows are as the rotation left them.
    let roles: Vec<String> = sqlx::query_scalar("select role from webhook_secrets order by role")
        .fetch_all(&deployment.database.pool)
        .await
        .unwrap();
    assert_eq!(roles, ["current", "next"]);
}

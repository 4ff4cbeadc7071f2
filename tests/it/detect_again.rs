//! A site that is deleted and registered again: of the earlier one nothing is told.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;

const SITE: &str = "site.example";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Registers the site by a webhook for five visitors and for goals.
async fn register(deployment: &Deployment, process: &Process, receiver: &Receiver, path: &str) {
    let body = json!({
        "name": path, "url": receiver.url(path), "events": ["visitor_spike", "goal_completion"],
        "triggers": {"visitor_spike": {"threshold": 5, "window_seconds": 300}},
    });
    deployment.create_webhook(process, SITE, body).await;
}

/// Publishes visitors, and a goal after them, and waits until the goal's webhook has heard of it.
async fn visit(deployment: &Deployment, receiver: &Receiver, path: &str, visitors: std::ops::Range<u32>) {
    for visitor in visitors {
        let view = json!({"site_id": SITE, "type": "pageview", "visitor_id": visitor.to_string(),
                          "path": format!("/{path}")});
        deployment.publish(view).await;
    }
    deployment
        .publish(json!({"site_id": SITE, "type": "goal", "name": "after them"}))
        .await;
    receiver.wait_for(path, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_registered_again_while_nobody_reads_begins_anew() {
    let deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    register(&deployment, &process, &receiver, "before").await;
    deployment.registry_is_read(&process).await;
    visit(&deployment, &receiver, "before", 0..4).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());

    let mut api = deployment.serve(&["--roles", "api"]).await;
    let path = format!("/api/sites/{SITE}");
    let (status, _) = deployment.call(&api, Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    register(&deployment, &api, &receiver, "after").await;
    api.terminate();
    assert!(api.ended(TIMEOUT).await.success());

    let process = deployment.serve(&[]).await;
    deployment.registry_is_read(&process).await;
    visit(&deployment, &receiver, "after", 4..9).await;
    receiver.wait_for("after", 2).await;
    let spikes = receiver.all().into_iter().map(|one| one.json());
    let spikes: Vec<_> = spikes.filter(|body| body["event"] == "visitor_spike").collect();
    assert_eq!(spikes.len(), 1, "{spikes:?}");
    let pages = &spikes[0]["data"]["top_pages"];
    assert!(
        !pages.to_string().contains("before"),
        "of visitors of the site of before: {pages}"
    );
}

//! A crash of PostgreSQL, after which tables that are not logged would be empty.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::database::Database;
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::services::OwnService;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which everything is to be as it was.
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn status(deployment: &Deployment, process: &Process, site: &str) -> Option<Value> {
    let path = format!("/api/sites/{site}/status");
    let (status, answer) = deployment.call(process, Method::GET, &path, None).await;
    (status == StatusCode::OK).then_some(answer)
}

#[tokio::test]
async fn the_present_of_a_silent_site_survives_a_crash() {
    let postgres = OwnService::start("postgres");
    let database = Database::create_on(&postgres.address()).await;
    let deployment =
        Deployment::create_in(database, &[("sources", "[{topic=\"{source}\", clock=\"log\"}]")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let body = json!({
        "name": "spikes", "url": receiver.url("hook"), "events": ["visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 3}},
    });
    deployment.create_webhook(&process, "example.com", body).await;
    deployment.registry_is_read(&process).await;
    for visitor in 0..4 {
        let event = json!({
            "site_id": "example.com", "type": "pageview", "visitor_id": format!("v{visitor}"), "path": "/",
            "timestamp": "2026-02-25T12:00:00Z",
        });
        deployment.publish(event).await;
    }
    let before = eventually("the present is written", TIMEOUT, || async {
        let answer = status(&deployment, &process, "example.com").await?;
        (answer["current_visitors"] == 4).then_some(answer)
    })
    .await;

    postgres.crash();
    postgres.start_again();
    // Nobody visits meanwhile, and what is not known is not zero.
    let after = eventually("the present is back", BACK_WITHIN, || async {
        let answer = status(&deployment, &process, "example.com").await?;
        assert_ne!(answer["current_visitors"], 0, "{answer}");
        (answer["current_visitors"] == 4).then_some(answer)
    })
    .await;
    assert_eq!(after["triggers"], before["triggers"]);
    drop(process);
}

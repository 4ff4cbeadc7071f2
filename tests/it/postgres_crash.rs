//! A crash of PostgreSQL, after which tables that are not logged would be empty.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::database::Database;
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::unique;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which everything is to be as it was.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A PostgreSQL of this test's own, which may crash without harm to other tests.
struct OwnPostgres {
    dir: PathBuf,
    url: String,
}

impl OwnPostgres {
    fn start() -> Self {
        let parent = std::env::var_os("DEV_SERVICES_DIR").expect("`make test` names its folder");
        let dir = PathBuf::from(parent).join(unique("postgres"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut this = Self {
            dir,
            url: String::new(),
        };
        let said = this.services("up", &["--free-ports", "--only", "postgres"]);
        let url = said
            .lines()
            .find_map(|line| line.strip_prefix("BELLWETHER_POSTGRES__URL="));
        this.url = url.unwrap_or_else(|| panic!("no address in {said}")).to_owned();
        this
    }

    fn crash(&self) {
        self.services("down", &["--only", "postgres", "--now"]);
    }

    fn start_again(&self) {
        self.services("up", &["--free-ports", "--only", "postgres"]);
    }

    fn services(&self, verb: &str, options: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services");
        let mut command = Command::new(script);
        let output = command.arg(verb).arg(&self.dir).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.services("wipe", &[]);
    }
}

async fn status(deployment: &Deployment, process: &Process, site: &str) -> Option<Value> {
    let path = format!("/api/sites/{site}/status");
    let (status, answer) = deployment.call(process, Method::GET, &path, None).await;
    (status == StatusCode::OK).then_some(answer)
}

#[tokio::test]
async fn the_present_of_a_silent_site_survives_a_crash() {
    let postgres = OwnPostgres::start();
    let database = Database::create_on(&postgres.url).await;
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

//! A URL that is edited holds for everything still queued: what an earlier one answers, or has
//! answered, says nothing of it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::eventually;
use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::receiver::Answer;

const TIMEOUT: Duration = Duration::from_secs(60);
const DELIVERED: &str = "select count(*) from deliveries where status = 'delivered'";
/// Circuits that opened, and webhooks that were disabled.
const NOTICES: &str = "select count(*) from health_notices";

impl GoalStage {
    async fn edit(&self, body: Value) {
        let path = format!("/api/sites/{SITE}/webhooks/{}", self.webhook);
        let call = self
            .deployment
            .call(&self.process, Method::PATCH, &path, Some(body));
        let (status, answer) = call.await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// Gives the webhook the URL of `/moved`.
    async fn move_url(&self) {
        self.edit(json!({"url": self.receiver.url("moved")})).await;
    }

    /// Waits until so many are delivered. Nothing has come of what the old URL answered.
    async fn all_is_well(&self, delivered: i64) {
        self.count_is(DELIVERED, delivered).await;
        let health = self.state_is("ok").await;
        assert_eq!(health["consecutive_failures"], 0, "{health}");
        assert_eq!(
            self.count("select count(*) from webhooks where disabled_at is not null")
                .await,
            0
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_410_of_an_old_url_disables_nothing() {
    let stage = GoalStage::start(&[], json!({})).await;
    let edited = CancellationToken::new();
    let gone = Answer::status(410).held_until(&edited);
    stage.receiver.answer("hook", move |_| gone.clone());
    stage.goal("sent to the old one").await;
    stage.receiver.wait_for("hook", 1).await;
    // It shows the URL masked, which is no edit.
    stage.edit(json!({"name": "renamed"})).await;
    let never = "select count(*) from webhooks where url_changed_at is null";
    assert_eq!(stage.count(never).await, 1);
    stage.move_url().await;
    assert_eq!(stage.count(never).await, 0);
    stage.deployment.registry_is_read(&stage.process).await;
    stage.goal("sent to the new one").await;
    stage.receiver.wait_for("moved", 1).await;
    edited.cancel();
    let moved = stage.receiver.wait_for("moved", 2).await;
    assert_eq!(moved[1].json()["data"]["goal_name"], "sent to the old one");
    assert_eq!(moved[1].attempt(), 2);
    stage.all_is_well(2).await;
    assert_eq!(stage.count(NOTICES).await, 0);
    assert_eq!(stage.receiver.received("hook").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_410_before_the_edit_is_heard_of_disables_nothing() {
    let schedule = format!("{{default=[{}]}}", ["\"1s\""; 20].join(","));
    let stage = GoalStage::start(&[("webhooks.retry_schedules", schedule.as_str())], json!({})).await;
    stage.receiver.answer("hook", |_| Answer::status(410));
    // The edit is there, and nobody is told.
    let pool = stage.pool();
    let silent = "alter table webhooks disable trigger webhooks_changed";
    sqlx::query(silent).execute(pool).await.unwrap();
    stage.move_url().await;
    stage.goal("sent to the old one").await;
    stage
        .count_is(
            "select (count(*) > 0)::int::bigint from delivery_attempts where result = '410'",
            1,
        )
        .await;
    for sql in [
        "alter table webhooks enable trigger webhooks_changed",
        "update webhooks set updated_at = now()",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
    stage.receiver.wait_for("moved", 1).await;
    stage.all_is_well(1).await;
    assert_eq!(stage.count(NOTICES).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_has_an_open_circuit_probed_at_once() {
    let settings = [("webhooks.retry_schedules", "{default=[\"1s\"]}")];
    let stage = GoalStage::start(&settings, json!({"failure_threshold": 1})).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.goal("fails").await;
    let open = stage.state_is("open").await;
    stage.goal("waits").await;
    stage
        .count_is("select count(*) from parked where reason = 'circuit'", 1)
        .await;
    let tried = stage.receiver.received("hook").len();
    stage.move_url().await;
    stage.all_is_well(1).await;
    let closed = stage.health().await;
    let (at, due) = (closed["since"].as_str(), open["next_probe_at"].as_str());
    assert!(at.unwrap() < due.unwrap(), "{closed} {open}");
    assert_eq!(
        stage.receiver.received("moved")[0].json()["data"]["goal_name"],
        "waits"
    );
    assert_eq!(stage.receiver.received("hook").len(), tried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hung_at_an_old_url_opens_no_circuit_of_the_new() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let limits = json!({"url": url, "max_concurrency": 12});
    let stage = GoalStage::start(&[], limits).await;
    for number in 0..12 {
        stage.goal(&format!("goal {number}")).await;
    }
    let mut hung: Vec<TcpStream> = Vec::new();
    let all = async {
        while hung.len() < 12 {
            hung.push(listener.accept().await.unwrap().0);
        }
    };
    tokio::time::timeout(TIMEOUT, all).await.expect("12 requests");
    stage.move_url().await;
    stage.deployment.registry_is_read(&stage.process).await;
    drop((hung, listener));
    eventually("all have ended without an answer", TIMEOUT, || async {
        let ended = "select count(*) from delivery_attempts where status_code is null";
        (stage.count(ended).await == 12).then_some(())
    })
    .await;
    stage.all_is_well(12).await;
    assert_eq!(stage.count(NOTICES).await, 0, "the circuit has not opened");
    assert_eq!(stage.receiver.received("moved").len(), 12);
}

//! Changes of a webhook's health, told to the site's other webhooks and to the operator.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{Deployment, Process};
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "example.com";
const OPERATOR_SECRET: &str = "the-operators-own-secret";

struct Stage {
    deployment: Deployment,
    process: Process,
    receiver: Receiver,
    /// For goals, at `/hook`.
    subject: String,
}

/// A webhook for goals at `/hook`, one that watches it at `/watch`, and the operator's at
/// `/operator`.
async fn stage(roles: &[&str]) -> Stage {
    let receiver = Receiver::start().await;
    let deployment = Deployment::create(&[
        ("webhooks.retry_schedules", "{default=[\"1s\"]}"),
        ("operator.webhook_url", &receiver.url("operator")),
        ("operator.webhook_secret", OPERATOR_SECRET),
    ])
    .await;
    let process = deployment.serve(roles).await;
    let mut ids = Vec::new();
    for (path, events) in [
        (
            "hook",
            json!(["goal_completion", "webhook_failing", "webhook_disabled"]),
        ),
        (
            "watch",
            json!(["webhook_failing", "webhook_recovered", "webhook_disabled"]),
        ),
        ("deaf", json!(["custom_event"])),
    ] {
        let body = json!({"name": path, "url": receiver.url(path), "events": events, "failure_threshold": 1});
        let made = deployment.create_webhook(&process, SITE, body).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    deployment.registry_is_read(&process).await;
    Stage {
        subject: ids.remove(0),
        deployment,
        process,
        receiver,
    }
}

impl Stage {
    fn pool(&self) -> &PgPool {
        &self.deployment.database.pool
    }

    async fn goal(&self, name: &str) {
        let goal = json!({"site_id": SITE, "type": "goal", "name": name});
        self.deployment.publish(goal).await;
    }

    async fn call(&self, method: Method, body: Option<Value>) -> Value {
        let path = format!("/api/sites/{SITE}/webhooks/{}", self.subject);
        let (status, answer) = self.deployment.call(&self.process, method, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn patch(&self, body: Value) -> Value {
        let answer = self.call(Method::PATCH, Some(body)).await;
        self.deployment.registry_is_read(&self.process).await;
        answer
    }

    async fn state_is(&self, state: &str) -> Value {
        eventually(&format!("the health is {state}"), TIMEOUT, || async {
            let webhook = self.call(Method::GET, None).await;
            (webhook["health"]["state"] == state).then_some(webhook)
        })
        .await
    }

    /// The notice of this number at the watching webhook, which the operator got too.
    async fn notice(&self, number: usize, event: &str) -> Value {
        let watched = self.receiver.wait_for("watch", number).await.remove(number - 1);
        let told = self
            .receiver
            .wait_for("operator", number)
            .await
            .remove(number - 1);
        assert_eq!(watched.body, told.body);
        assert_eq!(told.header("x-webhook-event"), event);
        assert_eq!(told.header("x-webhook-signature"), signature(&told));
        let body = watched.json();
        assert_eq!((&body["event"], &body["site_id"]), (&json!(event), &json!(SITE)));
        assert_eq!(watched.header("webhook-id"), body["id"]);
        assert_eq!(
            (&body["data"]["webhook_id"], &body["data"]["name"]),
            (&json!(self.subject), &json!("hook"))
        );
        assert!(body["data"]["waiting"].is_u64(), "{body}");
        body
    }
}

fn signature(received: &Received) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &received.body).unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) =
        crate::commands::run(&["signature", "sign", "--secret", OPERATOR_SECRET, file], &[]);
    assert_eq!(code, 0, "{err}");
    out.trim()
        .strip_prefix("X-Webhook-Signature: ")
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_webhook_is_told_of_and_its_recovery() {
    let mut stage = stage(&[]).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.goal("fails").await;
    let open = stage.state_is("open").await;
    let failing = stage.notice(1, "webhook_failing").await;
    assert_eq!(failing["data"]["reason"], "failures");
    assert_eq!(failing["data"]["since"], failing["timestamp"]);
    let since = failing["data"]["since"]
        .as_str()
        .unwrap()
        .trim_end_matches('Z')
        .to_owned();
    assert!(
        open["health"]["since"].as_str().unwrap().starts_with(&since),
        "{open} {since}"
    );

    stage.goal("waits").await;
    eventually("it waits", TIMEOUT, || async {
        let webhook = stage.call(Method::GET, None).await;
        (webhook["health"]["waiting"] == 1).then_some(())
    })
    .await;
    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    sqlx::query("update webhook_health set next_probe_at = now()")
        .execute(stage.pool())
        .await
        .unwrap();
    stage.process = stage.deployment.serve(&[]).await;
    stage.state_is("ok").await;
    let recovered = stage.notice(2, "webhook_recovered").await;
    assert_eq!(
        recovered["data"]["since"], failing["data"]["since"],
        "since it opened"
    );
    assert_ne!(recovered["id"], failing["id"]);
    assert!(stage.receiver.received("deaf").is_empty());
    let own: Vec<Received> = stage.receiver.received("hook");
    assert!(
        own.iter()
            .all(|one| one.header("x-webhook-event") == "goal_completion"),
        "not to itself"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_webhook_is_told_of_but_not_its_owners_switch() {
    let stage = stage(&[]).await;
    stage.patch(json!({"enabled": false})).await;
    stage.patch(json!({"enabled": true})).await;
    stage.receiver.answer("hook", |_| Answer::status(410));
    stage.goal("gone").await;
    let disabled = stage.state_is("disabled").await;
    assert_eq!(
        (&disabled["enabled"], &disabled["health"]["reason"]),
        (&json!(true), &json!("gone"))
    );
    let notice = stage.notice(1, "webhook_disabled").await;
    assert_eq!(notice["data"]["reason"], "gone");

    // The owner's wish is kept, whatever Bellwether did before.
    let off = stage.patch(json!({"enabled": false})).await;
    assert_eq!(off["health"]["next_probe_at"], Value::Null);
    assert_eq!(
        (&off["enabled"], &off["health"]["state"]),
        (&json!(false), &json!("disabled"))
    );
    stage.receiver.answer("hook", |_| Answer::status(200));
    let on = stage.patch(json!({"enabled": true})).await;
    assert_eq!(
        (&on["enabled"], &on["health"]["reason"]),
        (&json!(true), &Value::Null)
    );
    let before = stage.receiver.received("hook").len();
    stage.goal("again").await;
    stage.receiver.wait_for("hook", before + 1).await;
    stage.state_is("ok").await;
    assert_eq!(
        stage.receiver.received("watch").len(),
        1,
        "the owner's switch is no news"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_webhook_is_told_of_with_what_waited() {
    let stage = stage(&[]).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.goal("fails").await;
    stage.state_is("open").await;
    stage.notice(1, "webhook_failing").await;
    stage.goal("waits").await;
    eventually("it waits", TIMEOUT, || async {
        let webhook = stage.call(Method::GET, None).await;
        (webhook["health"]["waiting"] == 1).then_some(())
    })
    .await;
    sqlx::query("update webhook_health set since = now() - interval '5 days' where state = 'open'")
        .execute(stage.pool())
        .await
        .unwrap();
    let disabled = stage.state_is("disabled").await;
    assert_eq!(disabled["health"]["next_probe_at"], Value::Null, "{disabled}");
    let notice = stage.notice(2, "webhook_disabled").await;
    assert_eq!(notice["data"]["waiting"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_days_open_disable_also_when_nothing_waits() {
    let stage = stage(&[]).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.goal("fails").await;
    stage.state_is("open").await;
    stage.notice(1, "webhook_failing").await;
    assert_eq!(stage.call(Method::GET, None).await["health"]["waiting"], 0);
    sqlx::query("update webhook_health set since = now() - interval '5 days' where state = 'open'")
        .execute(stage.pool())
        .await
        .unwrap();
    let disabled = stage.state_is("disabled").await;
    assert_eq!(disabled["health"]["reason"], "open_too_long");
    let notice = stage.notice(2, "webhook_disabled").await;
    assert_eq!(notice["data"]["reason"], "open_too_long");
    stage
        .process
        .metric_is(
            "bellwether_webhooks_disabled_total{reason=\"open_too_long\"}",
            1.0,
        )
        .await;
    stage
        .process
        .metric_is("bellwether_endpoints{state=\"disabled\"}", 1.0)
        .await;
    // What it misses is recorded, and can be recovered.
    stage.goal("missed").await;
    eventually("it is cancelled", TIMEOUT, || async {
        let path = format!(
            "/api/sites/{SITE}/webhooks/{}/deliveries?status=cancelled",
            stage.subject
        );
        let (_, page) = stage
            .deployment
            .call(&stage.process, Method::GET, &path, None)
            .await;
        (page["data"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    stage.receiver.answer("hook", |_| Answer::status(200));
    let before = stage.receiver.received("hook").len();
    let on = stage.patch(json!({"enabled": true})).await;
    assert_eq!(on["health"]["state"], "new");
    let path = format!("/api/sites/{SITE}/webhooks/{}/recover", stage.subject);
    let body = json!({"since": "2020-01-01T00:00:00Z"});
    let (status, job) = stage
        .deployment
        .call(&stage.process, Method::POST, &path, Some(body))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let again = stage.receiver.wait_for("hook", before + 2).await;
    let mut names: Vec<String> = again[before..]
        .iter()
        .map(|one| one.json()["data"]["goal_name"].to_string())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["\"fails\"", "\"missed\""]);
    stage.state_is("ok").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_of_after_a_crash_and_once() {
    let mut stage = stage(&["--roles", "api"]).await;
    // As a deliverer wrote it that died at once.
    let health = format!(
        "update webhook_health set state = 'open', reason = 'timeouts', since = now()
         where webhook_id in (select id from webhooks where name = '{}')",
        "hook"
    );
    sqlx::query(&health).execute(stage.pool()).await.unwrap();
    let other = stage.deployment.serve(&[]).await;
    stage.process = stage.deployment.serve(&[]).await;
    let notice = stage.notice(1, "webhook_failing").await;
    assert_eq!(notice["data"]["reason"], "timeouts");
    eventually("nothing is left", TIMEOUT, || async {
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from health_notices) + (select count(*) from operator_notices)
                 + (select count(*) from parked)",
        )
        .fetch_one(stage.pool())
        .await
        .unwrap();
        (left == 0).then_some(())
    })
    .await;
    drop(other);
    assert_eq!(stage.receiver.received("watch").len(), 1);
    assert_eq!(stage.receiver.received("operator").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_hears_of_a_source_whose_records_are_rejected() {
    let stage = stage(&[]).await;
    // Tried again until it arrives.
    stage.receiver.answer("operator", |attempt| {
        Answer::status(if attempt == 1 { 500 } else { 200 })
    });
    for number in 0..12 {
        let source = &stage.deployment.source;
        kafka::publish(
            &stage.deployment.producer,
            source,
            SITE,
            format!("no JSON {number}"),
        )
        .await;
    }
    let told = stage.receiver.wait_for("operator", 2).await;
    assert_eq!((told[0].attempt(), told[1].attempt()), (1, 2));
    assert_eq!(told[0].body, told[1].body);
    let body = told[1].json();
    assert_eq!(
        (&body["event"], &body["data"]["source"]),
        (&json!("source_rejecting"), &json!(stage.deployment.source))
    );
    assert!(body["data"]["rejected"].as_u64().unwrap() >= 10, "{body}");
    assert_eq!(told[1].header("x-webhook-signature"), signature(&told[1]));
}

#[tokio::test]
async fn an_operators_webhook_without_a_secret_is_refused() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("operator.webhook_url", "https://hooks.example.com/a-secret-path");
    let said = deployment.refused(&[]).await;
    assert!(
        said.contains("operator.webhook_secret") && !said.contains("a-secret-path"),
        "{said}"
    );
}

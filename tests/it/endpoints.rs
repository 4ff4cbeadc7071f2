//! Endpoints whose answer is neither success nor plain failure, and deliveries whose webhook
//! changes while they wait.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::Headers as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::kafka::{self, Raw};
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "example.com";

async fn goal(deployment: &Deployment, name: &str) {
    deployment
        .publish(json!({"site_id": SITE, "type": "goal", "name": name}))
        .await;
}

/// Status, number of attempts and reason of the only delivery of a goal.
type Row = (String, i32, Option<String>);

async fn delivery_is(deployment: &Deployment, goal: &str, wanted: (&str, i32, Option<&str>)) {
    let wanted: Row = (wanted.0.to_owned(), wanted.1, wanted.2.map(str::to_owned));
    eventually(&format!("{goal} is {wanted:?}"), TIMEOUT, || async {
        let rows: Vec<Row> = sqlx::query_as(
            "select status, attempts, failure_reason from deliveries
             where convert_from(payload, 'utf8')::json -> 'data' ->> 'goal_name' = $1",
        )
        .bind(goal)
        .fetch_all(&deployment.database.pool)
        .await
        .unwrap();
        (rows == [wanted.clone()]).then_some(())
    })
    .await;
}

async fn webhook(deployment: &Deployment, process: &Process, id: &str) -> Value {
    let path = format!("/api/sites/{SITE}/webhooks/{id}");
    let (status, answer) = deployment.call(process, Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn change(deployment: &Deployment, process: &Process, id: &str, method: Method, body: Option<Value>) {
    let path = format!("/api/sites/{SITE}/webhooks/{id}");
    let (status, answer) = deployment.call(process, method, &path, body).await;
    assert!(status.is_success(), "{status} {answer}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_disables_its_webhook_at_once() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| Answer::status(410));
    let id = deployment
        .goal_webhook(&process, SITE, &receiver.url("hook"))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    delivery_is(&deployment, "first", ("failed", 1, Some("gone"))).await;
    let disabled = eventually("the webhook is disabled", TIMEOUT, || async {
        let answer = webhook(&deployment, &process, &id).await;
        (answer["health"]["state"] == "disabled").then_some(answer)
    })
    .await;
    assert_eq!(disabled["health"]["reason"], "gone");
    process
        .metric_is("bellwether_webhooks_disabled_total{reason=\"gone\"}", 1.0)
        .await;
    let letters = kafka::read_all(&deployment.topic("dead-letter"));
    assert_eq!(kafka::header(&letters[0], "bw-attempt"), Some("1"));
    assert!(kafka::header(&letters[0], "bw-first-attempt-at-ms").is_some());
    // Deliveries that it misses from now on are recorded unsent, so that they can be recovered.
    deployment.registry_is_read(&process).await;
    for name in ["second", "third", "fourth"] {
        goal(&deployment, name).await;
    }
    let missed = eventually("all are in its history", TIMEOUT, || async {
        let all = history(&deployment, &process, &id).await;
        (all.len() == 4).then_some(all)
    })
    .await;
    let cancelled = ("cancelled", 0, "disabled");
    let expected = [cancelled, cancelled, cancelled, ("failed", 1, "gone")];
    for (one, (status, attempts, reason)) in missed.iter().zip(expected) {
        assert_eq!(
            (&one["status"], &one["attempts"], &one["failure_reason"]),
            (&json!(status), &json!(attempts), &json!(reason)),
            "{one}"
        );
    }
    assert_eq!(receiver.received("hook").len(), 1);
}

/// The deliveries of a webhook, newest first.
async fn history(deployment: &Deployment, process: &Process, id: &str) -> Vec<Value> {
    let path = format!("/api/sites/{SITE}/webhooks/{id}/deliveries");
    let (status, answer) = deployment.call(process, Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_webhook_that_its_owner_switched_off_misses_nothing() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let id = deployment
        .goal_webhook(&process, SITE, &receiver.url("hook"))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    deployment
        .goal_webhook(&process, SITE, &receiver.url("other"))
        .await;
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    receiver.wait_for("hook", 1).await;
    change(
        &deployment,
        &process,
        &id,
        Method::PATCH,
        Some(json!({"enabled": false})),
    )
    .await;
    deployment.registry_is_read(&process).await;
    for name in ["second", "third"] {
        goal(&deployment, name).await;
    }
    // The site's other webhook received both, so the detector decided on them.
    receiver.wait_for("other", 3).await;
    let all = "bellwether_deliveries_total{event=\"goal_completion\",status=\"delivered\"}";
    process.metric_is(all, 4.0).await;
    let history = history(&deployment, &process, &id).await;
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(receiver.received("hook").len(), 1);
}

#[tokio::test]
async fn an_edited_url_holds_for_what_is_queued() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    // Leaves time to change the URL, and for the change to be read.
    receiver.answer("old", |_| Answer::status(503).with("retry-after", "3"));
    let id = deployment
        .goal_webhook(&process, SITE, &receiver.url("old"))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    delivery_is(&deployment, "first", ("retrying", 1, None)).await;
    let new = json!({"url": receiver.url("new")});
    change(&deployment, &process, &id, Method::PATCH, Some(new)).await;
    delivery_is(&deployment, "first", ("delivered", 2, None)).await;
    assert_eq!(receiver.received("old").len(), 1);
    assert_eq!(receiver.received("new")[0].attempt(), 2);
}

#[tokio::test]
async fn a_dead_letter_published_again_has_the_last_attempts_status() {
    let deployment = Deployment::create(&[
        ("webhooks.timeout", "1s"),
        ("webhooks.connect_timeout", "1s"),
        ("webhooks.retry_schedules", "{default=[\"1s\"]}"),
    ])
    .await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |attempt| {
        let status = Answer::status(503);
        if attempt == 1 {
            status
        } else {
            status.after(Duration::from_secs(3))
        }
    });
    deployment
        .goal_webhook(&process, SITE, &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    delivery_is(&deployment, "first", ("failed", 2, Some("exhausted"))).await;
    let code: Option<i32> = sqlx::query_scalar("select response_code from deliveries")
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
    assert_eq!(code, None);
    process.metric_is("bellwether_dead_letters_total", 1.0).await;
    // As after a crash between outcome and dead letter.
    publish_again(&deployment, &deployment.topic("retry.1s")).await;
    process.metric_is("bellwether_dead_letters_total", 2.0).await;
    let letters = kafka::read_all(&deployment.topic("dead-letter"));
    let headers_of = |index: usize| -> Vec<(String, Vec<u8>)> {
        letters[index]
            .headers()
            .unwrap()
            .iter()
            .filter(|one| one.key != "bw-original-offset")
            .map(|one| (one.key.to_owned(), one.value.unwrap().to_vec()))
            .collect()
    };
    assert_eq!(headers_of(0), headers_of(1));
    assert_eq!(kafka::header(&letters[0], "bw-last-status"), None);
    assert_eq!(kafka::header(&letters[0], "bw-attempt"), Some("2"));
}

/// Publishes a topic's first record once more, as a producer does that missed its
/// acknowledgement.
async fn publish_again(deployment: &Deployment, topic: &str) {
    let first = kafka::read_all(topic).remove(0);
    let headers = first.headers().unwrap();
    Raw {
        topic: topic.to_owned(),
        partition: first.partition(),
        key: first.key().map(<[u8]>::to_vec),
        body: first.payload().map(<[u8]>::to_vec),
        headers: headers
            .iter()
            .map(|one| (one.key.to_owned(), one.value.unwrap().to_vec()))
            .collect(),
    }
    .publish(&deployment.producer)
    .await;
}

#[tokio::test]
async fn a_410_disables_after_a_crash_too_unless_its_owner_enabled() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| Answer::status(410));
    let id = deployment
        .goal_webhook(&process, SITE, &receiver.url("hook"))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    let disabled = "bellwether_webhooks_disabled_total{reason=\"gone\"}";
    process.metric_is(disabled, 1.0).await;
    // As after a crash between outcome and disabling: the record is read again.
    sqlx::query("update webhooks set disabled_at = null, disabled_reason = null")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
    let topic = deployment.topic("deliveries");
    publish_again(&deployment, &topic).await;
    process.metric_is(disabled, 2.0).await;
    // The owner has enabled it since: a 410 that was recorded before does not count.
    change(
        &deployment,
        &process,
        &id,
        Method::PATCH,
        Some(json!({"enabled": true})),
    )
    .await;
    publish_again(&deployment, &topic).await;
    process.metric_is("bellwether_dead_letters_total", 3.0).await;
    assert_eq!(process.metric(disabled).await, 2.0);
    assert_ne!(
        webhook(&deployment, &process, &id).await["health"]["state"],
        "disabled"
    );
    assert_eq!(receiver.received("hook").len(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let elsewhere = receiver.url("elsewhere");
    receiver.answer("hook", move |attempt| {
        if attempt < 3 {
            Answer::status(if attempt == 1 { 302 } else { 307 }).with("location", &elsewhere)
        } else {
            Answer::status(200)
        }
    });
    deployment
        .goal_webhook(&process, SITE, &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    delivery_is(&deployment, "first", ("delivered", 3, None)).await;
    let results: Vec<(String, Option<i32>)> =
        sqlx::query_as("select result, status_code from delivery_attempts order by attempt")
            .fetch_all(&deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(
        results,
        [
            ("3xx".to_owned(), Some(302)),
            ("3xx".to_owned(), Some(307)),
            ("2xx".to_owned(), Some(200))
        ]
    );
    assert!(receiver.received("elsewhere").is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused() {
    let deployment = Deployment::create(&[("webhooks.allow_networks", "[]")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let url = receiver.url("hook").replace("127.0.0.1", "localhost");
    deployment.goal_webhook(&process, SITE, &url).await;
    deployment.registry_is_read(&process).await;
    goal(&deployment, "first").await;
    eventually("an attempt is refused", TIMEOUT, || async {
        let rows: Vec<(String, String)> = sqlx::query_as("select result, fault from delivery_attempts")
            .fetch_all(&deployment.database.pool)
            .await
            .unwrap();
        (rows.first()? == &("address_refused".to_owned(), "endpoint".to_owned())).then_some(())
    })
    .await;
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn what_waits_for_a_deleted_or_disabled_webhook_is_cancelled() {
    for (method, body, reason) in [
        (Method::DELETE, None, "deleted"),
        (Method::PATCH, Some(json!({"enabled": false})), "disabled"),
    ] {
        let deployment = Deployment::create(&[]).await;
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        receiver.answer("hook", |_| Answer::status(500));
        let id = deployment
            .goal_webhook(&process, SITE, &receiver.url("hook"))
            .await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        deployment.registry_is_read(&process).await;
        goal(&deployment, "first").await;
        delivery_is(&deployment, "first", ("retrying", 2, None)).await;
        change(&deployment, &process, &id, method, body).await;
        delivery_is(&deployment, "first", ("cancelled", 2, Some(reason))).await;
        // The tier's record is read and complete, and nothing is sent for it.
        let series = format!(
            "bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{}\"}}",
            deployment.topic("retry.2s")
        );
        process
            .metric_is("bellwether_retries_published_total{tier=\"2s\"}", 1.0)
            .await;
        process.metric_is(&series, 0.0).await;
        assert_eq!(receiver.received("hook").len(), 2);
    }
}

#[tokio::test]
async fn an_attempt_that_ran_while_it_was_cancelled_is_recorded() {
    for (status, wanted) in [
        (200, ("delivered", 2, None)),
        (500, ("cancelled", 2, Some("deleted"))),
    ] {
        let deployment = Deployment::create(&[]).await;
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        receiver.answer("hook", move |attempt| {
            if attempt == 1 {
                Answer::status(500)
            } else {
                Answer::status(status).after(Duration::from_secs(2))
            }
        });
        let id = deployment
            .goal_webhook(&process, SITE, &receiver.url("hook"))
            .await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        deployment.registry_is_read(&process).await;
        goal(&deployment, "first").await;
        receiver.wait_for("hook", 2).await;
        change(&deployment, &process, &id, Method::DELETE, None).await;
        delivery_is(&deployment, "first", wanted).await;
        let (attempts, retries): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where attempt = 2 and retry_at is not null) from delivery_attempts",
        )
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
        assert_eq!((attempts, retries), (2, 0), "{status}");
        // No record for a third attempt was published.
        assert_eq!(
            process
                .metric("bellwether_retries_published_total{tier=\"2s\"}")
                .await,
            0.0
        );
        assert!(kafka::read_all(&deployment.topic("dead-letter")).is_empty());
    }
}

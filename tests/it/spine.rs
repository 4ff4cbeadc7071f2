//! From an event to a recorded outcome.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

#[tokio::test]
async fn a_goal_event_becomes_a_signed_recorded_webhook() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let webhook = deployment
        .goal_webhook(&process, "example.com", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;

    deployment.publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup", "visitor_id": "v1", "path": "/thanks?x=1"})).await;

    let received = receiver.wait_for("hook", 1).await;
    let body = received[0].json();
    assert_eq!(body["event"], "goal_completion");
    assert_eq!(
        body["data"],
        json!({"goal_name": "Signup", "visitor_count": 1, "path": "/thanks"})
    );
    assert_eq!(received[0].header("webhook-id"), body["id"]);
    let (id, delivery) = (
        webhook["id"].as_str().unwrap(),
        received[0].header("x-webhook-delivery").to_owned(),
    );
    let path = format!("/api/sites/example.com/webhooks/{id}/deliveries/{delivery}");
    let recorded = eventually("the outcome is recorded", Duration::from_secs(10), || async {
        let (status, answer) = deployment.call(&process, Method::GET, &path, None).await;
        (status == StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(recorded["status"], "delivered");
    assert_eq!(recorded["attempts"], 1);
    assert_eq!(recorded["payload"], body);
    assert_eq!(recorded["attempt_log"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn three_failures_are_retried_after_1_2_and_4_s_and_recorded() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |attempt| {
        Answer::status(if attempt < 4 { 500 } else { 200 })
    });
    let webhook = deployment
        .goal_webhook(&process, "example.com", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;

    let received = receiver.wait_for("hook", 4).await;
    assert_eq!(
        received.iter().map(|one| one.attempt()).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    for (pair, seconds) in received.windows(2).zip([1, 2, 4]) {
        let waited = pair[1].at - pair[0].at;
        // Never early. How late depends on the machine; the benchmark measures it.
        assert!(waited >= Duration::from_secs(seconds), "{waited:?}");
        assert!(waited < Duration::from_secs(seconds + 10), "{waited:?}");
    }
    let id = webhook["id"].as_str().unwrap();
    let delivery = received[0].header("x-webhook-delivery");
    let path = format!("/api/sites/example.com/webhooks/{id}/deliveries/{delivery}");
    let recorded = eventually("delivered", Duration::from_secs(10), || async {
        let (_, answer) = deployment.call(&process, Method::GET, &path, None).await;
        (answer["status"] == "delivered").then_some(answer)
    })
    .await;
    let log = recorded["attempt_log"].as_array().unwrap();
    assert_eq!(
        log.iter()
            .map(|one| one["response_code"].as_i64().unwrap())
            .collect::<Vec<_>>(),
        [500, 500, 500, 200]
    );
}

#[tokio::test]
async fn a_delivery_that_fails_four_times_gets_a_dead_letter() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| Answer::status(503));
    let webhook = deployment
        .goal_webhook(&process, "example.com", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;

    let received = receiver.wait_for("hook", 4).await;
    let dead_letter = deployment.topic("dead-letter");
    let letters = eventually("a dead letter", Duration::from_secs(10), || async {
        let letters = kafka::read_all(&dead_letter);
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1);
    assert_eq!(kafka::header(&letters[0], "bw-reason"), Some("exhausted"));
    assert_eq!(kafka::header(&letters[0], "bw-last-status"), Some("503"));
    assert_eq!(kafka::header(&letters[0], "bw-attempt"), Some("4"));
    assert!(kafka::header(&letters[0], "bw-first-attempt-at-ms").is_some());
    assert_eq!(
        kafka::header(&letters[0], "bw-delivery-id"),
        Some(received[0].header("x-webhook-delivery"))
    );
    assert_eq!(
        rdkafka::Message::key(&letters[0]),
        Some(webhook["id"].as_str().unwrap().as_bytes())
    );
    assert_eq!(
        rdkafka::Message::payload(&letters[0]),
        Some(received[0].body.as_ref())
    );
    let row = sqlx::query_as::<_, (String, i32, Option<String>)>(
        "select status, attempts, failure_reason from deliveries",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    assert_eq!(row, ("failed".to_owned(), 4, Some("exhausted".to_owned())));
    assert_eq!(receiver.received("hook").len(), 4);
}

#[tokio::test]
async fn outcomes_that_come_together_are_recorded_together() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let body = json!({"name": "goals", "url": receiver.url("hook"), "events": ["goal_completion"],
                      "rate_limit_per_second": null, "max_concurrency": 100});
    deployment.create_webhook(&process, "example.com", body).await;
    deployment.registry_is_read(&process).await;
    let goals = (0..200).map(|n| {
        let name = format!("Signup {n}");
        deployment.publish(json!({"site_id": "example.com", "type": "goal", "name": name}))
    });
    futures_util::future::join_all(goals).await;
    let all = "bellwether_deliveries_total{event=\"goal_completion\",status=\"delivered\"}";
    process.metric_is(all, 200.0).await;
    // Rows that one transaction wrote have its number.
    let (rows, commits): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct xmin::text) from deliveries")
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(rows, 200);
    assert!(commits <= 100, "{commits} commits of {rows} outcomes");
}

#[tokio::test]
async fn a_retry_topic_that_is_no_longer_configured_is_emptied() {
    let schedule = |delay: &str| format!("{{default=[\"{delay}\"]}}");
    let mut deployment = Deployment::create(&[("webhooks.retry_schedules", &schedule("3s"))]).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |attempt| {
        Answer::status(if attempt == 1 { 500 } else { 200 })
    });
    deployment
        .goal_webhook(&process, "example.com", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;
    process
        .metric_is("bellwether_retries_published_total{tier=\"3s\"}", 1.0)
        .await;
    process.terminate();
    assert!(process.ended(Duration::from_secs(60)).await.success());
    deployment.set("webhooks.retry_schedules", &schedule("1s"));
    assert!(deployment.run(&["topics", "create"]).status.success());
    process = deployment.serve(&[]).await;
    assert_eq!(receiver.wait_for("hook", 2).await[1].attempt(), 2);
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{}\"}}",
        deployment.topic("retry.3s")
    );
    process.metric_is(&lag, 0.0).await;
}

//! The limit on requests in flight, and the deliveries that wait for a permit.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::receiver::{Answer, Receiver};

/// Duration of the one request that may be in flight: the delivery behind it is changed meanwhile.
const SLOW: Duration = Duration::from_secs(4);

struct Stage {
    deployment: Deployment,
    process: Process,
    receiver: Receiver,
    webhook: String,
}

/// One request is in flight, to `/slow`, and a delivery to `/old` waits for it to end.
async fn stage() -> Stage {
    let deployment = Deployment::create(&[("webhooks.max_in_flight", "1")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("slow", |_| Answer::status(200).after(SLOW));
    deployment
        .goal_webhook(&process, "slow.example", &receiver.url("slow"))
        .await;
    let webhook = deployment
        .goal_webhook(&process, "waits.example", &receiver.url("old"))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    deployment.registry_is_read(&process).await;
    for (site, path) in [("slow.example", Some("slow")), ("waits.example", None)] {
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": "Signup"}))
            .await;
        if let Some(path) = path {
            receiver.wait_for(path, 1).await;
        }
    }
    eventually("one waits", Duration::from_secs(10), || async {
        (process.metric("bellwether_queued").await >= 1.0).then_some(())
    })
    .await;
    Stage {
        deployment,
        process,
        receiver,
        webhook,
    }
}

impl Stage {
    async fn change(&self, method: Method, body: Option<Value>) {
        let path = format!("/api/sites/waits.example/webhooks/{}", self.webhook);
        let (status, answer) = self.deployment.call(&self.process, method, &path, body).await;
        assert!(status.is_success(), "{status} {answer}");
        self.deployment.registry_is_read(&self.process).await;
        // The test is about a change before the permit is free.
        assert!(
            self.receiver.received("slow")[0].at.elapsed() < SLOW,
            "the machine is too slow for this test"
        );
    }
}

#[tokio::test]
async fn a_delivery_waits_for_a_permit_and_takes_the_latest_url() {
    let stage = stage().await;
    let new = json!({"url": stage.receiver.url("new")});
    stage.change(Method::PATCH, Some(new)).await;
    let received = stage.receiver.wait_for("new", 1).await;
    assert!(stage.receiver.received("old").is_empty());
    let first = &stage.receiver.received("slow")[0];
    assert!(received[0].at - first.at >= SLOW);
}

#[tokio::test]
async fn a_waiting_delivery_of_a_deleted_webhook_is_cancelled() {
    let stage = stage().await;
    stage.change(Method::DELETE, None).await;
    eventually("it is cancelled", Duration::from_secs(30), || async {
        let rows: Vec<(String, i32, Option<String>)> = sqlx::query_as(
            "select status, attempts, failure_reason from deliveries where site_id = 'waits.example'",
        )
        .fetch_all(&stage.deployment.database.pool)
        .await
        .unwrap();
        (rows == [("cancelled".to_owned(), 0, Some("deleted".to_owned()))]).then_some(())
    })
    .await;
    assert!(stage.receiver.received("old").is_empty());
}

#[tokio::test]
async fn a_waiting_delivery_recorded_meanwhile_is_not_sent() {
    let stage = stage().await;
    // Another owner of the partition records it, as one does that had the partition before.
    let delivered = "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
             created_at, inserted_at, updated_at)
         values ($1, $1, $2, 'waits.example', 'goal_completion', 'event', 'delivered', 1, now(), now(), now())";
    let records = crate::support::kafka::read_all(&stage.deployment.topic("deliveries"));
    let record = records
        .iter()
        .find(|one| rdkafka::Message::key(*one) == Some(stage.webhook.as_bytes()))
        .unwrap();
    let delivery: bellwether::domain::id::DeliveryId =
        crate::support::kafka::header(record, "bw-delivery-id")
            .unwrap()
            .parse()
            .unwrap();
    let webhook: bellwether::domain::id::WebhookId = stage.webhook.parse().unwrap();
    sqlx::query(delivered)
        .bind(delivery.uuid())
        .bind(webhook.uuid())
        .execute(&stage.deployment.database.pool)
        .await
        .unwrap();
    // The gauge has shown both as open until then.
    let sent = "bellwether_deliveries_total{event=\"goal_completion\",status=\"delivered\"}";
    stage.process.metric_is(sent, 1.0).await;
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"deliver\",topic=\"{}\"}}",
        stage.deployment.topic("deliveries")
    );
    stage.process.metric_is(&lag, 0.0).await;
    assert!(stage.receiver.received("old").is_empty());
}

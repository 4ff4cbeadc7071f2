//! A source that falls silent: the operator hears of it, by metric, log line, notice and webhook.

use std::time::Duration;

use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);
/// So many sites make a silence the source's own.
const SITES: u32 = 20;
/// As many in an hour that 14 of them are expected in the minute since the last.
const RECORDS: u32 = 1_000;

fn site(n: u32) -> String {
    format!("{n}.example")
}

/// Publishes visits of all sites whose records were written two minutes ago.
async fn publish_the_last_records(deployment: &Deployment) {
    let then = chrono::Utc::now().timestamp_millis() - 120_000;
    let mut waiting = Vec::new();
    for n in 0..RECORDS {
        let site_id = site(n % SITES);
        let event =
            json!({"site_id": site_id, "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"});
        let value = event.to_string();
        let record = FutureRecord::to(&deployment.source)
            .key(&site_id)
            .payload(&value)
            .timestamp(then);
        let sent = deployment.producer.send_result(record);
        waiting.push(sent.map_err(|(error, _)| error).unwrap());
    }
    for one in waiting {
        one.await.unwrap().map_err(|(error, _)| error).unwrap();
    }
}

#[tokio::test]
async fn a_source_that_falls_silent_is_told_to_the_operator() {
    let receiver = Receiver::start().await;
    let deployment = Deployment::create(&[
        ("operator.webhook_url", &receiver.url("operator")),
        ("operator.webhook_secret", "the-operators-own-secret"),
    ])
    .await;
    let mut process = deployment.serve(&[]).await;
    for n in 0..SITES {
        let spike = json!({"name": "spike", "url": receiver.url("hook"), "events": ["visitor_spike"],
                           "triggers": {"visitor_spike": {"threshold": 1_000}}});
        deployment.create_webhook(&process, &site(n), spike).await;
    }
    deployment.registry_is_read(&process).await;
    publish_the_last_records(&deployment).await;
    process.metric_is("bellwether_visitors", f64::from(RECORDS)).await;
    let silent = format!("bellwether_source_silent{{source=\"{}\"}}", deployment.source);
    assert_eq!(process.metric(&silent).await, 0.0, "it has just read them");
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());

    // Who starts now finds that the last minute brought nothing.
    let process = deployment.serve(&[]).await;
    process.metric_is(&silent, 1.0).await;
    let text = format!("{} has delivered no record of any site", deployment.source);
    let log = process.log_text();
    let lines = log
        .lines()
        .filter(|line| line.contains("\"warn\"") && line.contains(&text));
    assert_eq!(lines.count(), 1);
    eventually("the notice on readyz", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        assert!(status.is_success(), "{answer}");
        answer["notices"].to_string().contains(&text).then_some(())
    })
    .await;
    let told = receiver.wait_for("operator", 1).await.remove(0).json();
    assert_eq!(
        (&told["event"], &told["data"]["source"]),
        (&json!("source_silent"), &json!(deployment.source))
    );

    deployment
        .publish(json!({"site_id": site(0), "type": "pageview", "visitor_id": "back", "path": "/"}))
        .await;
    process.metric_is(&silent, 0.0).await;
    assert!(process.log_text().contains("the source delivers records again"));
}

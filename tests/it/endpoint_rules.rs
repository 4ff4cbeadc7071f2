//! Rules for endpoints, kept by the whole service: when they are called again, and if at all.

use serde_json::json;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::goal_stage::GoalStage;
use crate::support::receiver::{Answer, Receiver};

/// Milliseconds from the end of the first attempt to the start of the second one.
async fn waited_ms(stage: &GoalStage) -> i64 {
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 1)
        .await;
    stage
        .count(
            "select (extract(epoch from s.started_at - f.ended_at) * 1000)::bigint
             from delivery_attempts f join delivery_attempts s on f.attempt = 1 and s.attempt = 2",
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_with_a_fraction_is_waited_for_to_its_end() {
    let stage = GoalStage::start(&[], json!({})).await;
    stage.receiver.answer("hook", |attempt| match attempt {
        1 => Answer::status(503).with("retry-after", "1.5"),
        _ => Answer::status(200),
    });
    stage.goal("Signup").await;
    let waited_ms = waited_ms(&stage).await;
    assert!((1_500..4_000).contains(&waited_ms), "{waited_ms}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_date_is_read_by_the_answers_own_clock() {
    let stage = GoalStage::start(&[], json!({})).await;
    // An endpoint whose clock is years behind.
    stage.receiver.answer("hook", |attempt| match attempt {
        1 => Answer::status(429)
            .with("date", "Tue, 01 Jan 2019 10:00:00 GMT")
            .with("retry-after", "Tue, 01 Jan 2019 10:00:03 GMT"),
        _ => Answer::status(200),
    });
    stage.goal("Signup").await;
    let waited_ms = waited_ms(&stage).await;
    assert!((3_000..6_000).contains(&waited_ms), "{waited_ms}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_http_url_is_not_called_once_http_is_not_allowed() {
    let mut deployment = Deployment::create(&[]).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let url = receiver.url("hook");
    deployment.goal_webhook(&process, "example.com", &url).await;
    process.terminate();
    let ended = process.ended(std::time::Duration::from_secs(60)).await;
    assert!(ended.success(), "{ended}");
    deployment.set("webhooks.allow_http", "false");
    let process = deployment.serve(&[]).await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;
    let refused = "bellwether_attempts_total{fault=\"endpoint\",kind=\"first\",result=\"address_refused\"}";
    process.metric_is(refused, 1.0).await;
    assert!(receiver.all().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_the_environment_is_not_used() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = proxy.local_addr().unwrap();
    let mut deployment = Deployment::create(&[]).await;
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let exports: Vec<String> = names.map(|name| format!("{name}=http://{address}")).to_vec();
    let words = format!("unset NO_PROXY no_proxy; export {}; exec", exports.join(" "));
    deployment.set_launcher(&words);
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "example.com").await;
    // By TLS too: it fails at an endpoint without, which hears of it.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let url = format!("https://{}/hook", plain.local_addr().unwrap());
    deployment.goal_webhook(&process, "example.com", &url).await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;
    receiver.wait_for("hook", 1).await;
    let patience = std::time::Duration::from_secs(60);
    eventually("it is called by TLS", patience, || async { plain.accept().ok() }).await;
    let called = proxy.accept().map(|(_, from)| from);
    assert!(called.is_err(), "the proxy was called: {called:?}");
}

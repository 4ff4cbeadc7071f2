//! The end of a process that is told to stop: unready at once, and in order for requests in flight.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn readyz_says_no_while_the_api_answers_for_five_seconds_more() {
    let deployment = Deployment::create(&[]).await;
    let mut process = deployment.serve(&[]).await;
    process.terminate();
    let told = Instant::now();
    let answer = eventually("readyz says no", Duration::from_secs(2), || async {
        let (status, answer) = process.readyz().await?;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    assert_eq!(answer["ready"], false);
    assert_eq!(answer["checks"]["stopping"], "the process is stopping");
    // A client that has not noticed yet is still served, changes included.
    let answered = AtomicU32::new(0);
    eventually("four seconds have passed", TIMEOUT, || async {
        let site = format!("/api/sites/{}.example", answered.fetch_add(1, Ordering::Relaxed));
        let (status, _) = deployment
            .call(&process, Method::PUT, &site, Some(json!({})))
            .await;
        assert_eq!(status, StatusCode::CREATED);
        (told.elapsed() >= Duration::from_secs(4)).then_some(())
    })
    .await;
    assert!(process.ended(TIMEOUT).await.success());
    let took = told.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let log = process.log_text();
    assert!(
        log.contains("told to stop") && log.contains("\"stopped\""),
        "{log}"
    );
}

#[tokio::test]
async fn a_hang_up_stops_the_process_in_order() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("telemetry.log", "info");
    let mut process = deployment.serve(&["--roles", "detect"]).await;
    process.signal("HUP");
    assert!(process.ended(TIMEOUT).await.success());
    let log = process.log_text();
    assert!(log.contains("SIGHUP") && log.contains("\"stopped\""), "{log}");
}

#[tokio::test]
async fn requests_in_flight_are_recorded_before_the_process_ends() {
    let deployment = Deployment::create(&[]).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("slow", |_| Answer::status(200).after(Duration::from_secs(7)));
    deployment
        .goal_webhook(&process, "a.example", &receiver.url("slow"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    receiver.wait_for("slow", 1).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    let recorded: (String, i32) = sqlx::query_as("select status, attempts from deliveries")
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
    assert_eq!(recorded, ("delivered".to_owned(), 1));
    assert_eq!(receiver.all().len(), 1);
}

#[tokio::test]
async fn a_start_that_waits_for_kafka_stops_when_it_is_told_to() {
    let mut deployment = Deployment::create(&[]).await;
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    deployment.set("kafka.brokers", &silent.local_addr().unwrap().to_string());
    let mut process = deployment.spawn(&[]);
    eventually("all but Kafka is there", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        (answer["checks"]["keys"] == "ok").then_some(())
    })
    .await;
    let _asking = silent.accept().await.unwrap();
    process.terminate();
    let told = Instant::now();
    assert!(process.ended(TIMEOUT).await.success(), "{}", process.log_text());
    let took = told.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

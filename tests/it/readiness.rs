//! `/readyz` while Kafka or Postgres is away: it says so within five seconds, and within five after
//! that it is back.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;

/// Longest time until an outage, or its end, is seen.
const LIMIT: Duration = Duration::from_secs(5);
/// A bound that only decides how long a failure takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Time until `check` is as wanted, and the reason that it gives.
async fn time_until(process: &Process, check: &str, ready: bool) -> (Duration, String) {
    let begun = Instant::now();
    let what = format!("{check} is ready: {ready}");
    let reason = eventually(&what, TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let reason = answer["checks"][check].as_str()?.to_owned();
        assert!(
            reason == "ok" || status != StatusCode::OK,
            "ready though {reason}"
        );
        ((reason == "ok") == ready).then_some(reason)
    })
    .await;
    (begun.elapsed(), reason)
}

/// Begins an outage twice, so that also the connections made after the first are watched.
async fn outages_are_seen(process: &Process, check: &str, wire: &Wire, begin: impl Fn(&Wire), cause: &str) {
    for round in 0..2 {
        begin(wire);
        let (took, reason) = time_until(process, check, false).await;
        assert!(
            took <= LIMIT,
            "round {round}: away for {took:?} before it said {reason}"
        );
        assert!(reason.contains(&wire.address()), "{reason}");
        assert!(reason.contains(cause), "{reason}");
        wire.mend();
        let (took, _) = time_until(process, check, true).await;
        assert!(
            took <= LIMIT,
            "round {round}: back for {took:?} before it said so"
        );
        // What fell silent for longer than a session has to join its group again.
        eventually("it is ready", TIMEOUT, || async {
            let (status, _) = process.readyz().await?;
            (status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

async fn behind_postgres_wire() -> (Wire, Deployment, Process) {
    let wire = Wire::to_postgres().await;
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("postgres.url", &wire.url(&deployment.database.url));
    let process = deployment.serve(&[]).await;
    (wire, deployment, process)
}

async fn behind_kafka_wire() -> (Wire, Deployment, Process) {
    let wire = Wire::to_kafka().await;
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.brokers", &wire.address());
    let process = deployment.serve(&[]).await;
    (wire, deployment, process)
}

#[tokio::test]
async fn a_cut_to_postgres_is_seen_within_five_seconds() {
    let (wire, _deployment, process) = behind_postgres_wire().await;
    outages_are_seen(&process, "postgres", &wire, Wire::cut, "").await;
}

#[tokio::test]
async fn a_silent_postgres_is_seen_within_five_seconds() {
    let (wire, _deployment, process) = behind_postgres_wire().await;
    outages_are_seen(&process, "postgres", &wire, Wire::silence, "no answer").await;
}

#[tokio::test]
async fn a_cut_to_kafka_is_seen_within_five_seconds() {
    let (wire, _deployment, process) = behind_kafka_wire().await;
    outages_are_seen(&process, "kafka", &wire, Wire::cut, "").await;
}

#[tokio::test]
async fn a_silent_kafka_is_seen_within_five_seconds() {
    let (wire, _deployment, process) = behind_kafka_wire().await;
    outages_are_seen(&process, "kafka", &wire, Wire::silence, "no answer").await;
}

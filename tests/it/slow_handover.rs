//! Planned hand-overs while each statement of Postgres takes long: nothing is repeated.
//!
//! `HANDOVER_LATE_MS=1500 make test ARGS="--test it slow_handover -- --nocapture"` lets a statement
//! take half a second to one and a half.

use std::time::Duration;

use crate::support::app::{Deployment, Process};
use crate::support::faults::Wire;
use crate::support::load::{Endpoint, Load};
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(120);
const PACE: Duration = Duration::from_millis(50);

/// Endpoints that take so long that every hand-over meets requests under way.
const ENDPOINTS: [Endpoint; 2] = [
    Endpoint {
        name: "slow",
        fails: 0,
        delay: Duration::from_secs(1),
    },
    Endpoint {
        name: "flaky",
        fails: 1,
        delay: Duration::from_millis(500),
    },
];

async fn holds(process: &Process, partitions: f64) {
    let series = "bellwether_consumer_partitions{group=\"deliver\"}";
    process.metric_is(series, partitions).await;
}

/// Starts a process that has a wire of its own to Postgres, whose answers are not yet late.
async fn serve(deployment: &mut Deployment) -> (Wire, Process) {
    let wire = Wire::to_postgres().await;
    let url = wire.url(&deployment.database.url);
    deployment.set("postgres.url", &url);
    let process = deployment.serve(&[]).await;
    (wire, process)
}

/// Waits until requests are under way whose outcomes are written slowly.
async fn under_load(load: &Load, receiver: &Receiver) {
    let before = receiver.all().len();
    load.goes_on(40).await;
    crate::support::eventually("requests are under way", TIMEOUT, || async {
        (receiver.all().len() > before + 40).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_overs_with_a_slow_postgres_repeat_nothing() {
    let most: u64 = std::env::var("HANDOVER_LATE_MS").map_or(600, |text| text.parse().unwrap());
    let slow = |wire: &Wire| {
        wire.delay_answers(Duration::from_millis(most / 3), Duration::from_millis(most));
    };
    let mut deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let (first_wire, mut first) = serve(&mut deployment).await;
    let load = Load::begin(&deployment, &first, &receiver, &ENDPOINTS, PACE).await;
    slow(&first_wire);
    under_load(&load, &receiver).await;
    // One joins: both have half.
    let (second_wire, mut second) = serve(&mut deployment).await;
    holds(&second, 2.0).await;
    slow(&second_wire);
    under_load(&load, &receiver).await;
    // One goes: the other has all.
    first.terminate();
    holds(&second, 4.0).await;
    assert!(first.ended(TIMEOUT).await.success());
    under_load(&load, &receiver).await;
    // The last one goes, and another comes.
    second.terminate();
    let (third_wire, mut third) = serve(&mut deployment).await;
    holds(&third, 4.0).await;
    assert!(second.ended(TIMEOUT).await.success());
    slow(&third_wire);
    under_load(&load, &receiver).await;
    third_wire.delay_answers(Duration::ZERO, Duration::ZERO);
    let tally = load.end(&deployment, &receiver).await;
    println!("three hand-overs, a statement takes up to {most} ms: {tally}");
    tally.assert_whole();
    assert_eq!((tally.repeated, tally.flagged), (0, 0), "{tally}");
    third.terminate();
    assert!(third.ended(TIMEOUT).await.success());
}

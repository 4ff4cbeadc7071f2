//! Brokers that die under load: a Kafka that is started again, and one of three.
//!
//! `CLUSTER_CRASH=1 make test ARGS="--test it broker_crash -- --nocapture"` also starts the three,
//! which takes a minute on two busy cores.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::task::block_in_place;

use crate::support::app::Deployment;
use crate::support::database::Database;
use crate::support::load::{Load, QUICK};
use crate::support::receiver::Receiver;
use crate::support::services::OwnService;

const PACE: Duration = Duration::from_millis(25);
/// Goals before a fault, and after it.
const GOALS: u32 = 150;
/// Time in which everything goes on: the five seconds of the design, and twice as much for a machine
/// that runs other tests.
const RESUMED_WITHIN: Duration = Duration::from_secs(15);
/// The same after a whole Kafka was away for longer than a session. Its group keeps the members that
/// it had for one more, and those that come back are new to it and wait until these are forgotten.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_dies_and_comes_back_loses_nothing() {
    let kafka = block_in_place(|| OwnService::start("kafka"));
    let deployment = Deployment::create_on(kafka.address(), Database::create().await, &[]).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    let load = Load::begin(&deployment, &process, &receiver, &QUICK, PACE).await;
    load.goes_on(GOALS).await;
    block_in_place(|| {
        kafka.crash();
        kafka.start_again();
    });
    let answered = Instant::now();
    // The fault has ended when Kafka takes events.
    load.goes_on(2).await;
    let taken = answered.elapsed();
    let took = load.flows_again(&receiver, Instant::now()).await;
    load.goes_on(GOALS).await;
    let tally = load.end(&deployment, &receiver).await;
    println!(
        "Kafka killed and started again: {tally}; it took events {taken:?} after it answered, and they \
         were delivered {took:?} after that"
    );
    tally.assert_whole();
    // The process has not died: what was in flight is known.
    assert_eq!(tally.repeated, 0);
    assert!(took < REJOINED_WITHIN, "{took:?}");
    process.terminate();
    assert!(process.ended(Duration::from_secs(60)).await.success());
}

/// Index of the broker that leads a partition.
fn leader(brokers: &str, topic: &str) -> usize {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(10))
        .unwrap();
    metadata.topics()[0].partitions()[0].leader() as usize - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_three_that_dies_loses_nothing() {
    if std::env::var_os("CLUSTER_CRASH").is_none() {
        println!("passed over: CLUSTER_CRASH is not set");
        return;
    }
    let cluster = block_in_place(|| OwnService::start_cluster(3));
    let addresses: Vec<String> = cluster.iter().map(OwnService::address).collect();
    let brokers = addresses.join(",");
    let settings = [("kafka.replication_factor", "3")];
    let deployment = Deployment::create_on(brokers.clone(), Database::create().await, &settings).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    let load = Load::begin(&deployment, &process, &receiver, &QUICK, PACE).await;
    load.goes_on(GOALS).await;
    let dead = &cluster[leader(&brokers, &deployment.topic("deliveries"))];
    block_in_place(|| dead.crash());
    let without = load.flows_again(&receiver, Instant::now()).await;
    load.goes_on(GOALS).await;
    block_in_place(|| dead.start_again());
    load.goes_on(GOALS).await;
    let tally = load.end(&deployment, &receiver).await;
    println!("one broker of three killed: {tally}; the others went on after {without:?}");
    tally.assert_whole();
    assert_eq!(tally.repeated, 0);
    // The others take it for dead after two seconds.
    assert!(without < RESUMED_WITHIN + Duration::from_secs(2), "{without:?}");
}

//! Stores that are away, that take nothing or that are slow, under load: nothing is lost, nothing
//! is sent twice, what waits is bounded, and everything goes on by itself.
//!
//! `OUTAGE_SECONDS=60 make test ARGS="--test it long_outages -- --nocapture"` is the long run.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::evidence::Tally;
use crate::support::faults::Wire;
use crate::support::load::{Load, QUICK};
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(10);
/// Goals before a fault, and after it.
const GOALS: u32 = 100;
/// Memory by which a process may grow: buffers, not what waits.
const GROWTH: f64 = 48.0 * 1024.0 * 1024.0;
/// Time in which everything goes on: the five seconds of the design, and twice as much for a machine
/// that runs other tests.
const RESUMED_WITHIN: Duration = Duration::from_secs(15);

/// Length of an outage: some seconds, or as long as the environment says.
fn outage() -> Duration {
    let seconds = std::env::var("OUTAGE_SECONDS").map_or(6, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

async fn resident(process: &Process) -> f64 {
    process.metric("process_resident_memory_bytes").await
}

/// Waits until `/readyz` says no because of `check`.
async fn is_unready(process: &Process, check: &str) {
    eventually(&format!("{check} makes it unready"), TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let is_ok = answer["checks"][check] == "ok";
        (status == StatusCode::SERVICE_UNAVAILABLE && !is_ok).then_some(())
    })
    .await;
}

/// A process under load behind a wire, and the memory that it needs.
struct Stage {
    deployment: Deployment,
    process: Process,
    receiver: Receiver,
    load: Load,
    before: f64,
}

impl Stage {
    /// `store` is the setting that names it.
    async fn begin(store: &str, address: impl Fn(&Deployment) -> String) -> Self {
        let mut deployment = Deployment::create(&[]).await;
        let address = address(&deployment);
        deployment.set(store, &address);
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        let load = Load::begin(&deployment, &process, &receiver, &QUICK, PACE).await;
        load.goes_on(GOALS).await;
        let before = resident(&process).await;
        Self {
            deployment,
            process,
            receiver,
            load,
            before,
        }
    }

    /// Waits for as long as an outage is to last, and returns the most memory that was needed.
    async fn lasts(&self) -> f64 {
        let (begun, mut most) = (Instant::now(), self.before);
        while begun.elapsed() < outage() {
            most = most.max(resident(&self.process).await);
            // Time has to pass: the outage's length is the test.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        most
    }

    /// Ends the load after a fault that has ended just now.
    async fn ends(self, what: &str, most: f64) -> Tally {
        let took = self.load.flows_again(&self.receiver, Instant::now()).await;
        self.load.goes_on(GOALS).await;
        let tally = self.load.end(&self.deployment, &self.receiver).await;
        let (mib, before) = (1024.0 * 1024.0, self.before);
        println!(
            "{what} for {:?}: {tally}; went on after {took:?}; {:.0} MiB before, {:.0} MiB at most",
            outage(),
            before / mib,
            most / mib
        );
        tally.assert_whole();
        assert!(took < RESUMED_WITHIN, "{took:?}");
        assert!(most - before < GROWTH, "{before} bytes before, {most} at most");
        tally
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_under_load_what_waits_is_bounded() {
    let wire = Wire::to_postgres().await;
    let stage = Stage::begin("postgres.url", |deployment| wire.url(&deployment.database.url)).await;
    wire.cut();
    is_unready(&stage.process, "postgres").await;
    let most = stage.lasts().await;
    wire.mend();
    let tally = stage.ends("Postgres away", most).await;
    assert_eq!(tally.repeated, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_producing_is_refused_what_waits_is_bounded() {
    let wire = Wire::to_kafka().await;
    let stage = Stage::begin("kafka.brokers", |_| wire.address()).await;
    wire.refuse_producing(true);
    is_unready(&stage.process, "kafka").await;
    let most = stage.lasts().await;
    wire.refuse_producing(false);
    let tally = stage.ends("producing refused", most).await;
    assert_eq!(tally.repeated, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_loses_and_repeats_nothing() {
    let wire = Wire::to_postgres().await;
    let stage = Stage::begin("postgres.url", |deployment| wire.url(&deployment.database.url)).await;
    let late = Duration::from_millis(300);
    wire.delay_answers(late, late);
    let most = stage.lasts().await;
    wire.delay_answers(Duration::ZERO, Duration::ZERO);
    let tally = stage.ends("a disk that takes 300 ms", most).await;
    assert_eq!((tally.repeated, tally.flagged), (0, 0));
}

/// Processor time in seconds that the processes have taken.
async fn processor_time(processes: &[Process]) -> f64 {
    let mut seconds = 0.0;
    for process in processes {
        seconds += process.metric("process_cpu_seconds_total").await;
    }
    seconds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_refuses_connections_takes_no_processor() {
    let wire = Wire::to_kafka().await;
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.brokers", &wire.address());
    // Each had its chance: of three processes one or two were seen to take half a core.
    let processes = [
        deployment.serve(&[]).await,
        deployment.serve(&[]).await,
        deployment.serve(&[]).await,
    ];
    wire.refuse();
    for process in &processes {
        is_unready(process, "kafka").await;
    }
    let before = processor_time(&processes).await;
    // Time has to pass: the outage's length is the test.
    tokio::time::sleep(outage()).await;
    let taken = processor_time(&processes).await - before;
    println!(
        "three processes took {taken} s in {:?} of a Kafka that refuses",
        outage()
    );
    // The metric has whole seconds.
    assert!(taken <= 3.0 + 0.3 * outage().as_secs_f64(), "{taken} s");
}

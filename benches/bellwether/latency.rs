//! Part `latency`: time from an event's place in the schedule to the arrival of its request, at a
//! fixed rate.
//!
//! The loop is open: the schedule waits for nothing, and time is counted from the schedule. So a
//! stall of publisher, broker, service or receiver counts for every event that it delays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::deployment::{CostsEach, Deployment, Process};
use super::drain::cost_figures;
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::stats::percentile;
use super::{events, kafka};

/// Seconds before the first run, at the same rate: Kafka's JVM compiles its code and takes a core
/// for that.
const COLD_SECONDS: u64 = 40;
/// Seconds of each run that do not count: connections are opened and caches filled.
const WARM_UP_SECONDS: u64 = 3;

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runs = kafka::runtime()?.block_on(measure(options))?;
    let share = |share: f64| across(&runs, |run| percentile(&run.latencies, share));
    let costs: Vec<CostsEach> = runs.iter().map(|run| run.costs).collect();
    let mut figures = vec![
        Figure::new("p50", "ms", share(0.5)).at_most(15.0),
        Figure::new("p99", "ms", share(0.99)).at_most(60.0),
        Figure::new("p99.9", "ms", share(0.999)),
        Figure::new("longest", "ms", share(1.0)),
        Figure::new("events", "1/s", vec![options.rate as f64]),
    ];
    figures.extend(cost_figures(&costs));
    Ok(figures)
}

/// The figures of one run.
struct Run {
    /// In milliseconds.
    latencies: Vec<f64>,
    costs: CostsEach,
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Run>> {
    let warm_up = WARM_UP_SECONDS * options.rate;
    let cold = COLD_SECONDS * options.rate;
    let each = warm_up + options.seconds * options.rate;
    let total = cold + each * options.runs as u64;
    let arrivals = Arrivals::start(total)?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    deployment
        .register(&process, &arrivals.receiver, options.webhooks)
        .await?;
    arrivals.run(options, &deployment, &process, 0, cold, 0).await?;
    let mut runs = Vec::new();
    for number in 0..options.runs as u64 {
        let first = cold + number * each;
        let before = deployment.costs(&process);
        let latencies = arrivals
            .run(options, &deployment, &process, first, each, warm_up)
            .await?;
        let costs = deployment.costs(&process).each_since(before, each);
        eprintln!(
            "  run {}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            number + 1,
            percentile(&latencies, 0.5),
            percentile(&latencies, 0.99),
            percentile(&latencies, 0.999)
        );
        runs.push(Run { latencies, costs });
    }
    deployment.finish(process, total).await?;
    Ok(runs)
}

/// A receiver that notes when the request of each numbered event came.
pub struct Arrivals {
    pub receiver: Receiver,
    clock: Instant,
    /// Nanoseconds of the clock; 0 before the arrival.
    at: Arc<[AtomicU64]>,
}

impl Arrivals {
    /// Waits for the events 0 to `total` − 1.
    pub fn start(total: u64) -> anyhow::Result<Self> {
        let clock = Instant::now();
        let at: Arc<[AtomicU64]> = (0..total).map(|_| AtomicU64::new(0)).collect();
        let slots = Arc::clone(&at);
        let receiver = Receiver::start(move |request| {
            let number = request.number().and_then(|number| usize::try_from(number).ok());
            if let Some(slot) = number.and_then(|number| slots.get(number)) {
                let now = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
                // The first arrival counts, also when a request is repeated.
                let _ = slot.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            }
            true
        })?;
        Ok(Self { receiver, clock, at })
    }

    /// Publishes `count` events from number `first` on at the rate of the options, waits until all
    /// are recorded, and returns the milliseconds from schedule to arrival of all but the first
    /// `warm_up`.
    pub async fn run(
        &self,
        options: &Options,
        deployment: &Deployment,
        process: &Process,
        first: u64,
        count: u64,
        warm_up: u64,
    ) -> anyhow::Result<Vec<f64>> {
        let publisher = {
            let (options, source, clock) = (options.clone(), deployment.source.clone(), self.clock);
            std::thread::spawn(move || publish(&options, &source, first, count, clock))
        };
        deployment
            .all_recorded(process, &self.receiver, first + count, first + count)
            .await?;
        let begun = match publisher.join() {
            Ok(begun) => begun?,
            Err(_) => anyhow::bail!("the publisher panicked"),
        };
        let latency = |number: u64| {
            let due = begun + (number - first) * 1_000_000_000 / options.rate;
            let arrival = self.at[number as usize].load(Ordering::Relaxed);
            (arrival as f64 - due as f64) / 1e6
        };
        Ok((first + warm_up..first + count).map(latency).collect())
    }
}

/// Publishes on schedule; returns the beginning of the schedule in nanoseconds of `clock`.
fn publish(options: &Options, source: &str, first: u64, count: u64, clock: Instant) -> anyhow::Result<u64> {
    let producer = kafka::Producer::new(Duration::ZERO)?;
    let begun = clock.elapsed() + Duration::from_millis(50);
    let mut value = String::new();
    for place in 0..count {
        let due = begun + Duration::from_nanos(place * 1_000_000_000 / options.rate);
        // Behind the schedule it does not sleep.
        std::thread::sleep(due.saturating_sub(clock.elapsed()));
        let number = first + place;
        let site = number % u64::from(options.webhooks);
        events::write_goal(&mut value, site, number);
        producer.send(source, events::site_id(site).as_bytes(), value.as_bytes(), None)?;
    }
    producer.flush()?;
    Ok(u64::try_from(begun.as_nanos())?)
}

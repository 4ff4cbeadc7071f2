//! Part `records`: time from an event to its record on the delivery topic, without a deliverer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::arrivals::{Arrivals, Load};
use super::deployment::{Deployment, eventually};
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::stats::percentile;
use super::{events, fanout, kafka};

/// Seconds before the first run: Kafka's JVM compiles its code.
const COLD_SECONDS: u64 = 20;
/// Seconds of each run that do not count.
const WARM_UP_SECONDS: u64 = 3;
/// Most milliseconds, by events a second and share of the events.
const BARS: [(u64, f64, f64); 2] = [(150, 0.5, 1.5), (1_000, 0.99, 15.0)];

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runtime = kafka::runtime()?;
    let mut figures = Vec::new();
    for (rate, runs) in runtime.block_on(goals(options))? {
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let values = across(&runs, |latencies| percentile(latencies, share));
            let figure = Figure::new(format!("{rate} a second, {name}"), "ms", values);
            let bar = BARS.into_iter().find(|bar| bar.0 == rate && bar.1 == share);
            figures.push(match bar {
                Some((.., most)) => figure.at_most(most),
                None => figure,
            });
        }
    }
    let spikes = runtime.block_on(spikes(options))?;
    figures.push(Figure::new("spike, last of 1,000 records", "ms", spikes).at_most(100.0));
    Ok(figures)
}

/// Milliseconds from event to record of every run, by rate.
async fn goals(options: &Options) -> anyhow::Result<Vec<(u64, Vec<Vec<f64>>)>> {
    let highest = options.rates.iter().copied().max().unwrap_or_default();
    let each = |rate: u64| (WARM_UP_SECONDS + options.seconds) * rate;
    let round: u64 = options.rates.iter().copied().map(each).sum();
    let cold = COLD_SECONDS * highest;
    let arrivals = Arrivals::of(cold + round * options.runs as u64);
    // Nothing is sent, but a webhook has to lead somewhere.
    let receiver = Receiver::start(|_| true)?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,api").await?;
    deployment.register(&process, &receiver, options.webhooks).await?;
    let noted = arrivals.clone();
    let watch = Watch::start(&deployment.topic("deliveries"), options.partitions, move |body| {
        noted.note(events::number(body));
    })?;
    let mut runs: Vec<(u64, Vec<Vec<f64>>)> = options.rates.iter().map(|rate| (*rate, Vec::new())).collect();
    let mut first = 0;
    let mut one = async |rate: u64, count: u64, warm_up: u64| {
        let load = Load {
            source: deployment.source.clone(),
            sites: 0..options.webhooks.into(),
            rate,
        };
        let numbers = first..first + count;
        first += count;
        let publishing = load.publish(numbers.clone(), arrivals.clock());
        eventually(&process, async || {
            arrivals.have_all(numbers.clone()).then_some(())
        })
        .await?;
        arrivals.latencies(publishing.end()?, numbers.start + warm_up..numbers.end)
    };
    one(highest, cold, 0).await?;
    for number in 0..options.runs {
        for (rate, runs) in &mut runs {
            let latencies = one(*rate, each(*rate), WARM_UP_SECONDS * *rate).await?;
            eprintln!(
                "  run {}, {rate} a second: p50 {:.2} ms, p99 {:.2} ms",
                number + 1,
                percentile(&latencies, 0.5),
                percentile(&latencies, 0.99)
            );
            runs.push(latencies);
        }
    }
    drop(watch);
    deployment.remove(process).await?;
    Ok(runs)
}

/// Milliseconds from the event that makes a spike to the last of the records for 1,000 webhooks, of
/// every run.
async fn spikes(options: &Options) -> anyhow::Result<Vec<f64>> {
    let receiver = Receiver::start(|_| true)?;
    let deployment = Deployment::create(options)
        .await?
        .with("WEBHOOKS__MAX_PER_SITE", fanout::WEBHOOKS);
    let process = deployment.serve("detect,api").await?;
    let counted = Arc::new(fanout::Counted::default());
    let counts = Arc::clone(&counted);
    let watch = Watch::start(&deployment.topic("deliveries"), options.partitions, move |body| {
        counts.note(body);
    })?;
    let mut times = Vec::new();
    // The first site is not counted.
    for site in 0..=options.runs as u64 {
        fanout::register(&deployment, &process, &receiver, site).await?;
        let spike = fanout::Subject::Spike;
        let round = fanout::measure(&deployment, &process, &counted, site, spike).await?;
        eprintln!("  spike {site}: 1,000 records after {:.1} ms", round.last_ms);
        times.push(round.last_ms);
    }
    drop(watch);
    deployment.remove(process).await?;
    Ok(times.split_off(1))
}

/// A consumer of a topic in a thread of its own, which ends when this is dropped.
struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Hands over the body of every record of a topic.
    fn start(topic: &str, partitions: i32, note: impl Fn(&[u8]) + Send + 'static) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka::brokers()?)
            .set("group.id", kafka::unique("watch"))
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "500")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment).context("watching a topic")?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
                    note(record.payload().unwrap_or_default());
                }
            }
        });
        Ok(Self(ended))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! Part `detector`: events a second that one core reads, parses, counts and judges, beside a
//! consumer that only counts.
//!
//! The detector is the service's own thread (`detect::thread`) with its engines, its registry and
//! its commits. Two others read the same topic with the same settings, by `poll` and by the batch
//! call. Each is a process pinned to one core, with librdkafka's threads, and they take turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether::clock;
use bellwether::config::KafkaConfig;
use bellwether::detect::history::HistoryQueue;
use bellwether::detect::thread;
use bellwether::detect::thread::{DetectLinks, DetectSettings};
use bellwether::ingest::formats::RecordReader;
use bellwether::ingest::route::progress::RoutedUntil;
use bellwether::kafka::batch_reader::BatchItem;
use bellwether::kafka::client::ClientEvents;
use bellwether::kafka::member::{GroupMember, MemberEvent};
use bellwether::kafka::producer::Publisher;
use bellwether::kafka::settings;
use bellwether::telemetry::metrics::Labels;
use bellwether::telemetry::{Health, Metrics};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::engines::{engine_config, registry};
use super::events::{self, Visits};
use super::options::Options;
use super::report::{Figure, across};
use super::{child, kafka, machine};

/// Time in which a child must read everything.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Time between two readings of the detector's counter: short enough to be exact, long enough to
/// cost nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Events a second, by the clock and by the processor time of the process: the same unless others
/// use the core.
#[derive(Debug, Clone, Copy)]
struct Rate {
    by_clock: f64,
    by_cpu: f64,
    /// Of this process alone, in MiB.
    memory: f64,
}

/// The figures of one run: poll, detector, batch call and the detector's work without Kafka, in
/// turn.
struct Run {
    detector: Rate,
    poll: Rate,
    batch: Rate,
    /// Nanoseconds an event.
    reading: f64,
    without_kafka: f64,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let name = kafka::unique("bench");
    let source = format!("{name}.events");
    kafka::create_topics(&kafka::config(&name, options.partitions)?, &source)?;
    let bytes = fill(options, &source)?;
    let mut runs = Vec::new();
    for number in 0..options.runs {
        let one = |role: &str| -> anyhow::Result<Rate> {
            let options = Options {
                topic: source.clone(),
                prefix: format!("{name}r{number}{role}"),
                ..options.clone()
            };
            if role == "detector" {
                kafka::create_topics(&kafka::config(&options.prefix, options.partitions)?, &source)?;
            }
            let measured = child::measure(role, &options)?;
            let value = |key: &str| measured[key].as_f64().context("a child's figure");
            Ok(Rate {
                by_clock: value("by_clock")?,
                by_cpu: value("by_cpu")?,
                memory: value("memory_mib")?,
            })
        };
        let (poll, detector, batch) = (one("poll")?, one("detector")?, one("batch")?);
        let pure = child::measure("pure", options)?;
        let run = Run {
            poll,
            detector,
            batch,
            reading: pure["reading"].as_f64().context("a child's figure")?,
            without_kafka: pure["all"].as_f64().context("a child's figure")?,
        };
        eprintln!(
            "  run {}: detector {:.0}/s, poll {:.0}/s, batch call {:.0}/s",
            number + 1,
            run.detector.by_clock,
            run.poll.by_clock,
            run.batch.by_clock
        );
        runs.push(run);
    }
    kafka::runtime()?.block_on(kafka::delete_topics(&name))?;
    Ok(vec![
        Figure::new("detector", "events/s", across(&runs, |run| run.detector.by_clock)).at_least(600_000.0),
        Figure::new(
            "poll that only counts",
            "events/s",
            across(&runs, |run| run.poll.by_clock),
        ),
        Figure::new(
            "batch call that only counts",
            "events/s",
            across(&runs, |run| run.batch.by_clock),
        ),
        Figure::new(
            "detector to poll",
            "ratio",
            across(&runs, |run| run.detector.by_clock / run.poll.by_clock),
        )
        .at_least(0.55),
        Figure::new(
            "detector to batch call",
            "ratio",
            across(&runs, |run| run.detector.by_clock / run.batch.by_clock),
        ),
        Figure::new(
            "detector",
            "events/CPU s",
            across(&runs, |run| run.detector.by_cpu),
        ),
        Figure::new(
            "poll that only counts",
            "events/CPU s",
            across(&runs, |run| run.poll.by_cpu),
        ),
        Figure::new(
            "batch call that only counts",
            "events/CPU s",
            across(&runs, |run| run.batch.by_cpu),
        ),
        Figure::new(
            "detector to poll, by CPU",
            "ratio",
            across(&runs, |run| run.detector.by_cpu / run.poll.by_cpu),
        ),
        Figure::new(
            "without Kafka: reading an event",
            "ns",
            across(&runs, |run| run.reading),
        ),
        Figure::new(
            "without Kafka: reading, counting and judging it",
            "ns",
            across(&runs, |run| run.without_kafka),
        ),
        Figure::new(
            "detector, whole process",
            "MiB",
            across(&runs, |run| run.detector.memory),
        ),
        Figure::new("an event", "bytes", vec![bytes]),
    ])
}

/// Publishes the events; returns the average size of one in bytes.
fn fill(options: &Options, source: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let producer = kafka::Producer::new(Duration::from_millis(20))?;
    let visits = Visits {
        sites: options.sites,
        visitors: options.visitors,
        events: options.events,
        until_ms: clock::now_ms(),
    };
    let (mut value, mut bytes) = (String::new(), 0);
    for number in 0..options.events {
        let visit = visits.visit(number);
        events::write_pageview(&mut value, number, &visit);
        bytes += value.len();
        producer.send(
            source,
            events::site_id(visit.site).as_bytes(),
            value.as_bytes(),
            None,
        )?;
    }
    producer.flush()?;
    eprintln!(
        "  {} events published in {:.1} s",
        options.events,
        begun.elapsed().as_secs_f64()
    );
    Ok(bytes as f64 / options.events as f64)
}

/// Measures from the first events counted to the last.
struct Stopwatch {
    begun: Instant,
    cpu: Duration,
    already: u64,
}

impl Stopwatch {
    fn start(already: u64) -> Self {
        Self {
            begun: Instant::now(),
            cpu: machine::own_cpu(),
            already,
        }
    }

    fn stop(&self, counted: u64) -> Value {
        let seconds = self.begun.elapsed().as_secs_f64();
        let cpu = machine::own_cpu().saturating_sub(self.cpu).as_secs_f64();
        let counted = (counted - self.already) as f64;
        json!({
            "by_clock": counted / seconds,
            "by_cpu": counted / cpu.max(0.001),
            "memory_mib": machine::own_memory() as f64 / f64::from(1 << 20),
        })
    }
}

fn member_config(options: &Options) -> anyhow::Result<(KafkaConfig, ClientConfig)> {
    let kafka = kafka::config(&options.prefix, options.partitions)?;
    let member = settings::detect_member(&kafka, &kafka.topic("detect"));
    Ok((kafka, member))
}

/// Events at the beginning that are not counted: most of them are a site's first, whose state is made,
/// or a visitor's, for whom a table grows.
fn new_events(options: &Options) -> u64 {
    options.events / 3
}

/// Child that counts by `poll`.
pub fn count_by_poll(options: &Options) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = member_config(options)?.1.create()?;
    consumer.subscribe(&[&options.topic])?;
    let deadline = Instant::now() + TIMEOUT;
    let (mut counted, mut stopwatch) = (0, None);
    while counted < options.events {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => {
                counted += 1;
                if stopwatch.is_none() && counted >= new_events(options) {
                    stopwatch = Some(Stopwatch::start(counted));
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => eprintln!("  poll: {error}"),
            None => anyhow::ensure!(Instant::now() < deadline, "only {counted} events came"),
        }
    }
    Ok(stopwatch.context("no events")?.stop(counted))
}

/// Child that counts by the batch call, as the detector uses it.
pub fn count_by_batch(options: &Options) -> anyhow::Result<Value> {
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = [options.topic.clone()];
    let member = GroupMember::join(&member_config(options)?.1, "detect", &topics, None, client_events)?;
    let mut batch_reader = member.batch_reader();
    let deadline = Instant::now() + TIMEOUT;
    let (mut counted, mut stopwatch) = (0, None);
    while counted < options.events {
        while let Some(event) = member.poll(Duration::ZERO) {
            if let MemberEvent::Assigned(partitions) = event {
                let starts: Vec<_> = partitions.into_iter().map(|at| (at, 0)).collect();
                member.assign_to_batch_reader(&starts, &batch_reader)?;
            }
        }
        batch_reader.read(Duration::from_millis(10)).for_each(|item| {
            if let BatchItem::Records(_, records) = item {
                counted += records.len() as u64;
            }
        });
        if stopwatch.is_none() && counted >= new_events(options) {
            stopwatch = Some(Stopwatch::start(counted));
        }
        anyhow::ensure!(Instant::now() < deadline, "only {counted} events came");
    }
    let measured = stopwatch.context("no events")?.stop(counted);
    drop(batch_reader);
    member.leave();
    Ok(measured)
}

/// Child that runs the detector.
pub fn detect(options: &Options) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (kafka, member) = member_config(options)?;
    let labels = Labels {
        sources: vec![options.topic.clone()],
        ..Labels::default()
    };
    let metrics = Arc::new(Metrics::new(&labels));
    let client_events = ClientEvents::new(Arc::clone(&metrics));
    let member = GroupMember::join(&member, "detect", &labels.sources, None, client_events.clone())?;
    let (_keep, registry) = watch::channel(Arc::new(registry(options.sites)?));
    let stop = CancellationToken::new();
    let settings = DetectSettings {
        name: "detect-0".to_owned(),
        kafka: kafka.clone(),
        engine: engine_config(&options.topic),
        readers: Arc::new([RecordReader::default()]),
        first_start_back: Duration::from_secs(3_600),
        session_timeout: Duration::from_secs(6),
    };
    // Nobody reads which sites had events; the detector does not wait for a full queue.
    let (heard, _receiver) = tokio::sync::mpsc::channel(1);
    let history = HistoryQueue::new(Arc::clone(&metrics));
    let links = DetectLinks {
        history: Arc::new(history),
        active_sites: heard,
        routed_until: RoutedUntil::default(),
        publisher: Publisher::new(&kafka, client_events.clone())?,
        registry,
        metrics: Arc::clone(&metrics),
        lines: Arc::default(),
        health: Arc::new(Health::new(Arc::clone(&metrics), &[])),
        client_events,
        runtime: runtime.handle().clone(),
        stop: stop.clone(),
    };
    let thread = std::thread::spawn(move || thread::run(member, settings, links));
    let counted = || {
        metrics
            .events
            .with_label_values(&[&*options.topic, "counted"])
            .get()
    };
    let deadline = Instant::now() + TIMEOUT;
    let mut stopwatch = None;
    let measured = loop {
        std::thread::sleep(POLL_INTERVAL);
        let counted = counted();
        match &stopwatch {
            None if counted >= new_events(options) => stopwatch = Some(Stopwatch::start(counted)),
            Some(stopwatch) if counted >= options.events => break stopwatch.stop(counted),
            _ => {}
        }
        anyhow::ensure!(!thread.is_finished(), "the detector ended by itself");
        anyhow::ensure!(Instant::now() < deadline, "only {counted} events came");
    };
    stop.cancel();
    let ended = thread.join();
    anyhow::ensure!(matches!(ended, Ok(Ok(()))), "the detector failed: {ended:?}");
    Ok(measured)
}

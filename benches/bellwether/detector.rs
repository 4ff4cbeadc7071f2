//! Part `detector`: how many events a second one core reads, parses, counts and judges, beside a consumer that only counts.
//!
//! The detector is the service's own thread (`detect::task`) with its engines, its registry and its commits; the two others
//! read the same topic with the same settings, by `poll` and by the batch call. Each is a process pinned to one core,
//! librdkafka's threads included, and they take turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether::clock;
use bellwether::config::KafkaConfig;
use bellwether::detect::engine::config::{EngineConfig, Limits, SourceTopic};
use bellwether::detect::engine::event_time::SourceClock;
use bellwether::detect::thread;
use bellwether::detect::thread::{DetectLinks, DetectSettings};
use bellwether::domain::goal::{Goal, GoalRule};
use bellwether::domain::id::{GoalId, WebhookId};
use bellwether::domain::registry::{Registry, Site};
use bellwether::domain::secret::Secret;
use bellwether::domain::site::SiteId;
use bellwether::domain::target::TargetUrl;
use bellwether::domain::trigger::{NameFilter, SpikeSettings, Triggers};
use bellwether::domain::webhook::Webhook;
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

use super::events::{self, Visits};
use super::options::Options;
use super::report::{Figure, across};
use super::{child, kafka, machine};

/// How long a child may take to read everything.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How often the detector is asked how far it is: often enough to be exact, seldom enough to cost nothing.
const LOOK: Duration = Duration::from_millis(5);

/// Events a second by the clock, and by the processor time that the process had: the same unless others want its core.
#[derive(Debug, Clone, Copy)]
struct Rate {
    by_clock: f64,
    by_cpu: f64,
    /// Of this process alone, in MiB.
    memory: f64,
}

/// One run: poll, detector, batch call and the detector's work without Kafka, in turn.
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
        Figure::new("detector", "events/s", across(&runs, |run| run.detector.by_clock)).at_least(400_000.0),
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
        .at_least(0.5),
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

/// Publishes the events; returns how many bytes one has.
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

/// Measures from the first events seen to the last.
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

/// Child: the plain consumer.
pub fn count_by_poll(options: &Options) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = member_config(options)?.1.create()?;
    consumer.subscribe(&[&options.topic])?;
    let deadline = Instant::now() + TIMEOUT;
    let (mut counted, mut stopwatch) = (0, None);
    while counted < options.events {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => {
                counted += 1;
                if stopwatch.is_none() {
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

/// Child: the batch call, as the detector uses it.
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
        if stopwatch.is_none() && counted > 0 {
            stopwatch = Some(Stopwatch::start(counted));
        }
        anyhow::ensure!(Instant::now() < deadline, "only {counted} events came");
    }
    let measured = stopwatch.context("no events")?.stop(counted);
    drop(batch_reader);
    member.leave();
    Ok(measured)
}

/// Child: the detector.
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
        first_start_back: Duration::from_secs(3_600),
    };
    // Nobody notes which sites were heard of; a full queue is passed over.
    let (heard, _told) = tokio::sync::mpsc::channel(1);
    let links = DetectLinks {
        active_sites: heard,
        publisher: Publisher::new(&kafka, client_events.clone())?,
        registry,
        metrics: Arc::clone(&metrics),
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
        std::thread::sleep(LOOK);
        let counted = counted();
        match &stopwatch {
            None if counted > 0 => stopwatch = Some(Stopwatch::start(counted)),
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

/// An engine over one live topic, as the configuration's defaults have it.
pub fn engine_config(topic: &str) -> EngineConfig {
    EngineConfig {
        partition: 0,
        sources: vec![SourceTopic {
            topic: topic.to_owned(),
            clock: SourceClock::Live,
        }],
        hash_key: [7; 16],
        out_of_order_ms: 10_000,
        stale_after_ms: 900_000,
        limits: Limits::default(),
    }
}

/// Sites with a goal on a page and a webhook for spikes and goals each; nothing in the stream reaches either.
pub fn registry(sites: u64) -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    for number in 0..sites {
        let id: SiteId = events::site_id(number).parse()?;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let webhook = Arc::new(Webhook {
            id: WebhookId::new_v7(1, random),
            site_id: id.clone(),
            url: TargetUrl::from_trusted(&format!("https://hooks.site-{number}.example/bellwether"))?,
            secret: Secret::parse("a-secret-of-twenty-four-characters")?,
            next_secret: None,
            headers: Vec::new(),
            triggers: Triggers {
                visitor_spike: Some(SpikeSettings {
                    threshold: 500_000,
                    window_seconds: 300,
                }),
                goal_completion: Some(NameFilter::All),
                custom_event: None,
            },
            enabled: true,
            disabled: false,
            active_since_ms: 0,
            retry_schedule: "default".to_owned(),
            max_age_seconds: None,
            updated_at: clock::now(),
        });
        let goal = Arc::new(Goal {
            id: GoalId::new_v7(1, random),
            name: "Signup".to_owned(),
            rule: GoalRule::Page {
                path: "/welcome*".to_owned(),
            },
            props: Vec::new(),
            active_since_ms: 0,
        });
        registry.webhooks.insert(webhook.id, Arc::clone(&webhook));
        let site = Site {
            id: id.clone(),
            name: None,
            goals: vec![goal],
            webhooks: vec![webhook],
            version: 1,
        };
        registry.sites.insert(id, Arc::new(site));
    }
    Ok(registry)
}

//! Part `fanout`: time from an event to the last request of one notification for 1,000 webhooks of
//! a site, each at a host of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::deployment::{Deployment, Process, eventually};
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::{events, kafka};

/// Webhooks of a site.
pub const WEBHOOKS: u32 = 1_000;
/// Notifications before the first that counts: Kafka's JVM compiles its code.
const WARM_UP_ROUNDS: u32 = 60;
/// Pause between two notifications.
const REST: Duration = Duration::from_millis(500);
/// Visitors that make a spike.
const THRESHOLD: u64 = 5;

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let (goals, spikes) = kafka::runtime()?.block_on(rounds(options))?;
    Ok(vec![
        Figure::new(
            "goal, last of 1,000 requests",
            "ms",
            across(&goals, |one| one.last_ms),
        )
        .at_most(60.0),
        Figure::new(
            "goal, processor time of all / cores",
            "ms",
            across(&goals, Round::least_ms),
        ),
        Figure::new(
            "spike, last of 1,000 requests",
            "ms",
            across(&spikes, |one| one.last_ms),
        )
        .at_most(60.0),
        Figure::new(
            "spike, processor time of all / cores",
            "ms",
            across(&spikes, Round::least_ms),
        ),
    ])
}

/// One notification to all webhooks of a site.
#[derive(Debug)]
pub struct Round {
    /// From its last event to its last request, in milliseconds.
    pub last_ms: f64,
    /// Processor time of all processes meanwhile, in milliseconds.
    busy_ms: f64,
}

impl Round {
    /// Milliseconds that the work takes if no core is ever idle.
    fn least_ms(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.busy_ms / cores as f64
    }
}

/// Every goal and every spike.
async fn rounds(options: &Options) -> anyhow::Result<(Vec<Round>, Vec<Round>)> {
    let counted = Arc::new(Counted::default());
    let counts = Arc::clone(&counted);
    let receiver = Receiver::start(move |request| {
        counts.note(request.body);
        true
    })?;
    let deployment = Deployment::create(options)
        .await?
        .with("WEBHOOKS__MAX_PER_SITE", WEBHOOKS);
    let process = deployment.serve("detect,deliver,api").await?;
    let (mut goals, mut spikes) = (Vec::new(), Vec::new());
    // The first site is not counted: Kafka and the process are cold. A goal opens a connection to
    // each host, since making the webhooks takes longer than one is kept; a spike finds them open.
    for site in 0..=options.runs as u64 {
        register(&deployment, &process, &receiver, site).await?;
        let warm_up = if site == 0 { WARM_UP_ROUNDS } else { 0 };
        for _ in 0..warm_up {
            measure(&deployment, &process, &counted, site, Subject::Goal).await?;
        }
        let goal = measure(&deployment, &process, &counted, site, Subject::Goal).await?;
        let spike = measure(&deployment, &process, &counted, site, Subject::Spike).await?;
        eprintln!(
            "  site {site}: 1,000 requests of a goal {:.1} ms, of a spike {:.1} ms",
            goal.last_ms, spike.last_ms
        );
        goals.push(goal);
        spikes.push(spike);
    }
    deployment.remove(process).await?;
    Ok((goals.split_off(1), spikes.split_off(1)))
}

/// Makes the webhooks of a site, and waits until the process knows them.
pub async fn register(
    deployment: &Deployment,
    process: &Process,
    receiver: &Receiver,
    site: u64,
) -> anyhow::Result<()> {
    let path = format!("/api/sites/{}/webhooks", events::site_id(site));
    for number in 0..WEBHOOKS {
        let body = json!({
            "name": "bench", "url": receiver.url(number), "events": ["goal_completion", "visitor_spike"],
            "triggers": {"visitor_spike": {"threshold": THRESHOLD, "window_seconds": 60}},
            "rate_limit_per_second": null,
        });
        deployment.call(process, &path, &body).await?;
    }
    deployment.follows(process).await
}

/// The kind of event that is measured.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    Goal,
    Spike,
}

/// Publishes what makes one notification for each webhook of a site, and measures until the last of
/// what is counted.
pub async fn measure(
    deployment: &Deployment,
    process: &Process,
    counted: &Counted,
    site: u64,
    subject: Subject,
) -> anyhow::Result<Round> {
    let producer = kafka::Producer::connected(&deployment.source)?;
    let key = events::site_id(site);
    let mut values = Vec::new();
    match subject {
        Subject::Goal => values.push(events::goal(site, 0)),
        Subject::Spike => values.extend((1..=THRESHOLD).map(|visitor| {
            let visitor = events::visitor_id(visitor);
            json!({"site_id": key, "type": "pageview", "visitor_id": visitor, "path": "/n/0"}).to_string()
        })),
    }
    rest(deployment, process).await?;
    counted.begin(subject);
    let before = deployment.costs(process);
    let begun = Instant::now();
    for value in &values {
        producer.send(&deployment.source, key.as_bytes(), value.as_bytes(), None)?;
    }
    producer.flush()?;
    let last = eventually(process, async || counted.last()).await?;
    Ok(Round {
        last_ms: last.duration_since(begun).as_secs_f64() * 1e3,
        busy_ms: deployment.costs(process).all_since(before).as_secs_f64() * 1e3,
    })
}

/// Waits until the notification before is recorded, and for as long again as it takes to be at rest:
/// each is measured by itself.
async fn rest(deployment: &Deployment, process: &Process) -> anyhow::Result<()> {
    eventually(process, async || {
        let left = deployment
            .metric(process, "bellwether_outcomes_unwritten")
            .await
            .ok()?;
        (left == 0.0).then_some(())
    })
    .await?;
    tokio::time::sleep(REST).await;
    Ok(())
}

/// Counts notifications of one kind, up to one for each webhook.
#[derive(Debug, Default)]
pub struct Counted {
    count: AtomicU64,
    spikes: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Counted {
    fn begin(&self, subject: Subject) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.spikes
            .store(matches!(subject, Subject::Spike), Ordering::SeqCst);
        self.count.store(0, Ordering::SeqCst);
    }

    /// Counts a body, if it is of the kind that is measured.
    pub fn note(&self, body: &[u8]) {
        const SPIKE: &[u8] = br#""event":"visitor_spike""#;
        let spike = body.windows(SPIKE.len()).any(|window| window == SPIKE);
        if spike != self.spikes.load(Ordering::SeqCst) {
            return;
        }
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == u64::from(WEBHOOKS) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// When the last webhook's came.
    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

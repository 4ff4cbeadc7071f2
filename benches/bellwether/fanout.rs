//! Part `fanout`: time from an event to the last request of one notification for 1,000 webhooks of
//! a site, each at a host of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::deployment::{Deployment, Process, eventually};
use super::options::Options;
use super::receiver::Receiver;
use super::report::Figure;
use super::{events, kafka};

/// Webhooks of a site.
pub const WEBHOOKS: u32 = 1_000;
/// Visitors that make a spike.
const THRESHOLD: u64 = 5;

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let (goals, spikes) = kafka::runtime()?.block_on(rounds(options))?;
    Ok(vec![
        Figure::new("goal, last of 1,000 requests", "ms", goals).at_most(60.0),
        Figure::new("spike, last of 1,000 requests", "ms", spikes).at_most(60.0),
    ])
}

/// Milliseconds of every goal and of every spike.
async fn rounds(options: &Options) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
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
    // The first site is not counted: its goal opens the connections.
    for site in 0..=options.runs as u64 {
        register(&deployment, &process, &receiver, site).await?;
        let goal = measure(&deployment, &process, &counted, site, Subject::Goal).await?;
        let spike = measure(&deployment, &process, &counted, site, Subject::Spike).await?;
        eprintln!("  site {site}: 1,000 requests of a goal {goal:.1} ms, of a spike {spike:.1} ms");
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

/// Publishes what makes one notification for each webhook of a site, and returns the milliseconds
/// from its last event to the last of what is counted.
pub async fn measure(
    deployment: &Deployment,
    process: &Process,
    counted: &Counted,
    site: u64,
    subject: Subject,
) -> anyhow::Result<f64> {
    let producer = kafka::Producer::new(Duration::ZERO)?;
    let key = events::site_id(site);
    let mut values = Vec::new();
    match subject {
        Subject::Goal => values.push(events::goal(site, 0)),
        Subject::Spike => values.extend((1..=THRESHOLD).map(|visitor| {
            let visitor = events::visitor_id(visitor);
            json!({"site_id": key, "type": "pageview", "visitor_id": visitor, "path": "/n/0"}).to_string()
        })),
    }
    counted.begin(subject);
    let begun = Instant::now();
    for value in &values {
        producer.send(&deployment.source, key.as_bytes(), value.as_bytes(), None)?;
    }
    producer.flush()?;
    let last = eventually(process, async || counted.last()).await?;
    Ok(last.duration_since(begun).as_secs_f64() * 1e3)
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

//! The detect role: threads that read the sources and keep the engines.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Shared;
use crate::clock;
use crate::config::Clock;
use crate::detect::engine::config::{EngineConfig, Limits, SourceTopic};
use crate::detect::engine::event_time::SourceClock;
use crate::detect::thread;
use crate::detect::thread::{DetectLinks, DetectSettings};
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::record::pg_monitor::PgMonitor;
use crate::record::{keys, sites};
use crate::tasks::Tasks;

/// Lists of sites that wait to be noted.
const HEARD_QUEUE: usize = 4;
/// Sites noted in one statement.
const HEARD_BATCH: usize = 1_000;
/// How far back a source without a commit begins, at least.
const FIRST_START_BACK: Duration = Duration::from_secs(15 * 60);

/// Starts everything the role needs.
pub(super) async fn start(shared: &Shared, publisher: &Publisher, tasks: &mut Tasks) -> anyhow::Result<()> {
    let config = &shared.config;
    let mut connection = shared
        .pool
        .acquire()
        .await
        .context("reading the key of visitors' hashes")?;
    let hash_key = keys::visitor_hash_key(&mut connection, &shared.keyring, clock::now())
        .await
        .context("reading the key of visitors' hashes")?;
    drop(connection);
    let sources: Vec<SourceTopic> = config
        .sources
        .0
        .iter()
        .map(|source| SourceTopic {
            topic: source.topic.clone(),
            clock: match source.clock {
                Clock::Live => SourceClock::Live,
                Clock::Log => SourceClock::Log,
            },
        })
        .collect();
    let topics: Vec<String> = sources.iter().map(|source| source.topic.clone()).collect();
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let engine = EngineConfig {
        partition: 0,
        sources,
        hash_key,
        out_of_order_ms: millis(config.detect.out_of_order),
        stale_after_ms: millis(config.detect.stale_after),
        limits: Limits {
            visitors_per_site: config.detect.max_visitors_per_site as usize,
            ..Limits::default()
        },
    };
    let longest_window = longest_window(&shared.registry.borrow());
    let (heard, told) = mpsc::channel(HEARD_QUEUE);
    tasks.spawn_background(
        "activity",
        note_heard(shared.pool.clone(), shared.probe.clone(), told),
    );
    let state_topic = config.kafka.topic("detector-state");
    // The detector reads it without a group, so it is not among the topics that the series are made for.
    shared
        .metrics
        .unreadable_records
        .with_label_values(&[&state_topic]);
    let group = config.kafka.topic("detect");
    for number in 0..config.detect.threads {
        let member = GroupMember::join(
            &settings::detect_member(&config.kafka, &group),
            "detect",
            &topics,
            None,
            shared.client_events.clone(),
        )
        .context("joining the detect group")?;
        let name = format!("detect-{number}");
        shared.health.member_joins(&name);
        let settings = DetectSettings {
            name: name.clone(),
            kafka: config.kafka.clone(),
            engine: engine.clone(),
            first_start_back: FIRST_START_BACK.max(longest_window),
        };
        let links = DetectLinks {
            publisher: publisher.clone(),
            registry: shared.registry.clone(),
            metrics: shared.metrics.clone(),
            health: shared.health.clone(),
            client_events: shared.client_events.clone(),
            runtime: Handle::current(),
            stop: shared.stop.clone(),
            active_sites: heard.clone(),
        };
        tasks.spawn_thread(name, move || thread::run(member, settings, links))?;
    }
    Ok(())
}

/// Notes when sites last had events. Ends when the threads have.
async fn note_heard(
    pool: PgPool,
    probe: PgMonitor,
    mut told: mpsc::Receiver<Vec<SiteId>>,
) -> anyhow::Result<()> {
    while let Some(heard) = told.recv().await {
        let now = clock::now();
        for part in heard.chunks(HEARD_BATCH) {
            let seen: Vec<_> = part.iter().map(|site_id| (site_id.clone(), now)).collect();
            // Not tried again: within seconds there is a newer time to note.
            let noted = probe.once("activity", async {
                let mut connection = pool.acquire().await?;
                sites::note_events(&mut connection, &seen).await
            });
            drop(noted.await);
        }
    }
    Ok(())
}

/// The longest window that any trigger looks at.
fn longest_window(registry: &Registry) -> Duration {
    let spikes = registry
        .webhooks
        .values()
        .filter_map(|webhook| webhook.triggers.visitor_spike);
    Duration::from_secs(
        spikes
            .map(|spike| u64::from(spike.window_seconds))
            .max()
            .unwrap_or(0),
    )
}

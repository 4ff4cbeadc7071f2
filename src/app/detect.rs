//! The detect role: threads that read the sources and keep the engines.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::context::AppContext;
use super::route_watch;
use crate::clock;
use crate::config::Config;
use crate::detect::engine::config::{EngineConfig, Limits, SourceTopic};
use crate::detect::history::HistoryQueue;
use crate::detect::history::writer::HistoryWriter;
use crate::detect::thread;
use crate::detect::thread::counts::SharedLines;
use crate::detect::thread::{DetectLinks, DetectSettings};
use crate::domain::event::SourceClock;
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use crate::ingest::formats::RecordReader;
use crate::ingest::route::progress::RoutedUntil;
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::record::pg_monitor::PgMonitor;
use crate::record::{keys, sites};
use crate::tasks::Tasks;
use crate::telemetry::words::PostgresOp;

/// Lists of active sites that wait to be recorded.
const ACTIVITY_QUEUE: usize = 4;
/// Sites recorded in one statement.
const ACTIVITY_BATCH: usize = 1_000;
/// Least time before now from which a source without a commit is read.
const FIRST_START_BACK: Duration = Duration::from_secs(15 * 60);

/// Starts everything the role needs.
pub(super) async fn start(app: &AppContext, publisher: &Publisher, tasks: &mut Tasks) -> anyhow::Result<()> {
    let config = &app.config;
    let engine = engine_config(config, hash_key(app).await?);
    let topics: Vec<String> = engine.sources.iter().map(|source| source.topic.clone()).collect();
    let first_start_back = first_start_back(app);
    // The series are made for the topics of groups, and this one is read without a group.
    app.metrics
        .unreadable_records
        .with_label_values(&[&config.kafka.topic("detector-state")]);
    let (heard, lists) = mpsc::channel(ACTIVITY_QUEUE);
    tasks.spawn_background(
        "activity",
        record_activity(app.pool.clone(), app.pg_monitor.clone(), lists),
    );
    let history = start_history(app, tasks);
    let routed_until = route_watch::start(app, tasks)?;
    let group = config.kafka.topic("detect");
    let lines = Arc::default();
    let session_timeout = settings::session_timeout(&settings::detect_member(&config.kafka, &group));
    for number in 0..config.detect.threads {
        let name = format!("detect-{number}");
        let mut member_config = settings::detect_member(&config.kafka, &group);
        settings::name_member(&mut member_config, &config.kafka, &name);
        let member = GroupMember::join(&member_config, "detect", &topics, None, app.client_events.clone())
            .context("joining the detect group")?;
        app.health.member_joins(&name);
        let settings = DetectSettings {
            name: name.clone(),
            kafka: config.kafka.clone(),
            engine: engine.clone(),
            readers: readers(config),
            first_start_back,
            session_timeout,
        };
        let links = links(app, publisher, &history, &heard, &routed_until, &lines);
        tasks.spawn_thread(name, move || thread::run(member, settings, links))?;
    }
    Ok(())
}

/// Time before now from which a source without a commit is read.
pub(super) fn first_start_back(app: &AppContext) -> Duration {
    FIRST_START_BACK.max(longest_window(&app.registry.borrow()))
}

/// Reads the key of the visitors' hashes, which the whole deployment shares.
pub(super) async fn hash_key(app: &AppContext) -> anyhow::Result<[u8; 16]> {
    let read = async {
        let mut connection = app.pool.acquire().await?;
        anyhow::Ok(keys::visitor_hash_key(&mut connection, &app.keyring, clock::now()).await?)
    };
    read.await.context("reading the key of visitors' hashes")
}

/// The topics that a detector reads, in the order of [`readers`]: the keyed sources, and the events
/// of the others as `route` has keyed them.
fn source_topics(config: &Config) -> Vec<SourceTopic> {
    let keyed = config.sources.keyed().map(|source| SourceTopic {
        topic: source.topic.clone(),
        clock: source.clock,
        is_routed: false,
    });
    let mut topics: Vec<SourceTopic> = keyed.collect();
    let mut unkeyed = config.sources.unkeyed().peekable();
    if unkeyed.peek().is_some() {
        // Each event brings its clock. This is the clock of sites of which none was read yet.
        let all_log = unkeyed.all(|source| source.clock == SourceClock::Log);
        topics.push(SourceTopic {
            topic: config.kafka.topic("events"),
            clock: if all_log {
                SourceClock::Log
            } else {
                SourceClock::Live
            },
            is_routed: true,
        });
    }
    topics
}

fn readers(config: &Config) -> Arc<[RecordReader]> {
    let routed = config.sources.unkeyed().take(1).map(|_| RecordReader::routed());
    let keyed = config.sources.keyed().map(RecordReader::of);
    keyed.chain(routed).collect()
}

fn engine_config(config: &Config, hash_key: [u8; 16]) -> EngineConfig {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    EngineConfig {
        partition: 0,
        partition_count: 0,
        sources: source_topics(config),
        hash_key,
        out_of_order_ms: millis(config.detect.out_of_order),
        stale_after_ms: millis(config.detect.stale_after),
        limits: Limits {
            visitors_per_site: config.detect.max_visitors_per_site as usize,
            ..Limits::default()
        },
    }
}

fn links(
    app: &AppContext,
    publisher: &Publisher,
    history: &Arc<HistoryQueue>,
    heard: &mpsc::Sender<Vec<SiteId>>,
    routed_until: &RoutedUntil,
    lines: &Arc<SharedLines>,
) -> DetectLinks {
    DetectLinks {
        publisher: publisher.clone(),
        registry: app.registry.clone(),
        metrics: app.metrics.clone(),
        health: app.health.clone(),
        lines: Arc::clone(lines),
        client_events: app.client_events.clone(),
        runtime: Handle::current(),
        stop: app.lifecycle.stop.clone(),
        history: Arc::clone(history),
        active_sites: heard.clone(),
        routed_until: routed_until.clone(),
    }
}

/// Starts the task that writes what detector threads leave, and answers what they ask.
fn start_history(app: &AppContext, tasks: &mut Tasks) -> Arc<HistoryQueue> {
    let queue = Arc::new(HistoryQueue::new(Arc::clone(&app.metrics)));
    let writer = HistoryWriter {
        queue: Arc::clone(&queue),
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
    };
    tasks.spawn_background("history", writer.run(app.lifecycle.finished.clone()));
    queue
}

/// Records the time at which sites last had events. Ends when the threads have.
async fn record_activity(
    pool: PgPool,
    monitor: PgMonitor,
    mut lists: mpsc::Receiver<Vec<SiteId>>,
) -> anyhow::Result<()> {
    while let Some(heard) = lists.recv().await {
        let now = clock::now();
        for part in heard.chunks(ACTIVITY_BATCH) {
            let seen: Vec<_> = part.iter().map(|site_id| (site_id.clone(), now)).collect();
            // A failure is not tried again: seconds later there is a newer time to record.
            let recorded = monitor.once(PostgresOp::Activity, async {
                let mut connection = pool.acquire().await?;
                sites::note_events(&mut connection, &seen).await
            });
            drop(recorded.await);
        }
    }
    Ok(())
}

/// The longest window that any trigger counts from every event in it.
fn longest_window(registry: &Registry) -> Duration {
    let webhooks = registry.sites.values().flat_map(|site| &site.webhooks);
    let windows = webhooks.map(|webhook| webhook.triggers.longest_window_seconds());
    Duration::from_secs(windows.max().unwrap_or(0).into())
}

//! The deliver role: intake threads → deliverer → writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::AppContext;
use super::open_files;
use crate::deliver::deliverer::Deliverer;
use crate::deliver::health_notes::HealthNotes;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::in_flight::InFlight;
use crate::deliver::intake::work::Work;
use crate::deliver::intake::{self, IntakeLinks, IntakeSettings};
use crate::deliver::outcome_publisher::OutcomePublisher;
use crate::deliver::progress::ProgressReader;
use crate::deliver::rows::Outcome;
use crate::deliver::send::AttemptSender;
use crate::deliver::writer::Writer;
use crate::dispatch::tier::Tier;
use crate::domain::address::AddressRules;
use crate::kafka::member::{GroupMember, SecondReaderSettings};
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::tasks::Tasks;

/// Most records that were read and wait for the deliverer.
const WORK_QUEUE: usize = 1_024;

/// Starts everything that the role needs. `existing` are the cluster's retry topics: one that is no
/// longer configured is still emptied.
pub(super) fn start(
    app: &AppContext,
    publisher: &Publisher,
    existing: &BTreeMap<String, i32>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let (work, new_work) = mpsc::channel(WORK_QUEUE);
    let (requeue, requeued) = mpsc::unbounded_channel();
    let (outcomes, ended) = mpsc::channel(max_in_flight(app));
    let in_flight = Arc::new(InFlight::new(app.pool.clone(), requeue));
    let notes = Arc::new(HealthNotes::default());
    let outcome_publisher = outcome_publisher(app, publisher, &in_flight, &notes);
    let writer = Writer {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        publisher: Arc::clone(&outcome_publisher),
        metrics: Arc::clone(&app.metrics),
    };
    let deliverer = deliverer(app, &in_flight, outcome_publisher, outcomes)?;
    start_intake(
        app,
        publisher,
        &ReadTopics::of(app, existing),
        &in_flight,
        work,
        tasks,
    )?;

    // The deliverer ends when the intake threads are gone, the writer when the deliverer is, the
    // notes when the writer is.
    let (pool, monitor) = (app.pool.clone(), app.pg_monitor.clone());
    tasks.spawn("deliver", async move {
        let all_written = CancellationToken::new();
        let stop_notes = all_written.clone();
        let (delivered, wrote, noted) = tokio::join!(
            deliverer.run(new_work, requeued),
            async {
                let result = writer.run(ended).await;
                all_written.cancel();
                result
            },
            notes.run(pool, monitor, stop_notes),
        );
        delivered.and(wrote).and(noted)
    });
    Ok(())
}

fn max_in_flight(app: &AppContext) -> usize {
    app.config.webhooks.max_in_flight as usize
}

fn progress_reader(app: &AppContext) -> ProgressReader {
    ProgressReader {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
    }
}

fn outcome_publisher(
    app: &AppContext,
    publisher: &Publisher,
    in_flight: &Arc<InFlight>,
    notes: &Arc<HealthNotes>,
) -> Arc<OutcomePublisher> {
    Arc::new(OutcomePublisher {
        publisher: publisher.clone(),
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        progress: progress_reader(app),
        schedules: Arc::clone(&app.schedules),
        in_flight: Arc::clone(in_flight),
        health_notes: Arc::clone(notes),
        metrics: Arc::clone(&app.metrics),
        retry_prefix: app.config.kafka.topic("retry."),
        dead_letter_topic: app.config.kafka.topic("dead-letter"),
        tasks: TaskTracker::new(),
    })
}

fn deliverer(
    app: &AppContext,
    in_flight: &Arc<InFlight>,
    publisher: Arc<OutcomePublisher>,
    outcomes: mpsc::Sender<Outcome>,
) -> anyhow::Result<Deliverer> {
    let tasks = TaskTracker::new();
    let attempts = AttemptSender {
        client: WebhookClient::new(client_options(app)?).context("starting the HTTP client")?,
        schedules: Arc::clone(&app.schedules),
        in_flight: Arc::clone(in_flight),
        outcomes: outcomes.clone(),
        metrics: Arc::clone(&app.metrics),
        tasks: tasks.clone(),
        give_up: app.lifecycle.give_up.clone(),
    };
    Ok(Deliverer {
        progress: progress_reader(app),
        registry: app.registry.clone(),
        registry_read_at: Arc::clone(&app.registry_read_at),
        in_flight: Arc::clone(in_flight),
        attempts: Arc::new(attempts),
        publisher,
        outcomes,
        permits: Arc::new(Semaphore::new(max_in_flight(app))),
        metrics: Arc::clone(&app.metrics),
        tasks,
        give_up: app.lifecycle.give_up.clone(),
    })
}

/// The topics that intake threads read.
struct ReadTopics {
    names: Vec<String>,
    /// Of each topic, by its index: the tier, or none for `deliveries`.
    tiers: Vec<Option<Tier>>,
}

impl ReadTopics {
    fn of(app: &AppContext, existing: &BTreeMap<String, i32>) -> Self {
        let kafka = &app.config.kafka;
        let retry_prefix = kafka.topic("retry.");
        let mut topics = Self {
            names: vec![kafka.topic("deliveries")],
            tiers: vec![None],
        };
        for name in existing.keys() {
            match Tier::of_topic(name, &retry_prefix) {
                Some(tier) => {
                    topics.names.push(name.clone());
                    topics.tiers.push(Some(tier));
                }
                None => tracing::warn!(topic = name, "a retry topic whose name is no delay is not read"),
            }
        }
        topics
    }

    /// Lists the indexes of the tiers' topics.
    fn tier_indexes(&self) -> BTreeSet<usize> {
        (0..self.names.len())
            .filter(|index| self.tiers[*index].is_some())
            .collect()
    }

    fn shortest_delay(&self) -> Duration {
        let delays = self.tiers.iter().flatten().map(|tier| tier.delay());
        delays.min().unwrap_or_default()
    }
}

/// Starts the intake threads, each a member of the deliver group.
fn start_intake(
    app: &AppContext,
    publisher: &Publisher,
    topics: &ReadTopics,
    in_flight: &Arc<InFlight>,
    work: mpsc::Sender<Work>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let kafka = &app.config.kafka;
    let group = kafka.topic("deliver");
    let queues = topics.names.len() * usize::try_from(kafka.partitions).unwrap_or(1);
    let tiers = SecondReaderSettings {
        topics: topics.tier_indexes(),
        config: settings::tiers_reader(kafka, &group, queues, topics.shortest_delay()),
    };
    for number in 0..app.config.deliver.threads {
        let member = GroupMember::join(
            &settings::deliver_member(kafka, &group, queues),
            "deliver",
            &topics.names,
            Some(tiers.clone()),
            app.client_events.clone(),
        )
        .context("joining the deliver group")?;
        let name = format!("deliver-{number}");
        app.health.member_joins(&name);
        let settings = IntakeSettings {
            name: name.clone(),
            topics: topics.names.clone(),
            tier_of_topic: topics.tiers.clone(),
            tiers: app.schedules.tiers().clone(),
            dead_letter_topic: kafka.topic("dead-letter"),
        };
        let links = IntakeLinks {
            work: work.clone(),
            in_flight: Arc::clone(in_flight),
            publisher: publisher.clone(),
            metrics: Arc::clone(&app.metrics),
            health: Arc::clone(&app.health),
            runtime: Handle::current(),
            stop: app.lifecycle.stop.clone(),
        };
        tasks.spawn_thread(name, move || intake::run(member, settings, links))?;
    }
    Ok(())
}

fn client_options(app: &AppContext) -> anyhow::Result<ClientOptions> {
    let webhooks = &app.config.webhooks;
    let extra_roots_pem = match &webhooks.ca_file {
        Some(path) => Some(
            std::fs::read(path)
                .with_context(|| format!("webhooks.ca_file: {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    Ok(ClientOptions {
        rules: address_rules(app),
        timeout: webhooks.timeout,
        connect_timeout: webhooks.connect_timeout,
        extra_roots_pem,
        allow_http: webhooks.allow_http,
        max_connections: open_files::max_connections(open_files::raise_limit()),
        ..ClientOptions::default()
    })
}

/// Returns the rules for addresses that may be called.
pub(super) fn address_rules(app: &AppContext) -> AddressRules {
    AddressRules {
        allow: app.config.webhooks.allow_networks.clone(),
        deny: app.config.webhooks.deny_networks.clone(),
    }
}

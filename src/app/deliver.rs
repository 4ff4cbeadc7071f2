//! The deliver role: intake threads → deliverer → writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::AppContext;
use super::ending;
use crate::deliver::deliverer::{Deliverer, DelivererLinks};
use crate::deliver::events::LaneEvent;
use crate::deliver::health_book::HealthBook;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::in_flight::InFlight;
use crate::deliver::intake::work::Work;
use crate::deliver::intake::{self, IntakeLinks, IntakeSettings};
use crate::deliver::lanes::LaneLimits;
use crate::deliver::outcome_publisher::OutcomePublisher;
use crate::deliver::own_retries::OwnRetries;
use crate::deliver::owned::OwnedPartitions;
use crate::deliver::progress::ProgressReader;
use crate::deliver::rows::Outcome;
use crate::deliver::send::AttemptSender;
use crate::deliver::writer::Writer;
use crate::dispatch::tier::Tier;
use crate::domain::address::AddressRules;
use crate::kafka::member::{GroupMember, SecondReaderSettings};
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::record::{follow, resends};
use crate::tasks::Tasks;

/// Most records that were read and wait for the deliverer.
const WORK_QUEUE: usize = 1_024;

/// Parts that several of the role's tasks share.
struct Shared {
    in_flight: Arc<InFlight>,
    own_retries: Arc<OwnRetries>,
    owned: Arc<OwnedPartitions>,
    health_book: Arc<HealthBook>,
    parked_hint: Arc<Notify>,
    events: mpsc::UnboundedSender<LaneEvent>,
}

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
    let (outcomes, ended) = mpsc::channel(app.files.max_in_flight as usize);
    let (events, reported) = mpsc::unbounded_channel();
    let shared = Shared {
        in_flight: Arc::new(InFlight::new(app.pool.clone(), requeue)),
        own_retries: Arc::default(),
        owned: Arc::default(),
        health_book: Arc::default(),
        parked_hint: Arc::default(),
        events,
    };
    let outcome_publisher = outcome_publisher(app, publisher, &shared);
    let writer = Writer::new(
        app.outcome_pool.clone(),
        app.pg_monitor.clone(),
        Arc::clone(&outcome_publisher),
        Arc::clone(&app.metrics),
    );
    listen_for_parked(app, &shared.parked_hint, tasks);
    ending::start(app, &shared.in_flight, tasks);
    let deliverer = deliverer(app, &shared, outcome_publisher, outcomes)?;
    start_intake(
        app,
        publisher,
        &ReadTopics::of(app, existing),
        &shared,
        work,
        tasks,
    )?;

    // The deliverer ends when the intake threads are gone, the writer when the deliverer is, the
    // book of health when the writer is.
    let (pool, monitor) = (app.pool.clone(), app.pg_monitor.clone());
    let health_book = shared.health_book;
    tasks.spawn("deliver", async move {
        let all_written = CancellationToken::new();
        let stop_book = all_written.clone();
        let (delivered, wrote, noted) = tokio::join!(
            deliverer.run(new_work, requeued, reported),
            async {
                let result = writer.run(ended).await;
                all_written.cancel();
                result
            },
            health_book.run(pool, monitor, stop_book),
        );
        delivered.and(wrote).and(noted)
    });
    Ok(())
}

/// Passes hints of newly queued rows on.
fn listen_for_parked(app: &AppContext, hint: &Arc<Notify>, tasks: &mut Tasks) {
    let (pool, hint) = (app.pool.clone(), Arc::clone(hint));
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("parked hints", async move {
        let listening = follow::listen(&pool, resends::CHANNEL, &hint);
        finished.run_until_cancelled(listening).await;
        Ok(())
    });
}

fn progress_reader(app: &AppContext) -> ProgressReader {
    ProgressReader {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
    }
}

fn outcome_publisher(app: &AppContext, publisher: &Publisher, shared: &Shared) -> Arc<OutcomePublisher> {
    Arc::new(OutcomePublisher {
        publisher: publisher.clone(),
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        progress: progress_reader(app),
        schedules: Arc::clone(&app.schedules),
        in_flight: Arc::clone(&shared.in_flight),
        own_retries: Arc::clone(&shared.own_retries),
        events: shared.events.clone(),
        metrics: Arc::clone(&app.metrics),
        retry_prefix: app.config.kafka.topic("retry."),
        dead_letter_topic: app.config.kafka.topic("dead-letter"),
        tasks: TaskTracker::new(),
    })
}

fn deliverer(
    app: &AppContext,
    shared: &Shared,
    publisher: Arc<OutcomePublisher>,
    outcomes: mpsc::Sender<Outcome>,
) -> anyhow::Result<Deliverer> {
    let attempts = AttemptSender {
        client: WebhookClient::new(client_options(app)?).context("starting the HTTP client")?,
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        schedules: Arc::clone(&app.schedules),
        in_flight: Arc::clone(&shared.in_flight),
        outcomes: outcomes.clone(),
        events: shared.events.clone(),
        metrics: Arc::clone(&app.metrics),
        tasks: TaskTracker::new(),
        give_up: app.lifecycle.give_up.clone(),
    };
    let links = DelivererLinks {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        progress: progress_reader(app),
        registry: app.registry.clone(),
        registry_read_at: Arc::clone(&app.registry_read_at),
        in_flight: Arc::clone(&shared.in_flight),
        owned: Arc::clone(&shared.owned),
        attempts: Arc::new(attempts),
        publisher,
        outcomes,
        events: shared.events.clone(),
        health_book: Arc::clone(&shared.health_book),
        parked_hint: Arc::clone(&shared.parked_hint),
        metrics: Arc::clone(&app.metrics),
        tasks: TaskTracker::new(),
        give_up: app.lifecycle.give_up.clone(),
        timeout: app.config.webhooks.timeout,
    };
    Ok(Deliverer::new(links, LaneLimits::new(app.files.max_in_flight)))
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
    shared: &Shared,
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
    let member_config = settings::deliver_member(kafka, &group, queues);
    // Nobody else can own the partitions for as long as the session has surely not timed out.
    let max_gap = settings::session_timeout(&member_config) / 2;
    for number in 0..app.config.deliver.threads {
        let name = format!("deliver-{number}");
        let mut member_config = member_config.clone();
        settings::name_member(&mut member_config, kafka, &name);
        let member = GroupMember::join(
            &member_config,
            "deliver",
            &topics.names,
            Some(tiers.clone()),
            app.client_events.clone(),
        )
        .context("joining the deliver group")?;
        app.health.member_joins(&name);
        let settings = IntakeSettings {
            name: name.clone(),
            topics: topics.names.clone(),
            tier_of_topic: topics.tiers.clone(),
            dead_letter_topic: kafka.topic("dead-letter"),
            max_gap,
        };
        let links = IntakeLinks {
            work: work.clone(),
            in_flight: Arc::clone(&shared.in_flight),
            own_retries: Arc::clone(&shared.own_retries),
            owned: Arc::clone(&shared.owned),
            publisher: publisher.clone(),
            metrics: Arc::clone(&app.metrics),
            health: Arc::clone(&app.health),
            runtime: Handle::current(),
            stop: app.lifecycle.stop.clone(),
            give_up: app.lifecycle.give_up.clone(),
        };
        tasks.spawn_thread(name, move || intake::run(member, settings, links))?;
    }
    Ok(())
}

/// Options of a client that calls endpoints.
pub(super) fn client_options(app: &AppContext) -> anyhow::Result<ClientOptions> {
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
        max_connections: app.files.to_endpoints,
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

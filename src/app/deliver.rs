//! The deliver role: intake threads → deliverer → writer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::AppContext;
use crate::deliver::deliverer::Deliverer;
use crate::deliver::health_notes::HealthNotes;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::in_flight::InFlight;
use crate::deliver::intake::{self, IntakeLinks, IntakeSettings};
use crate::deliver::writer::{OutcomePublisher, Writer};
use crate::dispatch::schedule::Tier;
use crate::domain::address::AddressRules;
use crate::kafka::member::{GroupMember, SecondReaderSettings};
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::tasks::Tasks;

/// Records read and not yet looked at.
const WORK_QUEUE: usize = 1_024;

/// Starts everything the role needs. `existing` are the cluster's retry topics: one that is no longer configured is still emptied.
pub(super) fn start(
    shared: &AppContext,
    publisher: &Publisher,
    existing: &BTreeMap<String, i32>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let config = &shared.config;
    let kafka = &config.kafka;
    let retry_prefix = kafka.topic("retry.");
    let mut topics = vec![kafka.topic("deliveries")];
    let mut tier_of_topic = vec![None];
    for name in existing.keys() {
        match Tier::of_topic(name, &retry_prefix) {
            Some(tier) => {
                topics.push(name.clone());
                tier_of_topic.push(Some(tier));
            }
            None => tracing::warn!(topic = name, "a retry topic whose name is no delay is not read"),
        }
    }

    let (work, works) = mpsc::channel(WORK_QUEUE);
    let (again, agains) = mpsc::unbounded_channel();
    let max_in_flight = config.webhooks.max_in_flight as usize;
    let (outcomes, written) = mpsc::channel(max_in_flight);
    let in_flight = Arc::new(InFlight::new(shared.pool.clone()));
    let follower = OutcomePublisher {
        publisher: publisher.clone(),
        pool: shared.pool.clone(),
        probe: shared.pg_monitor.clone(),
        schedules: Arc::clone(&shared.schedules),
        in_flight: Arc::clone(&in_flight),
        again: again.clone(),
        metrics: Arc::clone(&shared.metrics),
        retry_prefix: retry_prefix.into(),
        dead_letter_topic: kafka.topic("dead-letter").into(),
    };
    let notes = Arc::new(HealthNotes::default());
    let writer = Writer {
        follower: follower.clone(),
        notes: Arc::clone(&notes),
        metrics: Arc::clone(&shared.metrics),
        tasks: TaskTracker::new(),
    };
    let deliverer = Arc::new(Deliverer {
        pool: shared.pool.clone(),
        probe: shared.pg_monitor.clone(),
        registry: shared.registry.clone(),
        registry_read_at: Arc::clone(&shared.registry_read_at),
        client: WebhookClient::new(client_options(shared)?).context("starting the HTTP client")?,
        schedules: Arc::clone(&shared.schedules),
        in_flight: Arc::clone(&in_flight),
        follower,
        outcomes,
        again,
        places: Arc::new(Semaphore::new(max_in_flight)),
        timeout: config.webhooks.timeout,
        metrics: Arc::clone(&shared.metrics),
        tasks: TaskTracker::new(),
        give_up: shared.lifecycle.give_up.clone(),
    });

    let group = kafka.topic("deliver");
    let queues = topics.len() * usize::try_from(kafka.partitions).unwrap_or(1);
    let tiers = SecondReaderSettings {
        topics: (0..topics.len())
            .filter(|place| tier_of_topic[*place].is_some())
            .collect(),
        config: settings::tiers_reader(kafka, &group, queues, shortest(&tier_of_topic)),
    };
    for number in 0..config.deliver.threads {
        let member = GroupMember::join(
            &settings::deliver_member(kafka, &group, queues),
            "deliver",
            &topics,
            Some(tiers.clone()),
            shared.client_events.clone(),
        )
        .context("joining the deliver group")?;
        let name = format!("deliver-{number}");
        shared.health.member_joins(&name);
        let settings = IntakeSettings {
            name: name.clone(),
            topics: topics.clone(),
            tier_of_topic: tier_of_topic.clone(),
            tiers: shared.schedules.tiers().clone(),
            dead_letter_topic: kafka.topic("dead-letter"),
        };
        let links = IntakeLinks {
            work: work.clone(),
            in_flight: Arc::clone(&in_flight),
            publisher: publisher.clone(),
            metrics: Arc::clone(&shared.metrics),
            health: Arc::clone(&shared.health),
            runtime: Handle::current(),
            stop: shared.lifecycle.stop.clone(),
        };
        tasks.spawn_thread(name, move || intake::run(member, settings, links))?;
    }
    drop(work);

    // The deliverer ends when the intake threads are gone, the writer when the deliverer is, the notes when the writer is.
    let (pool, probe) = (shared.pool.clone(), shared.pg_monitor.clone());
    tasks.spawn("deliver", async move {
        let all_written = CancellationToken::new();
        let stop_notes = all_written.clone();
        let (delivered, wrote, noted) = tokio::join!(
            deliverer.run(works, agains),
            async {
                let result = writer.run(written).await;
                all_written.cancel();
                result
            },
            notes.run(pool, probe, stop_notes),
        );
        delivered.and(wrote).and(noted)
    });
    Ok(())
}

/// The shortest delay of the tiers that are read.
fn shortest(tier_of_topic: &[Option<Tier>]) -> Duration {
    let delays = tier_of_topic.iter().flatten().map(|tier| tier.delay());
    delays.min().unwrap_or_default()
}

fn client_options(shared: &AppContext) -> anyhow::Result<ClientOptions> {
    let webhooks = &shared.config.webhooks;
    let extra_roots_pem = match &webhooks.ca_file {
        Some(path) => Some(
            std::fs::read(path)
                .with_context(|| format!("webhooks.ca_file: {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    Ok(ClientOptions {
        rules: address_rules(shared),
        timeout: webhooks.timeout,
        connect_timeout: webhooks.connect_timeout,
        extra_roots_pem,
        ..ClientOptions::default()
    })
}

/// Which addresses may be called.
pub(super) fn address_rules(shared: &AppContext) -> AddressRules {
    AddressRules {
        allow: shared.config.webhooks.allow_networks.clone(),
        deny: shared.config.webhooks.deny_networks.clone(),
    }
}

//! Watches Postgres and Kafka, so that `/readyz` soon says when one of them is away and when it is
//! back.
//!
//! Postgres has a task and a connection of its own, Kafka two tasks and a client: neither the
//! other's silence nor a busy pool delays a question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use super::brokers_watch::BrokersWatch;
use super::context::AppContext;
use super::missing_topics::MissingTopics;
use super::partition_counts::PartitionCounts;
use super::publish_watch::PublishWatch;
use super::roles::Roles;
use super::settings::pool_settings;
use crate::clock;
use crate::kafka::cluster::{Cluster, TopicLookup};
use crate::kafka::rights::{MissingRight, NeededRights, in_one_line};
use crate::kafka::topics::plan;
use crate::record::pg_monitor::PgMonitor;
use crate::record::{connect, pool};
use crate::tasks::Tasks;
use crate::telemetry::Health;
use crate::telemetry::connection::ConnectionError;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::{ProcessRole, ReadyCheck};

/// Longest time that an answer may take. With the pause it stays well below the five seconds within
/// which an outage is to be seen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time from an answer to the next question.
const PAUSE: Duration = Duration::from_secs(1);
/// Time from an answer about rights, which change seldom, to the next question.
const RIGHTS_PAUSE: Duration = Duration::from_secs(2);

/// Starts watching Postgres, and Kafka if these roles read it. `retry_topics` are those of the
/// cluster.
pub(super) fn start(
    app: &AppContext,
    roles: &Roles,
    retry_topics: &BTreeMap<String, i32>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let finished = &app.lifecycle.finished;
    let postgres = PostgresWatch {
        options: pool::connect_options(&pool_settings(&app.config))?,
        connection: None,
        monitor: app.pg_monitor.clone(),
    };
    tasks.spawn_background("postgres-watch", postgres.run(finished.clone()));
    if roles.reads_kafka() {
        let kafka = &app.config.kafka;
        let cluster = Cluster::impatient(kafka, &app.client_events, ANSWER_TIMEOUT)
            .context("starting the client that watches Kafka")?
            .kept(&kafka.topic("deliveries"));
        let brokers = BrokersWatch {
            kafka: kafka.clone(),
            client_events: app.client_events.clone(),
        };
        tasks.spawn_background("brokers-watch", brokers.run(finished.clone()));
        let rights = RightsWatch {
            cluster: cluster.clone(),
            needed: needed_rights(app, roles, retry_topics),
            lacking: Arc::default(),
            lines: Throttle::new(),
        };
        let watched = watched_topics(app, roles);
        let missing = MissingTopics {
            cluster: cluster.clone(),
            topics: other_topics(app, roles, &watched),
            health: Arc::clone(&app.health),
            told: BTreeSet::new(),
        };
        tasks.spawn_background("topics-watch", missing.run(finished.clone()));
        let kafka = KafkaWatch {
            cluster,
            topics: watched,
            partitions: PartitionCounts::of(app, roles),
            lacking: Arc::clone(&rights.lacking),
            published: PublishWatch {
                client_events: app.client_events.clone(),
                health: Arc::clone(&app.health),
                lines: Throttle::new(),
            },
            health: Arc::clone(&app.health),
        };
        tasks.spawn_background("kafka-watch", kafka.run(finished.clone()));
        tasks.spawn_background("rights-watch", rights.run(finished.clone()));
    }
    Ok(())
}

/// Topics to ask for: `deliveries`, since any answer shows that Kafka is there, even a refusal; and
/// those from which these roles read events, or to which they write what they have decided, which
/// somebody else may have deleted.
fn watched_topics(app: &AppContext, roles: &Roles) -> Vec<String> {
    let (kafka, sources) = (&app.config.kafka, &app.config.sources);
    let mut topics = vec![kafka.topic("deliveries")];
    if roles.has(ProcessRole::Route) || roles.has(ProcessRole::Detect) {
        topics.extend(sources.unkeyed().map(|source| source.topic.clone()));
    }
    if roles.has(ProcessRole::Detect) {
        topics.push(kafka.topic("detector-state"));
        topics.extend(sources.keyed().map(|source| source.topic.clone()));
        topics.extend(sources.unkeyed().take(1).map(|_| kafka.topic("events")));
    }
    topics
}

/// The other topics that these roles use. They are ready while one is missing: what does not need
/// it goes on.
fn other_topics(app: &AppContext, roles: &Roles, watched: &[String]) -> Vec<String> {
    let plan = roles.topics_of(plan(&app.config, &app.schedules.tier_names()));
    let names = plan.into_iter().map(|topic| topic.name);
    names.filter(|name| !watched.contains(name)).collect()
}

/// The rights without which these roles cannot do their work. A client that lacks one goes on
/// trying instead of failing, so they are asked for here.
fn needed_rights(app: &AppContext, roles: &Roles, retry_topics: &BTreeMap<String, i32>) -> Vec<NeededRights> {
    let plan = roles.topics_of(plan(&app.config, &app.schedules.tier_names()));
    let planned = plan.into_iter().map(|topic| NeededRights {
        topic: topic.name,
        operations: topic.needed,
    });
    let mut needed: Vec<NeededRights> = planned.collect();
    if roles.has(ProcessRole::Deliver) {
        // A tier that is no longer configured is still emptied, and written to by nobody.
        let is_planned = |name: &str| needed.iter().any(|one| one.topic == name);
        let others = retry_topics.keys().filter(|name| !is_planned(name));
        let others: Vec<NeededRights> = others.map(|name| NeededRights::to_read(name)).collect();
        needed.extend(others);
    }
    needed
}

struct PostgresWatch {
    options: PgConnectOptions,
    /// Outside the pool; one that did not answer is dropped.
    connection: Option<PgConnection>,
    monitor: PgMonitor,
}

impl PostgresWatch {
    async fn run(mut self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                match self.ask().await {
                    Ok(()) => self.monitor.answered(),
                    Err(error) => self.monitor.connection_failed(error),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), ConnectionError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect::connect_within(&self.options, ANSWER_TIMEOUT).await?,
        };
        connect::ping_within(&mut connection, &self.options, ANSWER_TIMEOUT).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

struct KafkaWatch {
    cluster: Cluster,
    /// Topics to ask for: a few are cheaper than all.
    topics: Vec<String>,
    partitions: PartitionCounts,
    lacking: LackingRights,
    published: PublishWatch,
    health: Arc<Health>,
}

impl KafkaWatch {
    async fn run(mut self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                let answer = self.ask().await;
                let published = self.published.look();
                let answer = answer.and(published);
                self.health.set(ReadyCheck::Kafka, answer);
                self.partitions.report(&self.health, clock::now_ms());
                tokio::time::sleep(PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    /// Asks for each topic until one is missing or there is no answer. If all are there, missing
    /// rights are the error.
    async fn ask(&mut self) -> Result<(), String> {
        for topic in &self.topics {
            match self.cluster.topic(topic, ANSWER_TIMEOUT).await {
                Ok(TopicLookup::Missing) => {
                    return Err(format!(
                        "there is no such topic as {topic} any more; `bellwether topics create` makes it"
                    ));
                }
                Ok(TopicLookup::Found(shape)) => self.partitions.note(topic, shape.partitions),
                // What may not be described may still be read.
                Ok(TopicLookup::NotAllowed) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.clone().map_or(Ok(()), Err)
    }
}

/// The missing rights as of the last answer, in one line.
type LackingRights = Arc<Mutex<Option<String>>>;

/// Asks for rights, in a task of its own: if the one broker that answers this is away, topics can
/// still be asked for.
struct RightsWatch {
    cluster: Cluster,
    needed: Vec<NeededRights>,
    lacking: LackingRights,
    lines: Throttle,
}

impl RightsWatch {
    async fn run(mut self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                // Without an answer the last one stands.
                if let Ok(missing) = self.cluster.missing_rights(&self.needed, ANSWER_TIMEOUT).await {
                    self.note(&missing);
                }
                tokio::time::sleep(RIGHTS_PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    /// Logs missing rights, and keeps them for `/readyz`.
    fn note(&mut self, missing: &[MissingRight]) {
        let missing = (!missing.is_empty()).then(|| in_one_line(missing));
        if let Some(missing) = &missing
            && let Some(suppressed) = self.lines.admit(clock::monotonic())
        {
            tracing::error!(suppressed, "{missing}; what needs it goes on once it is granted");
        }
        *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }
}

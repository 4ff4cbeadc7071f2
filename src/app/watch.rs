//! Postgres and Kafka watched, so that `/readyz` soon says when one of them is away and when it is
//! back.
//!
//! Each has a task and connections of its own: neither the other's silence nor a busy pool delays a
//! question.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use super::context::AppContext;
use super::roles::Roles;
use super::settings::pool_settings;
use crate::kafka::cluster::{Cluster, TopicLookup};
use crate::record::pg_monitor::PgMonitor;
use crate::record::{connect, pool};
use crate::tasks::Tasks;
use crate::telemetry::Health;
use crate::telemetry::connection::ConnectionError;
use crate::telemetry::words::ProcessRole;
use crate::telemetry::words::ReadyCheck;

/// Longest time that an answer may take. With the pause it stays well below the five seconds within
/// which an outage is to be seen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time from an answer to the next question.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts watching the stores that these roles use.
pub(super) fn start(app: &AppContext, roles: &Roles, tasks: &mut Tasks) -> anyhow::Result<()> {
    let finished = &app.lifecycle.finished;
    let postgres = PostgresWatch {
        options: pool::connect_options(&pool_settings(&app.config))?,
        connection: None,
        monitor: app.pg_monitor.clone(),
    };
    tasks.spawn_background("postgres-watch", postgres.run(finished.clone()));
    if roles.reads_kafka() {
        let kafka = &app.config.kafka;
        let kafka = KafkaWatch {
            cluster: Cluster::impatient(kafka, &app.client_events, ANSWER_TIMEOUT)
                .context("starting the client that watches Kafka")?,
            topics: watched_topics(app, roles),
            health: Arc::clone(&app.health),
        };
        tasks.spawn_background("kafka-watch", kafka.run(finished.clone()));
    }
    Ok(())
}

/// The topic that every process may ask for, and those that these roles read and the producers, or
/// nobody, may have deleted.
fn watched_topics(app: &AppContext, roles: &Roles) -> Vec<String> {
    let (kafka, sources) = (&app.config.kafka, &app.config.sources);
    let mut topics = vec![kafka.topic("deliveries")];
    if roles.has(ProcessRole::Route) {
        topics.extend(sources.unkeyed().map(|source| source.topic.clone()));
    }
    if roles.has(ProcessRole::Detect) {
        topics.extend(sources.keyed().map(|source| source.topic.clone()));
        topics.extend(sources.unkeyed().take(1).map(|_| kafka.topic("events")));
    }
    topics
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
    health: Arc<Health>,
}

impl KafkaWatch {
    async fn run(self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                self.health.set(ReadyCheck::Kafka, self.ask().await);
                tokio::time::sleep(PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    /// Asks for each topic, until one cannot be read.
    async fn ask(&self) -> Result<(), String> {
        for topic in &self.topics {
            match self.cluster.topic(topic, ANSWER_TIMEOUT).await {
                Ok(TopicLookup::Missing) => {
                    return Err(format!(
                        "there is no such topic as {topic} any more; `bellwether topics create` makes it"
                    ));
                }
                // What may not be described may still be read.
                Ok(TopicLookup::Found(_) | TopicLookup::NotAllowed) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

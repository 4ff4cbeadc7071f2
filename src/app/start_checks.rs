//! The conditions that must hold before any role starts: schema and keys in Postgres, topics in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::context::{Database, Foundation};
use super::settings;
use crate::clock;
use crate::config::Config;
use crate::kafka::topics::{TopicPlan, TopicProblem, Topics, plan};
use crate::record::keyring::Keyring;
use crate::record::keys;
use crate::record::migrate::{self, Schema};
use crate::record::pg_monitor::PgMonitor;
use crate::record::pool::ConnectionEpoch;

/// Longest time that a start waits for Postgres or Kafka before it fails.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two tries to reach one of them.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Time until the server has reported that a statement ended.
const STATEMENT_SLACK: Duration = Duration::from_secs(1);

/// Waits for Postgres, and refuses a schema or keys that this process cannot work with.
pub(super) async fn open_database(foundation: &Foundation) -> anyhow::Result<Database> {
    let (config, health) = (&foundation.config, &foundation.health);
    let keyring = Arc::new(settings::keyring(config)?);
    let epoch = ConnectionEpoch::default();
    let pool = settings::open_pool(config, &epoch)?;
    let monitor = PgMonitor::new(
        Arc::clone(&foundation.metrics),
        Arc::clone(health),
        epoch,
        config.postgres.statement_timeout + STATEMENT_SLACK,
    );
    let mut connection = connect(&pool).await?;
    health.set("postgres", Ok(()));
    check_schema(config, &pool, &mut connection).await?;
    health.set("schema", Ok(()));
    check_keys(&mut connection, &keyring).await?;
    health.set("keys", Ok(()));
    Ok(Database {
        pool,
        monitor,
        keyring,
    })
}

async fn connect(pool: &PgPool) -> anyhow::Result<PoolConnection<Postgres>> {
    let deadline = clock::monotonic() + START_TIMEOUT;
    loop {
        match pool.acquire().await {
            Ok(connection) => return Ok(connection),
            Err(error) if clock::monotonic() < deadline && error.as_database_error().is_none() => {
                tracing::warn!(error = %error, "Postgres does not answer; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error).context("connecting to Postgres (postgres.url)"),
        }
    }
}

async fn check_schema(config: &Config, pool: &PgPool, connection: &mut PgConnection) -> anyhow::Result<()> {
    if config.postgres.migrate_on_start {
        migrate::migrate(pool, clock::now_ms())
            .await
            .context("applying migrations")?;
    }
    match migrate::schema(connection)
        .await
        .context("reading the schema's version")?
    {
        Schema::Current => Ok(()),
        other => anyhow::bail!(
            "the database's schema is not the one this version works with ({other:?}); `bellwether migrate` applies what is missing"
        ),
    }
}

async fn check_keys(connection: &mut PgConnection, keyring: &Keyring) -> anyhow::Result<()> {
    keys::check_keys(connection, keyring, clock::now())
        .await
        .context("encryption.keys")
}

/// Waits for Kafka, and refuses topics that differ from the plan; an embedded cluster's are made as
/// planned. Returns the partition counts of the cluster's retry topics by name.
pub(super) async fn check_topics(
    foundation: &Foundation,
    embedded: bool,
) -> anyhow::Result<BTreeMap<String, i32>> {
    let config = &foundation.config;
    let topics =
        Topics::new(config, foundation.client_events.clone()).context("starting the Kafka admin client")?;
    let retry_prefix = config.kafka.topic("retry.");
    if !embedded {
        let plan = plan(config, &foundation.schedules.tier_names());
        refuse(&find_problems(&topics, &plan, &retry_prefix, config).await?)?;
        let names: Vec<String> = plan.iter().map(|topic| topic.name.clone()).collect();
        for (topic, seconds) in topics.retentions(&names).await? {
            let retention = &foundation.metrics.topic_retention;
            retention.with_label_values(&[&topic]).set(seconds);
        }
    }
    foundation.health.set("kafka", Ok(()));
    let existing = tokio::task::spawn_blocking(move || topics.existing()).await??;
    Ok(existing
        .into_iter()
        .filter(|(name, _)| name.starts_with(&retry_prefix))
        .collect())
}

async fn find_problems(
    topics: &Topics,
    plan: &[TopicPlan],
    retry_prefix: &str,
    config: &Config,
) -> anyhow::Result<Vec<TopicProblem>> {
    let brokers = &config.kafka.brokers;
    let deadline = clock::monotonic() + START_TIMEOUT;
    loop {
        match topics.check(plan, retry_prefix).await {
            Ok(problems) => return Ok(problems),
            Err(error) if clock::monotonic() < deadline => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    brokers,
                    "Kafka does not answer; trying again"
                );
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("asking Kafka for its topics (kafka.brokers = \"{brokers}\")"));
            }
        }
    }
}

fn refuse(problems: &[TopicProblem]) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let hint = if problems.iter().any(|problem| problem.missing) {
        "\n`bellwether topics create` makes what is missing"
    } else {
        ""
    };
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    anyhow::bail!("the topics are not as they must be:{}{hint}", lines.concat())
}

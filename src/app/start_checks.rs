//! The conditions that must hold before any role starts: schema and keys in Postgres, topics in
//! Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};

use super::context::{Database, Foundation};
use super::{route, settings};
use crate::clock;
use crate::config::Config;
use crate::kafka::group_check::find_missing_right;
use crate::kafka::rights::AclOperation;
use crate::kafka::topics::{TopicPlan, TopicProblem, Topics, plan};
use crate::record::keyring::Keyring;
use crate::record::migrate::{self, Schema};
use crate::record::pg_monitor::PgMonitor;
use crate::record::pool::ConnectionEpoch;
use crate::record::{connect, keys, pool};
use crate::telemetry::connection::ConnectionError;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::{ProcessRole, ReadyCheck};

/// Longest time that a start waits for Postgres or Kafka before it fails.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time from one try to reach one of them to the next.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Time until the server has reported that a statement ended.
const STATEMENT_SLACK: Duration = Duration::from_secs(1);

/// Waits for Postgres, and refuses a schema or keys that this process cannot work with.
pub(super) async fn open_database(foundation: &Foundation) -> anyhow::Result<Database> {
    let (config, health) = (&foundation.config, &foundation.health);
    let keyring = Arc::new(settings::keyring(config)?);
    let epoch = ConnectionEpoch::default();
    let (pool, api_pool) = settings::open_pools(config, &foundation.roles, &epoch)?;
    let outcome_pool = settings::open_outcome_pool(config, &epoch)?;
    let options = pool::connect_options(&settings::pool_settings(config))?;
    let monitor = PgMonitor::new(
        connect::server_name(&options),
        Arc::clone(&foundation.metrics),
        Arc::clone(health),
        epoch,
        config.postgres.statement_timeout + STATEMENT_SLACK,
    );
    let mut connection = connect_patiently(&options).await?;
    health.set(ReadyCheck::Postgres, Ok(()));
    check_schema(config, &pool, &mut connection).await?;
    health.set(ReadyCheck::Schema, Ok(()));
    check_keys(&mut connection, &keyring).await?;
    health.set(ReadyCheck::Keys, Ok(()));
    Ok(Database {
        pool,
        api_pool,
        outcome_pool,
        monitor,
        keyring,
    })
}

/// Connects, and tries again for as long as the server may still be starting.
async fn connect_patiently(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let deadline = clock::monotonic() + START_TIMEOUT;
    let mut tries = Throttle::new();
    loop {
        match connect::connect(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if clock::monotonic() < deadline && !error.is_final() => {
                if let Some(suppressed) = tries.admit(clock::monotonic()) {
                    tracing::warn!(suppressed, "{error}; trying again");
                }
                tokio::time::sleep(RETRY_EVERY).await;
            }
            Err(error) => return Err(error.into()),
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
        Schema::Behind { missing } => {
            let (noun, them) = match missing.len() {
                1 => ("migration", "it"),
                _ => ("migrations", "them"),
            };
            let versions: Vec<String> = missing.iter().map(i64::to_string).collect();
            anyhow::bail!(
                "the database's schema lacks {} {noun} ({}); `bellwether migrate` applies {them}",
                missing.len(),
                versions.join(", ")
            )
        }
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
        let plan = foundation.roles.topics_of(plan);
        let problems = find_problems(&topics, &plan, &retry_prefix).await?;
        // The partitions that all topics have go on; `/readyz` names the others.
        let (partial, fatal): (Vec<_>, Vec<_>) = problems.into_iter().partition(|one| one.is_partial);
        for problem in partial {
            tracing::warn!("{problem}; events of the partitions beyond are not detected until then");
        }
        refuse(&fatal)?;
        check_groups(foundation).await?;
        for (topic, seconds) in topics.retentions(&plan).await? {
            let retention = &foundation.metrics.topic_retention;
            retention.with_label_values(&[&topic]).set(seconds);
            check_retention(config, &topic, seconds)?;
        }
    }
    foundation.health.set(ReadyCheck::Kafka, Ok(()));
    let existing = topics.existing().await?;
    let expected = &foundation.metrics.consumer_partitions_expected;
    expected
        .with_label_values(&[ProcessRole::Route.as_str()])
        .set(route::expected_partitions(config, &existing));
    Ok(existing
        .into_iter()
        .filter(|(name, _)| name.starts_with(&retry_prefix))
        .collect())
}

/// Refuses to forget deliveries before their topic does, which may hand them out once more. A topic
/// that keeps records for ever (0 seconds) cannot be outlived, and is only named.
pub(crate) fn check_retention(config: &Config, topic: &str, seconds: f64) -> anyhow::Result<()> {
    const DAY_SECONDS: f64 = 86_400.0;
    if topic != config.kafka.topic("deliveries") && !topic.starts_with(&config.kafka.topic("retry.")) {
        return Ok(());
    }
    let ours = config.postgres.retention.as_secs_f64();
    if seconds == 0.0 {
        tracing::warn!(
            topic,
            "it keeps records for ever, and postgres.retention does not"
        );
    }
    anyhow::ensure!(
        seconds + DAY_SECONDS <= ours,
        "postgres.retention is {:.1} days, and {topic} keeps records for {:.1}: it must be at least a day longer",
        ours / DAY_SECONDS,
        seconds / DAY_SECONDS
    );
    Ok(())
}

/// Refuses to start without the right to join the groups of these roles, or to see how far another
/// has come.
async fn check_groups(foundation: &Foundation) -> anyhow::Result<()> {
    let kafka = &foundation.config.kafka;
    for (group, operation) in needed_groups(foundation) {
        let (group, topic) = (kafka.topic(group.as_str()), kafka.topic("deliveries"));
        let missing = find_missing_right(kafka, &foundation.client_events, operation, &group, &topic);
        if let Some(right) = missing.await.context("starting a Kafka client")? {
            anyhow::bail!(right);
        }
    }
    Ok(())
}

/// The groups that these roles use, by the role whose group it is.
fn needed_groups(foundation: &Foundation) -> Vec<(ProcessRole, AclOperation)> {
    let is_routed = foundation.config.sources.unkeyed().next().is_some();
    let mut needed = Vec::new();
    for role in [ProcessRole::Route, ProcessRole::Detect, ProcessRole::Deliver] {
        if foundation.roles.has(role) && (role != ProcessRole::Route || is_routed) {
            needed.push((role, AclOperation::Read));
        }
    }
    if foundation.roles.has(ProcessRole::Detect) && is_routed {
        needed.push((ProcessRole::Route, AclOperation::Describe));
    }
    needed
}

/// Checks the topics, and tries again for as long as the cluster may still be starting.
async fn find_problems(
    topics: &Topics,
    plan: &[TopicPlan],
    retry_prefix: &str,
) -> anyhow::Result<Vec<TopicProblem>> {
    let deadline = clock::monotonic() + START_TIMEOUT;
    let mut tries = Throttle::new();
    loop {
        let begun = clock::monotonic();
        match topics.check(plan, retry_prefix).await {
            Ok(problems) => return Ok(problems),
            Err(error) if clock::monotonic() < deadline && !is_final(&error) => {
                if let Some(suppressed) = tries.admit(clock::monotonic()) {
                    tracing::warn!(suppressed, "{error:#}; trying again");
                }
                // The question has taken a part of the time already.
                let took = clock::monotonic().duration_since(begun);
                tokio::time::sleep(RETRY_EVERY.saturating_sub(took)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_final(error: &anyhow::Error) -> bool {
    let connection = error.downcast_ref::<ConnectionError>();
    connection.is_some_and(ConnectionError::is_final)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_kept_a_day_longer_than_any_topic() {
        const DAY: f64 = 86_400.0;
        let ours = 30.0 * DAY;
        let mut config = Config::default();
        config.postgres.retention = Duration::from_secs_f64(ours);
        let check = |seconds| check_retention(&config, "bellwether.deliveries", seconds);
        assert!(check_retention(&config, "bellwether.dead-letter", ours).is_ok());
        for (seconds, is_taken) in [
            (7.0 * DAY, true),
            (ours - DAY, true),
            (ours - DAY + 1.0, false),
            (ours, false),
            // For ever.
            (0.0, true),
        ] {
            assert_eq!(check(seconds).is_ok(), is_taken, "{seconds}");
        }
        let refused = check(ours).expect_err("refused").to_string();
        assert!(
            refused.contains("postgres.retention") && refused.contains("bellwether.deliveries"),
            "{refused}"
        );
    }
}

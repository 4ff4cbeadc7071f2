//! What must hold before anything starts, and what the stages are given.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::util::get_rdkafka_version;
use sqlx::PgPool;

use super::{Role, Roles};
use crate::clock;
use crate::config::Config;
use crate::dispatch::schedules::Schedules;
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::PRODUCED;
use crate::kafka::topics::{Topics, plan};
use crate::record::keyring::Keyring;
use crate::record::keys;
use crate::record::migrate::{self, Schema};
use crate::record::pool::{self, ConnectionEpoch, PoolSettings};
use crate::telemetry::metrics::Labels;
use crate::telemetry::{Health, Metrics};

/// How long a start waits for Postgres and Kafka before it fails.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The retry schedules of the configuration.
pub(crate) fn schedules(config: &Config) -> anyhow::Result<Schedules> {
    Schedules::parse(&config.webhooks.retry_schedules).context("webhooks.retry_schedules")
}

/// A line that has to be a key, or why there is none.
pub(super) struct KeyLine {
    /// Where it stands, beginning with its configuration key.
    pub(crate) place: String,
    pub(crate) line: Result<String, String>,
}

/// `encryption.keys`, then the lines of `encryption.key_files`.
pub(super) fn key_lines(config: &Config) -> Vec<KeyLine> {
    let keys = config.encryption.keys.iter().enumerate();
    let mut lines: Vec<KeyLine> = keys
        .map(|(i, key)| KeyLine {
            place: format!("encryption.keys[{i}]"),
            line: Ok(key.clone()),
        })
        .collect();
    for (i, path) in config.encryption.key_files.iter().enumerate() {
        let shown = path.display();
        match std::fs::read_to_string(path) {
            Err(error) => lines.push(KeyLine {
                place: format!("encryption.key_files[{i}] = \"{shown}\""),
                line: Err(format!("cannot be read: {error}")),
            }),
            Ok(text) => lines.extend(
                text.lines()
                    .map(str::trim)
                    .enumerate()
                    .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
                    .map(|(number, line)| KeyLine {
                        place: format!("encryption.key_files[{i}], line {} of {shown}", number + 1),
                        line: Ok(line.to_owned()),
                    }),
            ),
        }
    }
    lines
}

/// The encryption keys of the configuration.
pub(crate) fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let lines: Vec<String> = key_lines(config)
        .into_iter()
        .map(|given| {
            given
                .line
                .map_err(|why| anyhow::anyhow!("{}: {why}", given.place))
        })
        .collect::<Result<_, _>>()?;
    Ok(Keyring::parse(&lines)?)
}

/// A pool of connections to Postgres.
pub(crate) fn open_pool(config: &Config, trust: &ConnectionEpoch) -> anyhow::Result<PgPool> {
    Ok(pool::open(&pool_settings(config), trust)?)
}

/// How the configuration wants Postgres to be reached.
pub(crate) fn pool_settings(config: &Config) -> PoolSettings {
    PoolSettings {
        url: config.postgres.url.clone(),
        max_connections: config.postgres.max_connections,
        statement_timeout: config.postgres.statement_timeout,
        lock_timeout: Duration::from_secs(5),
    }
}

/// The label values that depend on the configuration.
pub(super) fn labels(config: &Config, schedules: &Schedules) -> Labels {
    let sources: Vec<String> = config
        .sources
        .0
        .iter()
        .map(|source| source.topic.clone())
        .collect();
    let tiers = schedules.tier_names();
    let mut consumed: Vec<(String, String)> = sources
        .iter()
        .map(|topic| ("detect".to_owned(), topic.clone()))
        .collect();
    consumed.push(("deliver".to_owned(), config.kafka.topic("deliveries")));
    consumed.extend(
        tiers
            .iter()
            .map(|tier| ("deliver".to_owned(), config.kafka.topic(&format!("retry.{tier}")))),
    );
    Labels {
        sources,
        tiers,
        produced: PRODUCED.map(str::to_owned).to_vec(),
        consumed,
    }
}

/// The conditions of readiness that apply to a process with these roles.
pub(super) fn checks(roles: &Roles) -> &'static [&'static str] {
    if roles.reads_kafka() {
        &["postgres", "kafka", "assignment", "schema", "keys"]
    } else {
        &["postgres", "schema", "keys"]
    }
}

/// Says what is running.
pub(super) fn describe(config: &Config, roles: &Roles, metrics: &Metrics) {
    let librdkafka = get_rdkafka_version().1;
    let revision = option_env!("BELLWETHER_REVISION").unwrap_or("unknown");
    metrics
        .build_info
        .with_label_values(&[env!("CARGO_PKG_VERSION"), revision, &librdkafka])
        .set(1);
    metrics
        .config_info
        .with_label_values(&[&config.shared_hash()])
        .set(1);
    for role in roles.names() {
        metrics.roles.with_label_values(&[role]).set(1);
    }
    for (role, threads) in [
        (Role::Detect, config.detect.threads),
        (Role::Deliver, config.deliver.threads),
    ] {
        let name = if role == Role::Detect { "detect" } else { "deliver" };
        metrics
            .threads
            .with_label_values(&[name])
            .set(if roles.has(role) { i64::from(threads) } else { 0 });
        metrics
            .consumer_partitions_expected
            .with_label_values(&[name])
            .set(i64::from(config.kafka.partitions));
    }
    metrics
        .in_flight_limit
        .set(i64::from(config.webhooks.max_in_flight));
    metrics
        .postgres_connections_max
        .set(i64::from(config.postgres.max_connections));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), librdkafka, roles = %roles, "starting");
}

/// Waits for Postgres, then sees that schema and keys are as they must be.
pub(super) async fn postgres(
    config: &Config,
    pool: &PgPool,
    keyring: &Keyring,
    health: &Health,
) -> anyhow::Result<()> {
    let deadline = clock::monotonic() + START_TIMEOUT;
    let mut connection = loop {
        match pool.acquire().await {
            Ok(connection) => break connection,
            Err(error) if clock::monotonic() < deadline && error.as_database_error().is_none() => {
                tracing::warn!(error = %error, "Postgres does not answer; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error).context("connecting to Postgres (postgres.url)"),
        }
    };
    health.set("postgres", Ok(()));
    if config.postgres.migrate_on_start {
        migrate::migrate(pool, clock::now_ms())
            .await
            .context("applying migrations")?;
    }
    match migrate::schema(&mut connection)
        .await
        .context("reading the schema's version")?
    {
        Schema::Current => {}
        other => anyhow::bail!(
            "the database's schema is not the one this version works with ({other:?}); `bellwether migrate` applies what is missing"
        ),
    }
    health.set("schema", Ok(()));
    keys::check_keys(&mut connection, keyring, clock::now())
        .await
        .context("encryption.keys")?;
    health.set("keys", Ok(()));
    Ok(())
}

/// Sees that the topics are as they must be (an embedded cluster's are made as planned). Returns the names of the cluster's
/// retry topics.
pub(super) async fn kafka(
    config: &Config,
    schedules: &Schedules,
    client_events: &ClientEvents,
    metrics: &Metrics,
    health: &Health,
    embedded: bool,
) -> anyhow::Result<BTreeMap<String, i32>> {
    let topics = Topics::new(config, client_events.clone()).context("starting the Kafka admin client")?;
    let plan = plan(config, &schedules.tier_names());
    let retry_prefix = config.kafka.topic("retry.");
    let deadline = clock::monotonic() + START_TIMEOUT;
    let findings = loop {
        if embedded {
            break Vec::new();
        }
        match topics.check(&plan, &retry_prefix).await {
            Ok(findings) => break findings,
            Err(error) if clock::monotonic() < deadline => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    brokers = config.kafka.brokers,
                    "Kafka does not answer; trying again"
                );
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "asking Kafka for its topics (kafka.brokers = \"{}\")",
                        config.kafka.brokers
                    )
                });
            }
        }
    };
    if !findings.is_empty() {
        let hint = if findings.iter().any(|finding| finding.missing) {
            "\n`bellwether topics create` makes what is missing"
        } else {
            ""
        };
        let lines: Vec<String> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
        anyhow::bail!("the topics are not as they must be:{}{hint}", lines.concat());
    }
    health.set("kafka", Ok(()));
    let names: Vec<String> = plan
        .iter()
        .filter(|_| !embedded)
        .map(|topic| topic.name.clone())
        .collect();
    for (topic, seconds) in topics.retentions(&names).await? {
        metrics.topic_retention.with_label_values(&[&topic]).set(seconds);
    }
    let existing = tokio::task::spawn_blocking(move || topics.existing()).await??;
    Ok(existing
        .into_iter()
        .filter(|(name, _)| name.starts_with(&retry_prefix))
        .collect())
}

//! Servers asked for an answer before a command uses them, so that one that is away is named with
//! its cause, and at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgPool};

use super::settings::{open_pool, pool_settings};
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::cluster::Cluster;
use crate::kafka::rights::{NeededRights, in_one_line};
use crate::record::pool::ConnectionEpoch;
use crate::record::{connect, pool};
use crate::telemetry::metrics::{Labels, Metrics};

/// Longest time that Kafka may take to answer.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest time that it may take to count rights, after it has answered.
const RIGHTS_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool of connections to a Postgres that has answered.
pub(crate) async fn reach_postgres(config: &Config) -> anyhow::Result<PgPool> {
    let options = pool::connect_options(&pool_settings(config))?;
    let connection = connect::connect(&options).await?;
    // Only the answer was wanted.
    drop(connection.close().await);
    open_pool(config, &ConnectionEpoch::default())
}

/// Returns when Kafka has answered. Fails if one of the rights that a command needs is missing.
pub(crate) async fn reach_kafka(config: &Config, needed: &[NeededRights]) -> anyhow::Result<()> {
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let cluster = Cluster::new(&config.kafka, &client_events).context("starting a Kafka client")?;
    cluster.topics(KAFKA_TIMEOUT).await?;
    // Without an answer the command itself finds out what it lacks.
    let missing = cluster.missing_rights(needed, RIGHTS_TIMEOUT).await;
    let missing = missing.unwrap_or_default();
    anyhow::ensure!(missing.is_empty(), "{}", in_one_line(&missing));
    Ok(())
}

//! The name of this process, if the configuration gives it one: no other process may have it.
//!
//! Kafka gives the partitions of a name to the process that took it last, and ends the one before.
//! Two processes of one name would end each other in turns, so the second is refused here.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use super::context::Foundation;
use super::settings::pool_settings;
use crate::clock;
use crate::record::{connect, instance, pool};
use crate::tasks::Tasks;

/// Longest wait for the end of a predecessor that has just stopped.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(200);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks at the connection that holds the name.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Claims `kafka.instance_id` for this process, and keeps it.
pub(super) async fn claim(foundation: &Foundation, tasks: &mut Tasks) -> anyhow::Result<()> {
    let kafka = &foundation.config.kafka;
    let Some(id) = kafka.instance_id.clone() else {
        return Ok(());
    };
    let name = InstanceName {
        options: pool::connect_options(&pool_settings(&foundation.config))?,
        lock: kafka.topic(&id),
        id,
    };
    let deadline = clock::monotonic() + PREDECESSOR_TIMEOUT;
    let connection = loop {
        match name.take().await? {
            Some(connection) => break connection,
            None if clock::monotonic() > deadline => return Err(name.taken()),
            None => tokio::time::sleep(RETRY_EVERY).await,
        }
    };
    let finished = foundation.lifecycle.finished.clone();
    tasks.spawn_background("instance", async move {
        let kept = finished.run_until_cancelled(name.keep(connection)).await;
        kept.unwrap_or(Ok(()))
    });
    Ok(())
}

/// The name, and how to take it.
struct InstanceName {
    options: PgConnectOptions,
    id: String,
    lock: String,
}

impl InstanceName {
    /// Claims the name, on a connection of its own; none if another process has it.
    async fn take(&self) -> anyhow::Result<Option<PgConnection>> {
        let mut connection = connect::connect_within(&self.options, ANSWER_TIMEOUT).await?;
        let is_taken = instance::try_lock(&mut connection, &self.lock)
            .await
            .context("taking kafka.instance_id")?;
        Ok(is_taken.then_some(connection))
    }

    /// Keeps the name. Fails when another process has taken it while Postgres was away.
    async fn keep(self, mut connection: PgConnection) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(PING_EVERY).await;
            if connect::ping_within(&mut connection, &self.options, ANSWER_TIMEOUT)
                .await
                .is_ok()
            {
                continue;
            }
            match self.take().await {
                Ok(Some(again)) => connection = again,
                Ok(None) => return Err(self.taken()),
                // Postgres is away: nobody else can take the name.
                Err(error) => tracing::debug!(error = %error, "the process's name is not held for now"),
            }
        }
    }

    fn taken(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "kafka.instance_id: another process runs under the name \"{}\"; give each process a name of its own",
            self.id
        )
    }
}

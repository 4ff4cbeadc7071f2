//! The name of this process, if the configuration gives it one: no other process may have it.
//!
//! Kafka gives the partitions of a name to the process that took it last, and ends the one before.
//! Two processes of one name would end each other in turns, so the second is refused here. A
//! process says each second that it is there: the name of one that is silent for as long as Kafka
//! waits for a member is free, also where Postgres still takes its connection for open.

use std::time::{Duration, Instant};

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
/// Silence after which whoever holds the name is dead: as long as Kafka waits for a member.
/// Postgres itself notices only after hours that a machine is gone.
const DEAD_AFTER: Duration = Duration::from_secs(6);
/// Silence up to which it is alive.
const ALIVE_FOR: Duration = Duration::from_secs(3);
/// Longest wait to find out which of both it is.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(12);

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
    let begun = clock::monotonic();
    let held = loop {
        match name.take(None).await? {
            NameAnswer::Taken(held) => break held,
            NameAnswer::Others { is_alive } => name.check_patience(begun, PREDECESSOR_TIMEOUT, is_alive)?,
        }
        tokio::time::sleep(RETRY_EVERY).await;
    };
    let finished = foundation.lifecycle.finished.clone();
    tasks.spawn_background("instance", async move {
        let kept = finished.run_until_cancelled(name.keep(held)).await;
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

/// The connection that holds the name, and its session.
struct HeldName {
    connection: PgConnection,
    session: i32,
}

/// The answer to an attempt to take the name.
enum NameAnswer {
    Taken(HeldName),
    /// A session of somebody else has it; perhaps one that has been ended just now.
    Others {
        is_alive: bool,
    },
}

impl InstanceName {
    /// Claims the name, on a connection of its own. Ends the session that has it if that is `own`,
    /// of an earlier connection, or that of a process which is dead.
    async fn take(&self, own: Option<i32>) -> anyhow::Result<NameAnswer> {
        let connection = connect::connect_within(&self.options, ANSWER_TIMEOUT).await?;
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.ask(connection, own)).await;
        asked
            .with_context(|| format!("{}: no answer", connect::server_name(&self.options)))
            .and_then(|answer| Ok(answer?))
            .context("taking kafka.instance_id")
    }

    async fn ask(&self, mut connection: PgConnection, own: Option<i32>) -> sqlx::Result<NameAnswer> {
        if instance::try_lock(&mut connection, &self.lock).await? {
            let session = instance::session_of(&mut connection).await?;
            return Ok(NameAnswer::Taken(HeldName { connection, session }));
        }
        let Some(holder) = instance::holder(&mut connection, &self.lock).await? else {
            // It has just ended.
            return Ok(NameAnswer::Others { is_alive: false });
        };
        let silent = holder.silent.unwrap_or_default();
        let is_own = own == Some(holder.pid);
        if is_own || silent >= DEAD_AFTER {
            tracing::warn!(
                instance_id = self.id,
                session = holder.pid,
                silent_seconds = silent.as_secs(),
                "the process's name is taken from a session of Postgres whose process is gone"
            );
            instance::end_session(&mut connection, holder.pid).await?;
        }
        let is_alive = !is_own && silent < ALIVE_FOR;
        Ok(NameAnswer::Others { is_alive })
    }

    /// Keeps the name. Fails when another process has taken it meanwhile.
    async fn keep(self, mut held: HeldName) -> anyhow::Result<()> {
        let mut lost_at = None;
        loop {
            tokio::time::sleep(PING_EVERY).await;
            let ping = connect::ping_within(&mut held.connection, &self.options, ANSWER_TIMEOUT);
            if ping.await.is_ok() {
                lost_at = None;
                continue;
            }
            let since = *lost_at.get_or_insert_with(clock::monotonic);
            match self.take(Some(held.session)).await {
                Ok(NameAnswer::Taken(again)) => held = again,
                Ok(NameAnswer::Others { is_alive }) => self.check_patience(since, DEAD_AFTER, is_alive)?,
                // Postgres is away: nobody else can take the name.
                Err(error) => tracing::debug!(error = %error, "the process's name is not held for now"),
            }
        }
    }

    /// Fails if somebody else has had the name for too long `since` then: for `patience` if that
    /// process is alive.
    fn check_patience(&self, since: Instant, patience: Duration, is_alive: bool) -> anyhow::Result<()> {
        let waited = clock::monotonic().duration_since(since);
        let is_over = waited > DOUBT_TIMEOUT || (is_alive && waited > patience);
        anyhow::ensure!(
            !is_over,
            "kafka.instance_id: another process runs under the name \"{}\"; give each process a name of its own",
            self.id
        );
        Ok(())
    }
}

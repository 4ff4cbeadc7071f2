//! Connections to Postgres.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use super::postgres_url::{self, InvalidPostgresUrl};
use crate::clock;

/// Longest time that a connection may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a process's connections.
#[derive(Clone)]
pub(crate) struct PoolSettings {
    /// `postgres://user:password@host:port/database?sslmode=…`; TLS is as its `sslmode` and
    /// `sslrootcert` say.
    pub(crate) url: String,
    pub(crate) max_connections: u32,
    /// Longest time that a statement may run.
    pub(crate) statement_timeout: Duration,
    /// Longest time that a caller may wait for a connection.
    pub(crate) acquire_timeout: Duration,
    /// Longest time that a statement may wait for a lock.
    pub(crate) lock_timeout: Duration,
}

/// Time from which on connections can be trusted. One that a router or a failover forgot looks
/// alive and never answers: TCP takes a quarter of an hour to notice. An operation that waited in
/// vain calls [`lose`](Self::lose), and no connection that is older is used again, unless another
/// one has answered meanwhile: then a single statement was slow, and the rest is sound.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionEpoch(Arc<Mutex<EpochInstants>>);

#[derive(Debug, Default)]
struct EpochInstants {
    lost: Option<Instant>,
    answered: Option<Instant>,
}

impl ConnectionEpoch {
    /// Notes that a connection has answered.
    pub(crate) fn answered(&self, now: Instant) {
        let mut instants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        instants.answered = instants.answered.max(Some(now));
    }

    /// Distrusts every connection made or used before `now`, since one that was asked at `asked`
    /// has not answered; nothing changes if another one has.
    pub(crate) fn lose(&self, asked: Instant, now: Instant) {
        let mut instants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if instants.answered.is_none_or(|answered| answered <= asked) {
            instants.lost = instants.lost.max(Some(now));
        }
    }

    /// True if no connection was found dead after `at`.
    fn holds_since(&self, at: Instant) -> bool {
        let instants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        instants.lost.is_none_or(|lost| at > lost)
    }

    /// Tells if a connection answers in time; if neither it nor another one does, all older ones
    /// are lost.
    async fn ping(&self, connection: &mut PgConnection) -> bool {
        let asked = clock::monotonic();
        match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
            Ok(Ok(())) => {
                self.answered(clock::monotonic());
                true
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.lose(asked, clock::monotonic());
                false
            }
        }
    }
}

/// A pool that connects when it is first used, so that a process may start while Postgres is away.
pub(crate) fn open(settings: &PoolSettings, epoch: &ConnectionEpoch) -> Result<PgPool, InvalidPostgresUrl> {
    let (before, after) = (epoch.clone(), epoch.clone());
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // The pool's own test would wait for as long as its caller.
        .test_before_acquire(false)
        .before_acquire(move |connection, facts| {
            let epoch = before.clone();
            Box::pin(async move {
                let last_used = clock::monotonic() - facts.idle_for;
                Ok(epoch.holds_since(last_used) && epoch.ping(connection).await)
            })
        })
        // The pool tests a connection that is given back, too, without a bound: one that never
        // answers would keep its place for ever.
        .after_release(move |connection, facts| {
            let epoch = after.clone();
            Box::pin(async move {
                let since = clock::monotonic() - facts.age;
                Ok(epoch.holds_since(since) || epoch.ping(connection).await)
            })
        })
        .connect_lazy_with(connect_options(settings)?))
}

/// The options of every connection; each statement has a bound, whoever runs it.
pub(crate) fn connect_options(settings: &PoolSettings) -> Result<PgConnectOptions, InvalidPostgresUrl> {
    let options = postgres_url::parse(&settings.url)?;
    Ok(options.application_name("bellwether").options([
        (
            "statement_timeout",
            settings.statement_timeout.as_millis().to_string(),
        ),
        ("lock_timeout", settings.lock_timeout.as_millis().to_string()),
        // Notices such as "relation already exists, skipping" tell nobody anything.
        ("client_min_messages", "warning".to_owned()),
        // To compile one of these statements takes a hundred times as long as to run it.
        ("jit", "off".to_owned()),
        // A transaction whose owner stopped must not hold its locks, nor the change feed, for long.
        ("idle_in_transaction_session_timeout", "30000".to_owned()),
    ]))
}

impl std::fmt::Debug for PoolSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolSettings")
            .field("url", &"…")
            .field("max_connections", &self.max_connections)
            .field("statement_timeout", &self.statement_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests;

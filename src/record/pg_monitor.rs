//! Operations on Postgres as the metrics and the log see them: how long, how they fail, whether it is there.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pool::ConnectionEpoch;
use crate::clock;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};

/// First and longest pause between tries. Short: work must go on within seconds of Postgres' return.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Watches operations on Postgres.
#[derive(Debug, Clone)]
pub(crate) struct PgMonitor {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    throttle: Arc<Mutex<Throttle>>,
    trust: ConnectionEpoch,
    patience: Duration,
}

impl PgMonitor {
    /// Reports to `metrics` and `health`. An operation that takes longer than `patience` is given up, and so are the
    /// pool's connections: the server ends a statement before that, if it is there.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        trust: ConnectionEpoch,
        patience: Duration,
    ) -> Self {
        Self {
            metrics,
            health,
            throttle: Arc::default(),
            trust,
            patience,
        }
    }

    /// Does an operation once, watched.
    pub(crate) async fn once<T>(
        &self,
        op: &'static str,
        operation: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let begun = clock::monotonic();
        let mut operation = std::pin::pin!(operation);
        let result = match tokio::time::timeout(self.patience, operation.as_mut()).await {
            Ok(result) => result,
            Err(_) => {
                // Before the operation is dropped, and its connection goes back to the pool.
                self.trust.lose(clock::monotonic());
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer").into())
            }
        };
        match &result {
            Ok(_) => {
                self.metrics
                    .postgres
                    .with_label_values(&[op])
                    .observe(clock::monotonic().duration_since(begun).as_secs_f64());
                self.metrics.postgres_up.set(1);
                self.health.set("postgres", Ok(()));
            }
            Err(error) => self.failed(op, error),
        }
        result
    }

    /// Does an operation until it succeeds: for work that must not be given up.
    pub(crate) async fn until_done<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        op: &'static str,
        mut operation: impl FnMut() -> F,
    ) -> T {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(value) = self.once(op, operation()).await {
                return value;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Does an operation until it succeeds or Postgres refuses what is to be written: trying that again would be refused
    /// for ever.
    pub(crate) async fn until_answered<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        op: &'static str,
        mut operation: impl FnMut() -> F,
    ) -> sqlx::Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.once(op, operation()).await {
                Ok(value) => return Ok(value),
                Err(error) if is_refusal(&error) => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn failed(&self, op: &'static str, error: &sqlx::Error) {
        let kind = kind_of(error);
        self.metrics.postgres_errors.with_label_values(&[op, kind]).inc();
        if kind != "other" {
            self.metrics.postgres_up.set(0);
            self.health.set("postgres", Err(format!("{op}: {error}")));
        }
        let admitted = self
            .throttle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(clock::monotonic());
        if let Some(suppressed) = admitted {
            tracing::warn!(op, error = %error, suppressed, "an operation on Postgres failed");
        }
    }
}

/// Whether the values themselves are what is wrong: they cannot be sent, are out of range (class 22) or break a
/// constraint (class 23).
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(database) => database
            .code()
            .is_some_and(|code| code.starts_with("22") || code.starts_with("23")),
        _ => false,
    }
}

/// The closed set of kinds that `postgres_errors_total` counts by.
fn kind_of(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "timeout",
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => "timeout",
        // 57014: the statement's own timeout; 55P03: the lock's.
        sqlx::Error::Database(database) if matches!(database.code().as_deref(), Some("57014" | "55P03")) => {
            "timeout"
        }
        // 57P0x: the server is stopping, crashed, or starting.
        sqlx::Error::Database(database)
            if database
                .code()
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")) =>
        {
            "connection"
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => "connection",
        _ => "other",
    }
}

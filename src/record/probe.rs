//! Operations on Postgres as the metrics and the log see them: how long, how they fail, whether it is there.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};

/// First and longest pause between tries. Short: work must go on within seconds of Postgres' return.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Watches operations on Postgres.
#[derive(Debug, Clone)]
pub struct Probe {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    throttle: Arc<Mutex<Throttle>>,
}

impl Probe {
    /// Reports to `metrics` and `health`.
    pub fn new(metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        Self {
            metrics,
            health,
            throttle: Arc::default(),
        }
    }

    /// Does an operation once, watched.
    pub async fn once<T>(
        &self,
        op: &'static str,
        operation: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let begun = clock::monotonic();
        let result = operation.await;
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
    pub async fn until_done<T, F: Future<Output = sqlx::Result<T>>>(
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

/// The closed set of kinds that `postgres_errors_total` counts by.
fn kind_of(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "timeout",
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

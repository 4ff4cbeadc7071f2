//! Operations on Postgres as the metrics and the log show them: durations, failures, and the state
//! of the server.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pool::ConnectionEpoch;
use crate::clock;
use crate::telemetry::connection::ConnectionError;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::{PostgresErrorKind, PostgresOp, ReadyCheck};
use crate::telemetry::{Health, Metrics};

/// First and longest pause between tries. Short: work must go on within seconds of Postgres'
/// return.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time without an answer after which the server counts as away. It is asked once a second.
const SILENT_AFTER: Duration = Duration::from_secs(4);

/// Watches operations on Postgres.
#[derive(Debug, Clone)]
pub(crate) struct PgMonitor {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    throttle: Arc<Mutex<Throttle>>,
    epoch: ConnectionEpoch,
    timeout: Duration,
    /// The server's name in texts: `Postgres at host:port`.
    name: Arc<str>,
    server: Arc<Mutex<ServerState>>,
}

/// The server as it was seen last.
#[derive(Debug, Default)]
struct ServerState {
    /// Time of the last answer.
    answered: Option<Instant>,
    /// Cause of the last failure to connect, until it answers again.
    failure: Option<ConnectionError>,
}

impl PgMonitor {
    /// Reports to `metrics` and `health` on the server of that name. An operation that takes longer
    /// than `timeout` is given up, and so are the pool's connections if none of them answers: the
    /// server ends a statement before that, if it is there.
    pub(crate) fn new(
        name: String,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        epoch: ConnectionEpoch,
        timeout: Duration,
    ) -> Self {
        Self {
            metrics,
            health,
            throttle: Arc::default(),
            epoch,
            timeout,
            name: name.into(),
            server: Arc::default(),
        }
    }

    /// True if the server answered a moment ago, and nothing has failed since.
    pub(crate) fn is_answering(&self, now: Instant) -> bool {
        let answered = lock(&self.server).answered;
        answered.is_some_and(|at| now.saturating_duration_since(at) < SILENT_AFTER)
            && self.metrics.postgres_up.get() == 1
    }

    /// True if the server has answered within `time`.
    pub(crate) fn has_answered_within(&self, time: Duration, now: Instant) -> bool {
        let answered = lock(&self.server).answered;
        answered.is_some_and(|at| now.saturating_duration_since(at) <= time)
    }

    /// Records that the server has answered.
    pub(crate) fn answered(&self) {
        let mut server = lock(&self.server);
        server.answered = Some(clock::monotonic());
        server.failure = None;
        self.metrics.postgres_up.set(1);
        // Still locked, so that of an answer and a failure the later has the last word.
        self.health.set(ReadyCheck::Postgres, Ok(()));
    }

    /// Records that no connection could be made. Operations that fail for want of one have this
    /// cause from now on.
    pub(crate) fn connection_failed(&self, error: ConnectionError) {
        let text = error.to_string();
        let mut server = lock(&self.server);
        server.failure = Some(error);
        self.metrics.postgres_up.set(0);
        self.health.set(ReadyCheck::Postgres, Err(text.clone()));
        drop(server);
        if let Some(suppressed) = lock(&self.throttle).admit(clock::monotonic()) {
            tracing::warn!(suppressed, "{text}");
        }
    }

    /// Runs an operation once and reports it.
    pub(crate) async fn once<T>(
        &self,
        op: PostgresOp,
        operation: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let begun = clock::monotonic();
        let mut operation = std::pin::pin!(operation);
        let result = match tokio::time::timeout(self.timeout, operation.as_mut()).await {
            Ok(result) => result,
            Err(_) => {
                // Before the operation is dropped, and its connection goes back to the pool.
                self.epoch.lose(begun, clock::monotonic());
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer").into())
            }
        };
        match &result {
            Ok(_) => {
                self.metrics
                    .postgres
                    .with_label_values(&[op.as_str()])
                    .observe(clock::monotonic().duration_since(begun).as_secs_f64());
                self.epoch.answered(clock::monotonic());
                self.answered();
            }
            Err(error) => self.failed(op, begun, error),
        }
        result
    }

    /// Repeats an operation until it succeeds: for work that must not be given up.
    pub(crate) async fn until_done<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        op: PostgresOp,
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

    /// Repeats an operation until it succeeds or Postgres refuses what is to be written: trying
    /// that again would be refused for ever.
    pub(crate) async fn until_answered<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        op: PostgresOp,
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

    /// Counts and logs an operation that has failed, which began at `begun`.
    pub(crate) fn failed(&self, op: PostgresOp, begun: Instant, error: &sqlx::Error) {
        let kind = kind_of(error);
        self.metrics
            .postgres_errors
            .with_label_values(&[op.as_str(), kind.as_str()])
            .inc();
        let server = lock(&self.server);
        let text = match (&server.failure, error) {
            (Some(failure), sqlx::Error::PoolTimedOut) => failure.to_string(),
            _ => format!("{}: {op}: {}", self.name, in_words(error)),
        };
        // One that began before the last answer says nothing about the server as it is now.
        if kind != PostgresErrorKind::Other && server.answered.is_none_or(|answered| answered <= begun) {
            self.metrics.postgres_up.set(0);
            self.health.set(ReadyCheck::Postgres, Err(text.clone()));
        }
        drop(server);
        if let Some(suppressed) = lock(&self.throttle).admit(clock::monotonic()) {
            tracing::warn!(
                op = op.as_str(),
                error = text,
                suppressed,
                "an operation on Postgres failed"
            );
        }
    }
}

/// True if the values themselves are wrong: they cannot be sent, are out of range (class 22) or
/// break a constraint (class 23).
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(database) => database
            .code()
            .is_some_and(|code| code.starts_with("22") || code.starts_with("23")),
        _ => false,
    }
}

/// True if a lock was not given in time (`lock_not_available`).
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("55P03"))
}

/// An error as an operator reads of it. The library's own words name its pool, which nobody knows.
pub(crate) fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => {
            "no connection was free in time: all of them are in use, or the server does not answer".to_owned()
        }
        sqlx::Error::PoolClosed => "the connections are closed, as the process is stopping".to_owned(),
        sqlx::Error::Io(error) => format!("the connection failed: {error}"),
        sqlx::Error::Database(error) => {
            let hint = hint(error.code().as_deref());
            format!("{}{hint}", error.message())
        }
        other => other.to_string(),
    }
}

/// Advice on an error of Postgres' with this code.
fn hint(code: Option<&str>) -> &'static str {
    match code {
        Some("42501") => "; the user of postgres.url needs that right",
        Some("42P01" | "42703") => "; has `bellwether migrate` been run on this database?",
        Some("42P07") => "; is this another program's database?",
        Some("25006") => "; this server only reads, as a standby does",
        _ => "",
    }
}

/// Kind by which `postgres_errors_total` counts an error, one of a closed set.
fn kind_of(error: &sqlx::Error) -> PostgresErrorKind {
    match error {
        sqlx::Error::PoolTimedOut => PostgresErrorKind::Timeout,
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => PostgresErrorKind::Timeout,
        // 57014: the statement's own timeout; 55P03: the lock's.
        sqlx::Error::Database(database) if matches!(database.code().as_deref(), Some("57014" | "55P03")) => {
            PostgresErrorKind::Timeout
        }
        // 57P0x: the server is stopping, crashed, or starting.
        sqlx::Error::Database(database)
            if database
                .code()
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")) =>
        {
            PostgresErrorKind::Connection
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => PostgresErrorKind::Connection,
        _ => PostgresErrorKind::Other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

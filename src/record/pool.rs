//! Connections to Postgres.

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// How a process connects.
#[derive(Clone)]
pub struct PoolSettings {
    /// `postgres://user:password@host:port/database?sslmode=…`; TLS is as its `sslmode` and `sslrootcert` say.
    pub url: String,
    pub max_connections: u32,
    /// Longest a statement may run.
    pub statement_timeout: Duration,
    /// Longest a statement may wait for a lock, and a caller for a connection.
    pub lock_timeout: Duration,
}

/// The URL cannot be read. Its text is not repeated, it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "postgres.url cannot be read; it looks like postgres://user:password@host:port/database?sslmode=require"
)]
pub struct InvalidPostgresUrl;

/// A pool that connects when it is first used, so that a process may start while Postgres is away.
pub fn open(settings: &PoolSettings) -> Result<PgPool, InvalidPostgresUrl> {
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.lock_timeout)
        .connect_lazy_with(connect_options(settings)?))
}

/// The options of every connection; each statement has a bound, whoever runs it.
pub fn connect_options(settings: &PoolSettings) -> Result<PgConnectOptions, InvalidPostgresUrl> {
    let options = PgConnectOptions::from_str(&settings.url).map_err(|_| InvalidPostgresUrl)?;
    Ok(options.application_name("bellwether").options([
        (
            "statement_timeout",
            settings.statement_timeout.as_millis().to_string(),
        ),
        ("lock_timeout", settings.lock_timeout.as_millis().to_string()),
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
            .field("lock_timeout", &self.lock_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        let settings = PoolSettings {
            url: "postgres://user:hunter2@host:notaport/db".into(),
            max_connections: 1,
            statement_timeout: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(1),
        };
        let wrong = connect_options(&settings).expect_err("no port");
        assert!(!wrong.to_string().contains("hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}

//! `[postgres]`. No problem shows a value of this section: it may be a part of the URL.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::problems::{HIDDEN, Problems};

/// `[postgres]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`
    pub(crate) url: String,
    /// Makes `serve` apply migrations before it starts.
    pub(crate) migrate_on_start: bool,
    /// Connections a process keeps at most, besides one that watches whether Postgres answers.
    pub(crate) max_connections: u32,
    /// Longest a statement may run.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) statement_timeout: Duration,
    /// Time for which deliveries and their attempts are kept.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) retention: Duration,
    /// Time for which the entries of the audit log are kept.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) audit_retention: Duration,
}

/// Port of a server whose URL names none.
const DEFAULT_PORT: u16 = 5432;
/// A day longer than the topics' seven: what Kafka may still hand out is still known.
const MIN_RETENTION: Duration = Duration::from_secs(8 * 86_400);
const MIN_AUDIT_RETENTION: Duration = Duration::from_secs(30 * 86_400);
const MAX_RETENTION: Duration = Duration::from_secs(3_660 * 86_400);

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: "postgres://bellwether@127.0.0.1:5432/bellwether".into(),
            migrate_on_start: false,
            max_connections: 16,
            statement_timeout: Duration::from_secs(10),
            retention: Duration::from_secs(30 * 86_400),
            audit_retention: Duration::from_secs(400 * 86_400),
        }
    }
}

// The URL may hold a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &"…")
            .field("migrate_on_start", &self.migrate_on_start)
            .field("max_connections", &self.max_connections)
            .field("statement_timeout", &self.statement_timeout)
            .field("retention", &self.retention)
            .field("audit_retention", &self.audit_retention)
            .finish()
    }
}

impl PostgresConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        let scheme_ok = self.url.starts_with("postgres://") || self.url.starts_with("postgresql://");
        problems.check(
            scheme_ok,
            "postgres.url",
            HIDDEN,
            "allowed: postgres://user:password@host:port/database (its value is not shown, it may hold a password)",
        );
        problems.check_range("postgres.max_connections", self.max_connections, HIDDEN);
        problems.check(
            (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&self.statement_timeout),
            "postgres.statement_timeout",
            HIDDEN,
            "allowed: 100ms to 10m",
        );
        problems.check(
            (MIN_RETENTION..=MAX_RETENTION).contains(&self.retention),
            "postgres.retention",
            HIDDEN,
            "allowed: 8d, which is a day longer than the topics keep records, to 3660d",
        );
        problems.check(
            (MIN_AUDIT_RETENTION..=MAX_RETENTION).contains(&self.audit_retention),
            "postgres.audit_retention",
            HIDDEN,
            "allowed: 30d to 3660d",
        );
    }

    /// Host, port and name of the database, without user, password and parameters.
    pub(super) fn database(&self) -> String {
        let Ok(url) = url::Url::parse(&self.url) else {
            return "a database whose URL cannot be read".to_owned();
        };
        // A path of a socket's folder stands among the parameters.
        let socket = url.query_pairs().find(|(name, _)| name == "host");
        let host = match (url.host_str(), socket) {
            (_, Some((_, folder))) => folder.into_owned(),
            (Some(host), None) => match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => format!("{host}:{DEFAULT_PORT}"),
            },
            (None, None) => format!("localhost:{DEFAULT_PORT}"),
        };
        format!("{host}/{}", url.path().trim_start_matches('/'))
    }
}

//! The schema: applying migrations, and telling if they are applied.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use super::partitions;
use super::pg_monitor::in_words;

static MIGRATOR: Migrator = sqlx::migrate!();

/// Time before now for which partitions are made.
pub(crate) const PARTITIONS_BEHIND: Duration = Duration::from_secs(8 * 86_400);
/// Time after now for which partitions are made. As long as a topic keeps records, so that a late
/// one still finds the partition of its day.
pub(crate) const PARTITIONS_AHEAD: Duration = Duration::from_secs(8 * 86_400);

/// Advisory lock of migrations: `bell` in ASCII, and a number of its own.
const LOCK: (i32, i32) = (0x6265_6c6c, 2);

/// State of the database's schema, as this version sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Every migration is applied. A newer version may have applied more, and this one still runs.
    Current,
    /// Some migrations are missing.
    Behind { missing: Vec<i64> },
}

/// Reason why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("{}", migrate_error_in_words(.0))]
    Migrate(MigrateError),
    #[error("{}", in_words(.0))]
    Postgres(#[from] sqlx::Error),
}

// Not by `#[from]`: its text would be said once more, as that of the cause, in the library's words.
impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

fn migrate_error_in_words(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => in_words(error),
        MigrateError::ExecuteMigration(error, version) => format!("migration {version}: {}", in_words(error)),
        other => other.to_string(),
    }
}

/// Applies the missing migrations and makes the partitions around `now_ms`. Returns the migrations
/// that were missing. Safe to repeat, and to call from several processes at once: they take turns.
pub async fn migrate(pool: &PgPool, now_ms: i64) -> Result<Vec<i64>, MigrationError> {
    // A connection of its own: its settings are not for the pool.
    let mut conn = pool.acquire().await?.detach();
    let result = migrate_on(&mut conn, now_ms).await;
    conn.close().await?;
    result
}

async fn migrate_on(conn: &mut PgConnection, now_ms: i64) -> Result<Vec<i64>, MigrationError> {
    // A migration waits for another one without a limit. Its statements wait for a table for two
    // seconds only, because the running system would queue behind them.
    conn.execute("set statement_timeout = 0; set lock_timeout = 0")
        .await?;
    sqlx::query!("select pg_advisory_lock($1, $2)", LOCK.0, LOCK.1)
        .execute(&mut *conn)
        .await?;
    conn.execute("set lock_timeout = '2s'").await?;
    let missing = match schema(conn).await? {
        Schema::Current => Vec::new(),
        Schema::Behind { missing } => missing,
    };
    let migrator = Migrator {
        migrations: Cow::Borrowed(&MIGRATOR.migrations),
        // An older process runs on a newer schema, so migrations unknown to it are no error.
        ignore_missing: true,
        locking: false,
        ..Migrator::DEFAULT
    };
    migrator.run_direct(conn).await?;
    ensure_partitions_around(conn, now_ms).await?;
    Ok(missing)
}

/// Makes the partitions around `now_ms`. Call it at start and every hour.
pub async fn ensure_partitions_around(conn: &mut PgConnection, now_ms: i64) -> Result<u32, sqlx::Error> {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    partitions::ensure_partitions(
        conn,
        now_ms - ms(PARTITIONS_BEHIND),
        now_ms + ms(PARTITIONS_AHEAD),
    )
    .await
}

/// Compares the database with the migrations of this version.
pub async fn schema(conn: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    // Not checked at compile time: the table is sqlx's own.
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *conn)
        .await?;
    let applied: Vec<i64> = if known {
        sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(&mut *conn)
            .await?
    } else {
        Vec::new()
    };
    let applied: HashSet<i64> = applied.into_iter().collect();
    let missing: Vec<i64> = MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .filter(|version| !applied.contains(version))
        .collect();
    Ok(if missing.is_empty() {
        Schema::Current
    } else {
        Schema::Behind { missing }
    })
}

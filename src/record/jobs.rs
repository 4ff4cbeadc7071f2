//! Work that is too long for a request: it is begun by a call, goes on in batches, and survives the
//! end of any process.
//!
//! A process takes a job by moving `due_at` ahead and moves it on with every batch. One that dies
//! leaves the job to whoever looks once that time has passed.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::id::{JobId, WebhookId};
use crate::domain::site::SiteId;
use crate::domain::words::words;

/// Time for which a job belongs to the process that took it, unless it goes on.
const HOLD: TimeDelta = TimeDelta::seconds(30);

words! {
    /// Kind of a job.
    pub enum JobKind {
        /// Removes what is left of a site that was deleted.
        Erase = "erase",
        /// Sends again what a webhook has missed.
        Recover = "recover",
    }
}

words! {
    /// State of a job.
    pub enum JobStatus {
        Running = "running",
        Finished = "finished",
        Cancelled = "cancelled",
        Failed = "failed",
    }
}

/// A job to be done by whoever takes it.
#[derive(Debug, Clone)]
pub(crate) struct TakenJob {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) site_id: String,
    pub(crate) progress: Value,
    pub(crate) inserted_at: DateTime<Utc>,
}

/// Begins to erase what the webhooks of a deleted site leave behind.
pub(crate) async fn begin_erasure(
    conn: &mut PgConnection,
    id: JobId,
    site_id: &SiteId,
    webhooks: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into jobs (id, kind, site_id, status, progress, due_at, inserted_at, updated_at)
         values ($1, 'erase', $2, 'running', $3, $4, $4, $4)",
        id.uuid(),
        site_id.as_str(),
        serde_json::json!({"webhooks": webhooks.iter().map(|id| id.uuid()).collect::<Vec<_>>()}),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the running job that has been due longest.
pub(crate) async fn take(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Option<TakenJob>, sqlx::Error> {
    let row = sqlx::query!(
        "with due as (
             select id from jobs where status = 'running' and due_at <= $1
             order by due_at limit 1 for update skip locked
         )
         update jobs set due_at = $2, updated_at = $1 from due where jobs.id = due.id
         returning jobs.id, kind, site_id, progress, inserted_at",
        now,
        now + HOLD
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| TakenJob {
        id: JobId::from_uuid(row.id),
        kind: row.kind,
        site_id: row.site_id,
        progress: row.progress,
        inserted_at: row.inserted_at,
    }))
}

/// Puts a job off until `due_at`, or goes on holding it.
pub(crate) async fn put_off(
    conn: &mut PgConnection,
    id: JobId,
    due_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update jobs set due_at = $2, updated_at = $3 where id = $1 and status = 'running'",
        id.uuid(),
        due_at.unwrap_or(now + HOLD),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a job that is running.
pub(crate) async fn end(
    conn: &mut PgConnection,
    id: JobId,
    status: JobStatus,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query!(
        "update jobs set status = $2, ended_at = $3, updated_at = $3 where id = $1 and status = 'running'",
        id.uuid(),
        status.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

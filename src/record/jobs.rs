//! Work that is too long for a request: it is begun by a call, goes on in batches, and survives the
//! end of any process.
//!
//! A process takes a job by moving `due_at` ahead and moves it on with every batch. One that dies
//! leaves the job to whoever looks once that time has passed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::{JobId, WebhookId};
use crate::domain::site::SiteId;
use crate::domain::words::words;

use super::resends;

/// Time for which a job belongs to the process that took it, unless it goes on.
const HOLD: TimeDelta = TimeDelta::seconds(30);
/// Most rows that one call of [`purge`] deletes.
const PURGE_BATCH: i64 = 5_000;

words! {
    /// Kind of a job.
    pub enum JobKind {
        /// Removes what is left of a site that was deleted.
        Erase = "erase",
        /// Sends again what a webhook has missed.
        Recover = "recover",
        /// Cancels what a recovery has queued and not sent, after it was cancelled itself.
        Withdraw = "withdraw",
        /// Cancels what is open of a webhook that was switched off or deleted.
        Cancel = "cancel",
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
    pub(crate) webhook: Option<WebhookId>,
    /// Span of a recovery.
    pub(crate) span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    pub(crate) progress: Value,
    pub(crate) inserted_at: DateTime<Utc>,
}

/// A recovery as it stands.
#[derive(Debug, Clone)]
pub(crate) struct RecoveryRecord {
    pub(crate) id: JobId,
    pub(crate) status: String,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    /// Deliveries of the span that the webhook did not get.
    pub(crate) total: i32,
    /// Of these, the ones whose resend has ended.
    pub(crate) sent: i64,
    /// Of these, the ones that it got since or will get otherwise.
    pub(crate) skipped: i32,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// Progress of a recovery, as `jobs.progress` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RecoveryProgress {
    pub(crate) is_counted: bool,
    /// The delivery counted last.
    pub(crate) counted_to: Option<Uuid>,
    pub(crate) is_queued: bool,
    /// The delivery looked at last.
    pub(crate) queued_to: Option<Uuid>,
}

/// A recovery to be begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRecovery<'a> {
    pub(crate) id: JobId,
    pub(crate) site_id: &'a SiteId,
    pub(crate) webhook: WebhookId,
    pub(crate) since: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

/// Changes of a recovery's counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecoveryCounts {
    pub(crate) total: i64,
    pub(crate) resends: i64,
    pub(crate) skipped: i64,
}

/// Begins to send again what a webhook has missed.
pub(crate) async fn begin_recovery(
    conn: &mut PgConnection,
    new: NewRecovery<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into jobs (id, kind, site_id, webhook_id, status, since, until, due_at, inserted_at, updated_at)
         values ($1, 'recover', $2, $3, 'running', $4, $5, $6, $6, $6)",
        new.id.uuid(),
        new.site_id.as_str(),
        new.webhook.uuid(),
        new.since,
        new.until,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads a recovery of a webhook.
pub(crate) async fn recovery(
    conn: &mut PgConnection,
    webhook: WebhookId,
    id: JobId,
) -> Result<Option<RecoveryRecord>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select status, since, until, total, skipped, inserted_at, ended_at,
               resends - withdrawn - (select count(*) from parked where job_id = $1) as "sent!"
           from jobs where id = $1 and webhook_id = $2 and kind = 'recover'"#,
        id.uuid(),
        webhook.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| RecoveryRecord {
        id,
        status: row.status,
        since: row.since,
        until: row.until,
        total: row.total,
        sent: row.sent.max(0),
        skipped: row.skipped,
        inserted_at: row.inserted_at,
        ended_at: row.ended_at,
    }))
}

/// Counts the recoveries of a webhook that are running.
pub(crate) async fn running_recoveries(
    conn: &mut PgConnection,
    webhook: WebhookId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "running!" from jobs
           where webhook_id = $1 and kind = 'recover' and status = 'running'"#,
        webhook.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Locks a recovery that is running until the transaction ends; false if it is not any more.
pub(crate) async fn lock_running(conn: &mut PgConnection, id: JobId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select id from jobs where id = $1 and status = 'running' for no key update",
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Writes how far a recovery has come, and that it goes on at `due_at`.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    id: JobId,
    progress: &RecoveryProgress,
    counts: RecoveryCounts,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let to_column = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    sqlx::query!(
        "update jobs set progress = $2, resends = resends + $4, skipped = skipped + $5, due_at = $6, updated_at = now(),
             -- Once all is queued the sum is known for certain: some may have been delivered since they were counted.
             total = case when $7 then resends + $4 + skipped + $5 else total + $3 end
         where id = $1",
        id.uuid(),
        serde_json::json!(progress),
        to_column(counts.total),
        to_column(counts.resends),
        to_column(counts.skipped),
        due_at,
        progress.is_queued
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts the deliveries of a recovery that have not ended.
pub(crate) async fn unsent(conn: &mut PgConnection, id: JobId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "unsent!" from parked where job_id = $1"#,
        id.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Cancels a recovery, and begins the job `withdraw` that cancels what it has queued. False if it
/// has ended.
pub(crate) async fn cancel_recovery(
    conn: &mut PgConnection,
    id: JobId,
    withdraw: JobId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    if !end(conn, id, JobStatus::Cancelled, now).await? {
        return Ok(false);
    }
    sqlx::query!(
        "insert into jobs (id, kind, site_id, webhook_id, status, progress, due_at, inserted_at, updated_at)
         select $2, 'withdraw', site_id, webhook_id, 'running', $3, $4, $4, $4 from jobs where id = $1",
        id.uuid(),
        withdraw.uuid(),
        serde_json::json!({"recovery": id.uuid()}),
        now
    )
    .execute(&mut *conn)
    .await?;
    // A hint: whoever has rows of it in hand would look within a second anyway.
    sqlx::query!("select pg_notify($1, '')", resends::CHANNEL)
        .execute(conn)
        .await?;
    Ok(true)
}

/// Lists the recoveries that are being withdrawn: they were cancelled, and rows of theirs wait.
pub(crate) async fn withdrawn_recoveries(conn: &mut PgConnection) -> Result<Vec<JobId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select (progress ->> 'recovery')::uuid as "recovery?" from jobs
           where status = 'running' and kind = 'withdraw'"#
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().flatten().map(JobId::from_uuid).collect())
}

/// Counts deliveries of a recovery that were cancelled with it.
pub(crate) async fn count_withdrawn(
    conn: &mut PgConnection,
    id: JobId,
    count: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update jobs set withdrawn = withdrawn + $2 where id = $1",
        id.uuid(),
        i32::try_from(count).unwrap_or(i32::MAX)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes some of the jobs that ended before `before`; returns how many. Call it every few
/// minutes, until none is left.
pub(crate) async fn purge(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query!(
        "delete from jobs where id = any(array(
             select id from jobs where ended_at < $1 order by ended_at limit $2
         ))",
        before,
        PURGE_BATCH
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
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

/// Deletes an erasure that is done: its row names the site.
pub(crate) async fn end_erasure(conn: &mut PgConnection, id: JobId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from jobs where id = $1 and kind = 'erase'", id.uuid())
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
         returning jobs.id, kind, site_id, webhook_id, since, until, progress, inserted_at",
        now,
        now + HOLD
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| TakenJob {
        id: JobId::from_uuid(row.id),
        kind: row.kind,
        site_id: row.site_id,
        webhook: row.webhook_id.map(WebhookId::from_uuid),
        span: row.since.zip(row.until),
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

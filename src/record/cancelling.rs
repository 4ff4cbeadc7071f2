//! Cancelling what is open of a webhook that was switched off or deleted: by a job, in batches, and
//! not in the transaction of the call.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::chance;
use crate::domain::delivery::FailureReason;
use crate::domain::event::EventType;
use crate::domain::id::{JobId, WebhookId};

use super::outcomes::word;

/// Deliveries cancelled in one statement.
const BATCH: i64 = 500;

/// Begins the job that cancels what is open of a webhook at `now`.
pub(super) async fn begin(
    conn: &mut PgConnection,
    webhook: WebhookId,
    reason: FailureReason,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let id = JobId::new_v7(now.timestamp_millis(), chance::bytes());
    sqlx::query!(
        "insert into jobs (id, kind, site_id, webhook_id, status, progress, due_at, inserted_at, updated_at)
         select $1, 'cancel', site_id, id, 'running', $3, $4, $4, $4 from webhooks where id = $2",
        id.uuid(),
        webhook.uuid(),
        serde_json::json!({"reason": reason}),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deliveries that a batch has cancelled.
#[derive(Debug)]
pub(crate) struct CancelledBatch {
    /// Their number by event type.
    pub(crate) events: Vec<(EventType, u64)>,
    /// More are open.
    pub(crate) has_more: bool,
}

/// Cancels a batch of what was open of a webhook at `before`. Rows are locked in the order of their
/// ids, the order of all writers of several; one that somebody holds is left to the next batch.
/// Their rows of `parked` go too; one that is worked on is marked, and its owner removes it.
pub(crate) async fn cancel_batch(
    conn: &mut PgConnection,
    webhook: WebhookId,
    reason: FailureReason,
    before: DateTime<Utc>,
) -> Result<CancelledBatch, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with open as (
             select id from deliveries
             where webhook_id = any(array[$1::uuid]) and status in ('pending', 'retrying') and inserted_at <= $3
             order by webhook_id desc, id limit $4 for no key update skip locked
         ), cancelled as (
             update deliveries
             set status = 'cancelled', failure_reason = $2, next_retry_at = null, parked_until = null,
                 parked_reason = null, updated_at = now()
             from open where deliveries.id = open.id and status in ('pending', 'retrying')
             returning deliveries.id, event_type
         ), waiting as (
             select delivery_id, claimed_until > now() as is_claimed from parked
             where delivery_id = any(array(select id from cancelled)) order by delivery_id for update
         ), removed as (
             delete from parked
             where delivery_id = any(array(select delivery_id from waiting where is_claimed is not true))
         ), marked as (
             update parked set has_ended = true
             where delivery_id = any(array(select delivery_id from waiting where is_claimed))
         )
         select event_type as "event_type!", count(*) as "rows!" from cancelled group by event_type"#,
        webhook.uuid(),
        reason.as_str(),
        before,
        BATCH
    )
    .fetch_all(&mut *conn)
    .await?;
    let has_more = sqlx::query_scalar!(
        r#"select exists (
             select from deliveries
             where webhook_id = any(array[$1::uuid]) and status in ('pending', 'retrying') and inserted_at <= $2
             order by webhook_id, id desc limit 1
         ) as "open!""#,
        webhook.uuid(),
        before
    )
    .fetch_one(conn)
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        events.push((word(&row.event_type)?, row.rows.unsigned_abs()));
    }
    Ok(CancelledBatch { events, has_more })
}

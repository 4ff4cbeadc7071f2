//! Deliveries that begin as rows of `parked`: those that are sent again.
//!
//! In: the delivery that somebody asked for again, or the span of a recovery. Out: a delivery with
//! its row of `parked`, which the owner of its partition sends. Guaranteed: a recovery queues each
//! notification once, whatever other recoveries of the webhook do, and no matter which process goes
//! on with it. Each step holds the row of the webhook, so that steps take turns.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::{FailureReason, OVERDUE_AFTER, Origin};
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, JobId, NotificationId, WebhookId, uuid_floor};
use crate::domain::site::SiteId;

use super::parked::cancel_waiting;
use super::plans::plan_for_values;

/// Deliveries that one step of a recovery looks at.
pub(crate) const STEP: i64 = 500;
/// Deliveries that one step counts.
const COUNT_STEP: i64 = 20_000;

/// Permission of a webhook to be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendState {
    On,
    /// Its owner or Bellwether has switched it off.
    Off,
    Deleted,
    /// The site never had it.
    Absent,
}

/// Locks the row of a webhook until the transaction ends, so that whoever sends something again
/// takes turns. Tells if it may be sent to.
pub(crate) async fn lock_to_send(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<SendState, sqlx::Error> {
    let row = sqlx::query!(
        r#"select deleted_at is not null as "is_deleted!", enabled and disabled_at is null as "is_on!"
           from webhooks where site_id = $1 and id = $2 for no key update"#,
        site_id.as_str(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => SendState::Absent,
        Some(row) if row.is_deleted => SendState::Deleted,
        Some(row) if row.is_on => SendState::On,
        Some(_) => SendState::Off,
    })
}

/// Channel on which new rows are announced.
pub(crate) const CHANNEL: &str = "bellwether_parked";

/// A delivery to be queued.
#[derive(Debug, Clone)]
pub(crate) struct QueuedDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) notification_id: NotificationId,
    /// As it is stored: an event type of a newer version stays as it is.
    pub(crate) event_type: String,
    pub(crate) payload: Vec<u8>,
    /// Time of the notification.
    pub(crate) created_at: DateTime<Utc>,
    /// The delivery that was asked for again, if it is one's.
    pub(crate) resend_of: Option<DeliveryId>,
}

/// Facts that the deliveries of a batch share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueuedBatch<'a> {
    pub(crate) webhook: WebhookId,
    pub(crate) site_id: &'a str,
    /// The partition that the webhook's records lie in.
    pub(crate) partition: i32,
    pub(crate) origin: Origin,
    pub(crate) reason: ParkReason,
    pub(crate) job: Option<JobId>,
    pub(crate) now: DateTime<Utc>,
}

/// Queues deliveries in the order given. One that is there already stays as it is. Returns the
/// number of those that were not.
pub(crate) async fn queue(
    conn: &mut PgConnection,
    batch: QueuedBatch<'_>,
    deliveries: &[QueuedDelivery],
) -> Result<i64, sqlx::Error> {
    macro_rules! column {
        ($of:expr) => {
            deliveries.iter().map($of).collect::<Vec<_>>()
        };
    }
    // A microsecond apart: due times order what waits.
    let mut due_at = batch.now - TimeDelta::microseconds(1);
    let due: Vec<DateTime<Utc>> = deliveries
        .iter()
        .map(|_| {
            due_at += TimeDelta::microseconds(1);
            due_at
        })
        .collect();
    let made = sqlx::query_scalar!(
        r#"with new as (
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::timestamptz[], $6::uuid[],
                 $7::timestamptz[]) as n (id, notification_id, event_type, payload, created_at, resend_of, due_at)
         ), made as (
             insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, payload,
                 created_at, resend_of, parked_until, parked_reason, inserted_at, updated_at)
             select id, notification_id, $8, $9, event_type, $10, 'pending', payload, created_at, resend_of, due_at,
                 $11, $14, $14
             from new order by id
             on conflict (id) do nothing
             returning id
         ), waiting as (
             insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step, job_id)
             select new.id, $8, $12, due_at, $11, 1, 0, $13 from new join made on made.id = new.id order by new.id
         )
         select count(*) as "made!" from made"#,
        &column!(|one| one.id.uuid()),
        &column!(|one| one.notification_id.uuid()),
        &column!(|one| one.event_type.clone()),
        &column!(|one| one.payload.clone()),
        &column!(|one| one.created_at),
        &column!(|one| one.resend_of.map(DeliveryId::uuid)) as &[Option<Uuid>],
        &due,
        batch.webhook.uuid(),
        batch.site_id,
        batch.origin.as_str(),
        batch.reason.as_str(),
        batch.partition,
        batch.job.map(JobId::uuid),
        batch.now,
    )
    .fetch_one(&mut *conn)
    .await?;
    // A hint: the owner of the partition would look within a second anyway.
    sqlx::query!("select pg_notify($1, '')", CHANNEL)
        .execute(conn)
        .await?;
    Ok(made)
}

/// Span of notification times, both ends in it, and the webhook that missed something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MissedSpan {
    pub(crate) webhook: WebhookId,
    pub(crate) since: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

impl MissedSpan {
    /// Ids of the span, the end not in it.
    pub(crate) fn ids(self) -> Range<Uuid> {
        self.first()..self.end()
    }

    /// The lowest id of the span.
    fn first(self) -> Uuid {
        uuid_floor(self.since.timestamp_millis())
    }

    /// The lowest id after the span.
    fn end(self) -> Uuid {
        uuid_floor(self.until.timestamp_millis().saturating_add(1))
    }
}

/// Cancels deliveries with these ids, [`STEP`] at most, that are overdue: not finished, due for
/// [`OVERDUE_AFTER`], and without a row of `parked`. Should Kafka still have the record of one, it
/// is not sent any more. Returns how many were cancelled. Needs a transaction.
pub(crate) async fn end_overdue(
    conn: &mut PgConnection,
    webhook: WebhookId,
    ids: Range<Uuid>,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    plan_for_values(conn).await?;
    let ended = sqlx::query!(
        "with overdue as (
             select id from deliveries
             where webhook_id = any(array[$1::uuid]) and status in ('pending', 'retrying') and id >= $2 and id < $3
               and parked_reason is null and greatest(next_retry_at, claimed_until, updated_at) < $4
               and not exists (select from parked where delivery_id = deliveries.id)
             order by webhook_id desc, id limit $5 for no key update skip locked
         )
         update deliveries
         set status = 'cancelled', failure_reason = $6, next_retry_at = null, updated_at = now()
         from overdue where deliveries.id = overdue.id and status in ('pending', 'retrying')
           and deliveries.id >= $2 and deliveries.id < $3",
        webhook.uuid(),
        ids.start,
        ids.end,
        now - OVERDUE_AFTER,
        STEP,
        FailureReason::Overdue.as_str()
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}

/// A delivery that its webhook did not get.
#[derive(Debug, Clone)]
pub(crate) struct MissedDelivery {
    pub(crate) id: Uuid,
    pub(crate) notification_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Reads the next deliveries of a span that failed or were cancelled, in the order of their ids,
/// after `after`. What was itself sent again, and tests, are not among them: of each notification
/// there is one. Needs a transaction.
pub(crate) async fn missed(
    conn: &mut PgConnection,
    span: MissedSpan,
    after: Option<Uuid>,
) -> Result<Vec<MissedDelivery>, sqlx::Error> {
    plan_for_values(conn).await?;
    sqlx::query_as!(
        MissedDelivery,
        "select id, notification_id, event_type, payload, created_at from deliveries
         where webhook_id = any(array[$1::uuid]) and status in ('failed', 'cancelled') and id >= $2 and id < $3
           and ($4::uuid is null or id > $4) and resend_of is null and event_type <> 'test'
         order by webhook_id desc, id limit $5",
        span.webhook.uuid(),
        span.first(),
        span.end(),
        after,
        STEP
    )
    .fetch_all(conn)
    .await
}

/// Counts a part of what [`missed`] reads. Returns the count and the id to go on after; none: the
/// end is reached. Needs a transaction.
pub(crate) async fn count_missed(
    conn: &mut PgConnection,
    span: MissedSpan,
    after: Option<Uuid>,
) -> Result<(i64, Option<Uuid>), sqlx::Error> {
    plan_for_values(conn).await?;
    let part = sqlx::query!(
        r#"select count(*) filter (where resend_of is null and event_type <> 'test') as "missed!", count(*) as "read!",
               (array_agg(id order by id desc))[1] as last
           from (
               select id, resend_of, event_type from deliveries
               where webhook_id = any(array[$1::uuid]) and status in ('failed', 'cancelled') and id >= $2 and id < $3
                 and ($4::uuid is null or id > $4)
               order by webhook_id desc, id limit $5
           ) part"#,
        span.webhook.uuid(),
        span.first(),
        span.end(),
        after,
        COUNT_STEP
    )
    .fetch_one(conn)
    .await?;
    Ok((part.missed, part.last.filter(|_| part.read >= COUNT_STEP)))
}

/// Lists those of these notifications that a later delivery has brought to the webhook, or is about
/// to. Needs a transaction.
pub(crate) async fn sent_since(
    conn: &mut PgConnection,
    webhook: WebhookId,
    notifications: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    plan_for_values(conn).await?;
    // Read apart, so that no other index is an alternative than that of resends.
    sqlx::query_scalar!(
        r#"with found as materialized (
               select notification_id, webhook_id, status from deliveries
               where notification_id = any($1) and resend_of is not null
           )
           select distinct notification_id as "id!" from found
           where webhook_id = $2 and status in ('pending', 'retrying', 'delivered')"#,
        notifications,
        webhook.uuid()
    )
    .fetch_all(conn)
    .await
}

/// Counts the rows that wait for a webhook, as the triggers of `parked` have counted them.
pub(crate) async fn waiting(conn: &mut PgConnection, webhook: WebhookId) -> Result<i64, sqlx::Error> {
    let waiting = sqlx::query_scalar!(
        "select waiting from webhook_health where webhook_id = $1",
        webhook.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(waiting.unwrap_or(0))
}

/// Cancels a batch of what a recovery has queued and nobody works on. A row whose delivery somebody
/// holds is left to the next batch. Returns how many deliveries were cancelled, and how many rows
/// are left.
pub(crate) async fn withdraw(conn: &mut PgConnection, job: JobId) -> Result<(i64, i64), sqlx::Error> {
    let reason = FailureReason::Withdrawn.as_str();
    let rows = cancel_waiting!("job_id = $1", job.uuid(), reason, STEP)
        .fetch_all(&mut *conn)
        .await?;
    let cancelled = rows.iter().filter(|row| row.event_type.is_some());
    let cancelled = cancelled.map(|row| row.rows).sum();
    let left = sqlx::query_scalar!(
        r#"select count(*) as "left!" from parked where job_id = $1"#,
        job.uuid()
    )
    .fetch_one(conn)
    .await?;
    Ok((cancelled, left))
}

#[cfg(test)]
mod tests;

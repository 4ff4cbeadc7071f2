//! Deliveries that wait in Postgres instead of Kafka.
//!
//! In: rows parked with an outcome (`outcomes`) or by a resend. Out: claimed rows. Guaranteed: one
//! caller at a time holds the claim of a row. A row is removed when its delivery ends: by the
//! statement that records the end, by `remove` after a dead letter or for a row without history, by
//! `cancel_batch`, or by erasure. Not here: a claim asks for no partition, so the deliverer gives
//! back rows whose partition it does not own. Only `summary` reads all rows of a partition.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::FailureReason;
use crate::domain::event::EventType;
use crate::domain::health::{ParkReason, WaitingWebhook};
use crate::domain::id::{DeliveryId, WebhookId};

use super::outcomes::word;
use claimed::{TakenRow, sorted_out};

pub(crate) use claimed::{ClaimedRow, GivenBackRow, TakenRows};

/// Claimed rows, with their deliveries.
mod claimed;

/// Rows cancelled in one statement.
const CANCEL_BATCH: i64 = 500;

/// Lists the webhooks of these partitions for which deliveries wait. Reads one row a webhook.
pub(crate) async fn waiting_webhooks(
    connection: &mut PgConnection,
    partitions: &[i32],
) -> sqlx::Result<Vec<WaitingWebhook>> {
    let rows = sqlx::query!(
        r#"with recursive first_of as (
             select owned.partition, p.webhook_id, p.due_at
             from unnest($1::int[]) as owned (partition) cross join lateral (
                 select webhook_id, due_at from parked
                 where parked.partition = owned.partition order by webhook_id, due_at limit 1
             ) p
             union all
             select before.partition, p.webhook_id, p.due_at
             from first_of before cross join lateral (
                 select webhook_id, due_at from parked
                 where parked.partition = before.partition and parked.webhook_id > before.webhook_id
                 order by webhook_id, due_at limit 1
             ) p
         )
         select first_of.webhook_id as "webhook_id!", first_of.due_at as "due_at!", coalesce(h.waiting, 0) as "waiting!"
         from first_of left join webhook_health h on h.webhook_id = first_of.webhook_id"#,
        partitions,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| WaitingWebhook {
            webhook_id: WebhookId::from_uuid(row.webhook_id),
            due_at: row.due_at,
            waiting: row.waiting,
        })
        .collect())
}

/// Claims rows that are due at `now`, of each webhook at most so many, oldest first, for `claim`.
///
/// `any(array(…))` and `limit 1` make it look each row up by its key. As joins, of a size that
/// Postgres cannot guess, they read all of both tables.
pub(crate) async fn take(
    connection: &mut PgConnection,
    wanted: &[(WebhookId, i32)],
    now: DateTime<Utc>,
    claim: Duration,
) -> sqlx::Result<TakenRows> {
    let webhooks: Vec<Uuid> = wanted.iter().map(|(webhook, _)| webhook.uuid()).collect();
    let rooms: Vec<i32> = wanted.iter().map(|(_, room)| *room).collect();
    let rows = sqlx::query_as!(
        TakenRow,
        r#"with picked as (
             select p.delivery_id, p.claimed_until
             from unnest($1::uuid[], $2::int[]) as w (webhook_id, room) cross join lateral (
                 select delivery_id, claimed_until from parked
                 where parked.webhook_id = w.webhook_id and due_at <= $3
                   and (claimed_until is null or claimed_until <= now())
                 order by due_at, delivery_id limit w.room for no key update skip locked
             ) p
         ), taken as (
             update parked set claimed_until = now() + make_interval(secs => $4),
                 noted_claim = case when attempt = 1 and claimed_until is null
                     then now() + make_interval(secs => $4) end
             where delivery_id = any(array(select delivery_id from picked))
             returning delivery_id, webhook_id, partition, due_at, reason, attempt, step, paused_ms, parked_at,
                 job_id, claimed_until as held_until
         )
         select t.delivery_id as "delivery_id!", t.webhook_id as "webhook_id!", t.partition as "partition!",
             t.due_at as "due_at!", t.reason as "reason!", t.attempt as "attempt!", t.step as "step!",
             t.paused_ms as "paused_ms!", t.parked_at as "parked_at!", t.held_until as "held_until!", t.job_id as "job_id?",
             p.claimed_until is not null as "was_claimed!",
             d.notification_id as "notification_id?", d.site_id as "site_id?", d.event_type as "event_type?",
             d.origin as "origin?", d.resend_of as "resend_of?", d.status as "status?", d.attempts as "attempts?", d.response_code as "response_code?",
             d.failure_reason as "failure_reason?", d.payload as "payload?", d.created_at as "created_at?", d.first_attempt_at as "first_attempt_at?",
             d.claimed_attempt as "claimed_attempt?", d.claimed_until as "claimed_until?", d.parked_reason is not null as "waits!"
         from taken t join picked p on p.delivery_id = t.delivery_id
             left join lateral (select * from deliveries where id = t.delivery_id limit 1) d on true
         order by t.due_at, t.delivery_id"#,
        &webhooks,
        &rooms,
        now,
        claim.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;
    Ok(sorted_out(rows))
}

/// Claims rows of these partitions whose deliveries have ended, at most `most`, for `claim`. They
/// need no request, and so no room at their endpoint.
pub(crate) async fn take_ended(
    connection: &mut PgConnection,
    partitions: &[i32],
    most: i32,
    claim: Duration,
) -> sqlx::Result<TakenRows> {
    let rows = sqlx::query_as!(
        TakenRow,
        r#"with picked as (
             select delivery_id, claimed_until from parked
             where partition = any($1) and has_ended and (claimed_until is null or claimed_until <= now())
             limit $2 for no key update skip locked
         ), taken as (
             update parked set claimed_until = now() + make_interval(secs => $3)
             where delivery_id = any(array(select delivery_id from picked))
             returning delivery_id, webhook_id, partition, due_at, reason, attempt, step, paused_ms, parked_at,
                 job_id, claimed_until as held_until
         )
         select t.delivery_id as "delivery_id!", t.webhook_id as "webhook_id!", t.partition as "partition!",
             t.due_at as "due_at!", t.reason as "reason!", t.attempt as "attempt!", t.step as "step!",
             t.paused_ms as "paused_ms!", t.parked_at as "parked_at!", t.held_until as "held_until!", t.job_id as "job_id?",
             p.claimed_until is not null as "was_claimed!",
             d.notification_id as "notification_id?", d.site_id as "site_id?", d.event_type as "event_type?",
             d.origin as "origin?", d.resend_of as "resend_of?", d.status as "status?", d.attempts as "attempts?", d.response_code as "response_code?",
             d.failure_reason as "failure_reason?", d.payload as "payload?", d.created_at as "created_at?", d.first_attempt_at as "first_attempt_at?",
             d.claimed_attempt as "claimed_attempt?", d.claimed_until as "claimed_until?", d.parked_reason is not null as "waits!"
         from taken t join picked p on p.delivery_id = t.delivery_id
             left join lateral (select * from deliveries where id = t.delivery_id limit 1) d on true"#,
        partitions,
        i64::from(most),
        claim.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;
    Ok(sorted_out(rows))
}

/// Gives claimed rows back that were not worked on. Those of which an earlier owner may have made
/// the attempt keep a claim that has ended. A row that somebody else has claimed since is left
/// alone.
pub(crate) async fn release(connection: &mut PgConnection, rows: &[GivenBackRow]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.uuid()).collect();
    let claims: Vec<DateTime<Utc>> = rows.iter().map(|row| row.claimed_until).collect();
    let suspects: Vec<bool> = rows.iter().map(|row| row.suspect).collect();
    sqlx::query!(
        "update parked set claimed_until = case when given.suspect then 'epoch'::timestamptz end
         from (
             select parked.delivery_id, back.suspect
             from unnest($1::uuid[], $2::timestamptz[], $3::bool[]) as back (delivery_id, claimed_until, suspect)
             join parked on parked.delivery_id = back.delivery_id and parked.claimed_until = back.claimed_until
             order by parked.delivery_id for no key update of parked
         ) as given where parked.delivery_id = given.delivery_id",
        &ids,
        &claims,
        &suspects
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives claimed rows back that are not to be worked on before `not_before`, as [`release`] does.
pub(crate) async fn put_off(
    connection: &mut PgConnection,
    rows: &[GivenBackRow],
    not_before: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.uuid()).collect();
    let claims: Vec<DateTime<Utc>> = rows.iter().map(|row| row.claimed_until).collect();
    sqlx::query!(
        "update parked set due_at = greatest(due_at, $3) from (
             select parked.delivery_id
             from unnest($1::uuid[], $2::timestamptz[]) as back (delivery_id, claimed_until)
             join parked on parked.delivery_id = back.delivery_id and parked.claimed_until = back.claimed_until
             order by parked.delivery_id for no key update of parked
         ) as given where parked.delivery_id = given.delivery_id",
        &ids,
        &claims,
        not_before
    )
    .execute(&mut *connection)
    .await?;
    release(connection, rows).await
}

/// Ends the claims in partitions whose owner died. What it had claimed may have been sent, except
/// where it would have noted that (`send_notes`).
pub(crate) async fn end_claims(connection: &mut PgConnection, partitions: &[i32]) -> sqlx::Result<u64> {
    let ended = sqlx::query!(
        "update parked set claimed_until = case when noted_claim = claimed_until then null else now() end
         from (
             select delivery_id from parked where partition = any($1) and claimed_until > now()
             order by delivery_id for no key update
         ) as dead where parked.delivery_id = dead.delivery_id",
        partitions
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected())
}

/// Removes rows for which nothing remains to be done.
pub(crate) async fn remove(connection: &mut PgConnection, ids: &[DeliveryId]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!("delete from parked where delivery_id = any($1)", &ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// Statement that cancels a batch of rows and their deliveries: the condition says of which webhook
/// or recovery (`$1`). It answers how many rows were removed, by the event types of what was
/// cancelled.
///
/// Rows of failed deliveries stay, as a dead letter may be missing: the deliverer goes on with
/// them. A row that is claimed, or whose delivery somebody holds, is left to the next batch, since
/// whoever holds it may be about to wait for the row.
macro_rules! cancel_waiting {
    ($which:tt, $of:expr, $reason:expr, $most:expr $(,)?) => {
        sqlx::query!(
            // The lists of ids make Postgres look each row up; between them, other days'
            // partitions are not read.
            "with batch as (
                 select delivery_id from parked
                 where (claimed_until is null or claimed_until <= now())
                   and not exists (select from deliveries d where d.id = parked.delivery_id and d.status = 'failed')
                   and " + $which + r#"
                 order by due_at, delivery_id limit $3 for update skip locked
             ), free as (
                 select id from deliveries
                 where id = any(array(select delivery_id from batch)) and status <> 'failed'
                   and id between (select delivery_id from batch order by 1 limit 1)
                       and (select delivery_id from batch order by 1 desc limit 1)
                 order by id for no key update skip locked
             ), cancelled as (
                 update deliveries set status = 'cancelled', failure_reason = $2, next_retry_at = null,
                     parked_until = null, parked_reason = null, updated_at = now()
                 from free
                 where deliveries.id = free.id and status in ('pending', 'retrying')
                   and deliveries.id = any(array(select id from free))
                   and deliveries.id between (select id from free order by 1 limit 1)
                       and (select id from free order by 1 desc limit 1)
                 returning deliveries.id, event_type
             ), removed as (
                 delete from parked where delivery_id = any(array(
                     select id from free
                     union all
                     select delivery_id from batch
                     where not exists (select from deliveries d where d.id = batch.delivery_id)
                 )) returning delivery_id
             )
             select c.event_type as "event_type?", count(*) as "rows!", (select count(*) from batch) as "batch!"
             from removed r left join cancelled c on c.id = r.delivery_id
             group by c.event_type"#,
            $of,
            $reason,
            $most,
        )
    };
}

pub(super) use cancel_waiting;

/// Cancels a batch of what waits for a webhook that is off or deleted. Returns how many deliveries
/// of each event type were cancelled, and if more rows may be left to cancel.
///
/// If the webhook is on by now, nothing is cancelled: what the caller knows of it may be a second
/// old, and rows come between two batches.
pub(crate) async fn cancel_batch(
    connection: &mut PgConnection,
    webhook: WebhookId,
    reason: FailureReason,
) -> sqlx::Result<(Vec<(EventType, i64)>, bool)> {
    let rows = cancel_waiting!(
        r#"webhook_id = $1 and not exists (
               select from webhooks where id = $1 and enabled and disabled_at is null and deleted_at is null
           )"#,
        webhook.uuid(),
        reason.as_str(),
        CANCEL_BATCH
    )
    .fetch_all(connection)
    .await?;
    let has_more = rows.iter().any(|row| row.batch >= CANCEL_BATCH);
    let mut cancelled = Vec::new();
    for row in rows {
        if let Some(event) = row.event_type {
            cancelled.push((word(&event)?, row.rows));
        }
    }
    Ok((cancelled, has_more))
}

/// Counts rows by reason, and finds when the oldest was parked. Reads every row of these
/// partitions: for gauges, now and then.
pub(crate) async fn summary(
    connection: &mut PgConnection,
    partitions: &[i32],
) -> sqlx::Result<Vec<(ParkReason, i64, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        r#"select reason, count(*) as "rows!", min(parked_at) as "oldest!" from parked
           where partition = any($1) group by reason"#,
        partitions
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((word(&row.reason)?, row.rows, row.oldest)))
        .collect()
}

#[cfg(test)]
mod tests;

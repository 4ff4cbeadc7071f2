//! Deliveries that wait in Postgres for anything but their retry schedule.
//!
//! In: rows parked with an outcome (`outcomes`) or by a resend. Out: claimed rows, for the owner of
//! their partition. Guaranteed: a row is with one owner at a time, and is removed only by the
//! statement that records what became of it. No query scans the rows of a webhook.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::health::{ParkReason, WaitingWebhook};
use crate::domain::id::{DeliveryId, WebhookId};

use super::outcomes::word;

/// Rows cancelled in one statement.
const CANCEL_BATCH: i64 = 500;

/// A claimed row, with the delivery's own row.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedRow {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) webhook_id: WebhookId,
    pub(crate) partition: i32,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) reason: ParkReason,
    pub(crate) attempt: i32,
    pub(crate) step: i32,
    pub(crate) paused_ms: i64,
    pub(crate) parked_at: DateTime<Utc>,
    /// End of this owner's claim, which also names it: two claims never end at the same instant.
    pub(crate) claimed_until: DateTime<Utc>,
    /// An earlier claim was never resolved: the attempt may have been made.
    pub(crate) was_claimed: bool,
    /// Absent if the history of that day is gone.
    pub(crate) delivery: Option<ParkedDelivery>,
}

/// The delivery of a parked row.
#[derive(Debug, Clone)]
pub(crate) struct ParkedDelivery {
    pub(crate) notification_id: Uuid,
    pub(crate) site_id: String,
    pub(crate) event_type: EventType,
    pub(crate) origin: Origin,
    pub(crate) resend_of: Option<Uuid>,
    pub(crate) status: DeliveryStatus,
    pub(crate) attempts: i32,
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<FailureReason>,
    pub(crate) payload: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    /// Number and deadline of an attempt that another owner may still be making.
    pub(crate) claim: Option<(i32, DateTime<Utc>)>,
    /// False once it has failed: its row is there for its dead letter.
    pub(crate) waits: bool,
}

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

/// Rows that were claimed.
#[derive(Debug, Default)]
pub(crate) struct TakenRows {
    pub(crate) readable: Vec<ClaimedRow>,
    /// Deliveries with words of a newer version. They stay claimed, so that they are in nobody's
    /// way; once the claim ends they are looked at again.
    pub(crate) newer: Vec<NewerRow>,
}

/// A claimed row that only a newer version can read.
#[derive(Debug)]
pub(crate) struct NewerRow {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) webhook_id: WebhookId,
    claimed_until: DateTime<Utc>,
}

impl TakenRows {
    /// All rows, to be given back.
    pub(crate) fn given_back(&self) -> Vec<GivenBackRow> {
        let newer = self
            .newer
            .iter()
            .map(|row| GivenBackRow::new(row.delivery_id, row.claimed_until, true));
        self.readable
            .iter()
            .map(ClaimedRow::given_back)
            .chain(newer)
            .collect()
    }
}

/// A claimed row that is given back without an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenBackRow {
    pub(crate) id: DeliveryId,
    /// End of the claim that is given back; a claim that somebody else has made since stays.
    pub(crate) claimed_until: DateTime<Utc>,
    /// An earlier owner may have made its attempt.
    pub(crate) suspect: bool,
}

impl GivenBackRow {
    pub(crate) fn new(id: DeliveryId, claimed_until: DateTime<Utc>, suspect: bool) -> Self {
        Self {
            id,
            claimed_until,
            suspect,
        }
    }
}

impl ClaimedRow {
    pub(crate) fn given_back(&self) -> GivenBackRow {
        GivenBackRow::new(self.delivery_id, self.claimed_until, self.was_claimed)
    }
}

/// Claims rows that are due at `now`, of each webhook at most so many, oldest first, for `claim`.
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
             update parked set claimed_until = now() + make_interval(secs => $4)
             from picked where parked.delivery_id = picked.delivery_id
             returning parked.delivery_id, parked.webhook_id, parked.partition, parked.due_at, parked.reason,
                 parked.attempt, parked.step, parked.paused_ms, parked.parked_at, parked.claimed_until as held_until,
                 picked.claimed_until is not null as was_claimed
         )
         select t.delivery_id as "delivery_id!", t.webhook_id as "webhook_id!", t.partition as "partition!",
             t.due_at as "due_at!", t.reason as "reason!", t.attempt as "attempt!", t.step as "step!",
             t.paused_ms as "paused_ms!", t.parked_at as "parked_at!", t.held_until as "held_until!",
             t.was_claimed as "was_claimed!",
             d.notification_id as "notification_id?", d.site_id as "site_id?", d.event_type as "event_type?",
             d.origin as "origin?", d.resend_of as "resend_of?", d.status as "status?", d.attempts as "attempts?", d.response_code as "response_code?",
             d.failure_reason as "failure_reason?", d.payload as "payload?", d.created_at as "created_at?", d.first_attempt_at as "first_attempt_at?",
             d.claimed_attempt as "claimed_attempt?", d.claimed_until as "claimed_until?", d.parked_reason is not null as "waits!"
         from taken t left join deliveries d on d.id = t.delivery_id
         order by t.due_at, t.delivery_id"#,
        &webhooks,
        &rooms,
        now,
        claim.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;
    let mut taken = TakenRows::default();
    for row in rows {
        let newer = NewerRow {
            delivery_id: DeliveryId::from_uuid(row.delivery_id),
            webhook_id: WebhookId::from_uuid(row.webhook_id),
            claimed_until: row.held_until,
        };
        match row.into_claimed() {
            Ok(row) => taken.readable.push(row),
            Err(_) => taken.newer.push(newer),
        }
    }
    Ok(taken)
}

/// Columns of a claimed row and of its delivery.
struct TakenRow {
    delivery_id: Uuid,
    webhook_id: Uuid,
    partition: i32,
    due_at: DateTime<Utc>,
    reason: String,
    attempt: i32,
    step: i32,
    paused_ms: i64,
    parked_at: DateTime<Utc>,
    held_until: DateTime<Utc>,
    was_claimed: bool,
    notification_id: Option<Uuid>,
    site_id: Option<String>,
    event_type: Option<String>,
    origin: Option<String>,
    resend_of: Option<Uuid>,
    status: Option<String>,
    attempts: Option<i32>,
    response_code: Option<i32>,
    failure_reason: Option<String>,
    payload: Option<Vec<u8>>,
    created_at: Option<DateTime<Utc>>,
    first_attempt_at: Option<DateTime<Utc>>,
    claimed_attempt: Option<i32>,
    claimed_until: Option<DateTime<Utc>>,
    waits: bool,
}

impl TakenRow {
    fn into_claimed(mut self) -> sqlx::Result<ClaimedRow> {
        Ok(ClaimedRow {
            delivery: self.take_delivery()?,
            delivery_id: DeliveryId::from_uuid(self.delivery_id),
            webhook_id: WebhookId::from_uuid(self.webhook_id),
            partition: self.partition,
            due_at: self.due_at,
            reason: word(&self.reason)?,
            attempt: self.attempt,
            step: self.step,
            paused_ms: self.paused_ms,
            parked_at: self.parked_at,
            claimed_until: self.held_until,
            was_claimed: self.was_claimed,
        })
    }

    fn take_delivery(&mut self) -> sqlx::Result<Option<ParkedDelivery>> {
        let (Some(notification_id), Some(site_id), Some(event_type), Some(created_at)) = (
            self.notification_id,
            self.site_id.take(),
            self.event_type.take(),
            self.created_at,
        ) else {
            return Ok(None);
        };
        Ok(Some(ParkedDelivery {
            notification_id,
            site_id,
            event_type: word(&event_type)?,
            origin: word(self.origin.as_deref().unwrap_or_default())?,
            resend_of: self.resend_of,
            status: word(self.status.as_deref().unwrap_or_default())?,
            attempts: self.attempts.unwrap_or(0),
            response_code: self.response_code,
            failure_reason: self.failure_reason.as_deref().map(word).transpose()?,
            payload: self.payload.take().unwrap_or_default(),
            created_at,
            first_attempt_at: self.first_attempt_at,
            claim: self.claimed_attempt.zip(self.claimed_until),
            waits: self.waits,
        }))
    }
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

/// Ends the claims in partitions whose owner died: what it had claimed may have been sent.
pub(crate) async fn end_claims(connection: &mut PgConnection, partitions: &[i32]) -> sqlx::Result<u64> {
    let ended = sqlx::query!(
        "update parked set claimed_until = now() from (
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

/// Cancels a batch of what waits for a webhook that is off or deleted. Returns how many deliveries
/// of each event type were cancelled, and if more rows may be left to cancel. Rows of failed
/// deliveries stay.
pub(crate) async fn cancel_batch(
    connection: &mut PgConnection,
    webhook: WebhookId,
    reason: FailureReason,
) -> sqlx::Result<(Vec<(EventType, i64)>, bool)> {
    let rows = sqlx::query!(
        r#"with batch as (
             select delivery_id from parked
             where webhook_id = $1 and (claimed_until is null or claimed_until <= now())
               -- Its dead letter may be missing: the deliverer goes on with it.
               and not exists (select from deliveries d where d.id = parked.delivery_id and d.status = 'failed')
             order by due_at, delivery_id limit $3 for update skip locked
         ), cancelled as (
             update deliveries set status = 'cancelled', failure_reason = $2, next_retry_at = null,
                 parked_until = null, parked_reason = null, updated_at = now()
             from (select delivery_id from batch order by delivery_id) b
             where deliveries.id = b.delivery_id and status in ('pending', 'retrying')
             returning id, event_type
         ), removed as (
             delete from parked using batch where parked.delivery_id = batch.delivery_id returning parked.delivery_id
         )
         select c.event_type as "event_type?", count(*) as "rows!" from removed r left join cancelled c on c.id = r.delivery_id
         group by c.event_type"#,
        webhook.uuid(),
        reason.as_str(),
        CANCEL_BATCH,
    )
    .fetch_all(connection)
    .await?;
    let removed: i64 = rows.iter().map(|row| row.rows).sum();
    let mut cancelled = Vec::new();
    for row in rows {
        if let Some(event) = row.event_type {
            cancelled.push((word(&event)?, row.rows));
        }
    }
    Ok((cancelled, removed >= CANCEL_BATCH))
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

//! Deliveries and attempts as the deliverer reads and writes them: in batches, idempotent, each
//! transition guarded in its `WHERE`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::webhook::DisableReason;

/// A delivery as Postgres knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) status: DeliveryStatus,
    /// The number of the last attempt recorded.
    pub(crate) attempts: i32,
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<FailureReason>,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    /// Another owner's attempt that may still be under way: its number and its deadline.
    pub(crate) claim: Option<(i32, DateTime<Utc>)>,
}

/// The facts of a delivery that its row keeps.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryFacts {
    pub(crate) id: DeliveryId,
    pub(crate) notification_id: Uuid,
    pub(crate) webhook_id: WebhookId,
    pub(crate) site_id: String,
    pub(crate) event_type: &'static str,
    pub(crate) origin: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Outcome of one attempt, or of not making it.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeRow {
    pub(crate) facts: DeliveryFacts,
    pub(crate) status: DeliveryStatus,
    /// The number of the last attempt made, this one included.
    pub(crate) attempts: i32,
    /// That attempt's.
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<FailureReason>,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    /// `None` when the delivery ended unsent.
    pub(crate) attempt: Option<AttemptRow>,
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct AttemptRow {
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) headers_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) status_code: Option<i32>,
    pub(crate) result: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<Vec<u8>>,
    pub(crate) remote_address: Option<String>,
    pub(crate) url_masked: String,
    pub(crate) possible_repeat: bool,
    pub(crate) dns_ms: Option<i32>,
    pub(crate) connect_ms: Option<i32>,
    pub(crate) tls_ms: Option<i32>,
    pub(crate) response_ms: Option<i32>,
    pub(crate) total_ms: Option<i32>,
}

/// An attempt under way whose partition is being handed over.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) facts: DeliveryFacts,
    pub(crate) attempt: i32,
    /// When the attempt has ended or has been given up.
    pub(crate) until: DateTime<Utc>,
}

/// Reads these deliveries; unknown ones are absent.
///
/// The bounds let Postgres leave out the partitions of other days, which `= any` alone does not.
pub(crate) async fn known(
    connection: &mut PgConnection,
    ids: &[DeliveryId],
) -> sqlx::Result<Vec<KnownDelivery>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let (Some(lowest), Some(highest)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(Vec::new());
    };
    let rows = sqlx::query!(
        "select id, status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, claimed_until, claimed_attempt
         from deliveries where id = any($1) and id between $2 and $3",
        &ids,
        lowest,
        highest,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(KnownDelivery {
                id: DeliveryId::from_uuid(row.id),
                status: word(&row.status)?,
                attempts: row.attempts,
                response_code: row.response_code,
                failure_reason: row.failure_reason.as_deref().map(word).transpose()?,
                next_retry_at: row.next_retry_at,
                first_attempt_at: row.first_attempt_at,
                claim: row.claimed_attempt.zip(row.claimed_until),
            })
        })
        .collect()
}

fn word<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> sqlx::Result<T> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Writes outcomes and attempts in one statement. Returns the deliveries whose row took the
/// outcome, and how they stand now; of the others a later attempt, or the end, was recorded before,
/// and what is recorded holds.
///
/// A delivery that was cancelled while its request was under way takes the attempt and stays
/// cancelled, unless it arrived. No delivery may occur twice. Rows are locked in the order of their
/// ids, as everybody does who changes several.
pub(crate) async fn write(
    connection: &mut PgConnection,
    outcomes: &[OutcomeRow],
) -> sqlx::Result<Vec<(DeliveryId, DeliveryStatus)>> {
    macro_rules! column {
        ($of:expr) => {
            outcomes.iter().map($of).collect::<Vec<_>>()
        };
    }
    macro_rules! attempt_column {
        ($of:expr) => {
            outcomes
                .iter()
                .map(|one| one.attempt.as_ref().map($of))
                .collect::<Vec<_>>()
        };
    }
    let taken = sqlx::query!(
        r#"
        with outcome as (
            select * from unnest(
                $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[],
                $9::text[], $10::int[], $11::int[], $12::text[], $13::timestamptz[], $14::timestamptz[],
                $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::int[], $20::text[],
                $21::text[], $22::text[], $23::bytea[], $24::text[], $25::text[], $26::bool[],
                $27::int[], $28::int[], $29::int[], $30::int[], $31::int[]
            ) as o (
                id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
                status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at,
                due_at, started_at, headers_at, ended_at, status_code, result,
                fault, error, response, remote_address, url_masked, possible_repeat,
                dns_ms, connect_ms, tls_ms, response_ms, total_ms
            )
        ), taken as (
            insert into deliveries as d (
                id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
                status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, inserted_at, updated_at
            )
            select id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
                   status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, now(), now()
            from outcome
            order by id
            on conflict (id) do update set
                status = case when d.status <> 'cancelled' or excluded.status = 'delivered' then excluded.status else d.status end,
                attempts = excluded.attempts, response_code = excluded.response_code,
                failure_reason = case when d.status <> 'cancelled' or excluded.status = 'delivered' then excluded.failure_reason else d.failure_reason end,
                next_retry_at = case when d.status <> 'cancelled' then excluded.next_retry_at end,
                first_attempt_at = coalesce(d.first_attempt_at, excluded.first_attempt_at),
                claimed_until = null, claimed_attempt = null, parked_until = null, parked_reason = null, updated_at = now()
            where d.status in ('pending', 'retrying', 'cancelled')
              and (d.attempts < excluded.attempts
                   -- Ended unsent: no attempt is added.
                   or (d.status <> 'cancelled' and d.attempts = excluded.attempts
                       and excluded.failure_reason in ('expired', 'overflow', 'disabled', 'deleted')))
            returning d.id, d.status, d.next_retry_at as retry_at
        ), attempted as (
            insert into delivery_attempts (
                delivery_id, attempt, due_at, started_at, headers_at, ended_at, status_code, result, fault, error, response,
                remote_address, url_masked, possible_repeat, retry_at, dns_ms, connect_ms, tls_ms, response_ms, total_ms
            )
            select o.id, attempts, due_at, started_at, headers_at, ended_at, status_code, result, fault, error, response,
                   remote_address, url_masked, possible_repeat, retry_at, dns_ms, connect_ms, tls_ms, response_ms, total_ms
            from outcome o join taken on taken.id = o.id
            where started_at is not null
            on conflict (delivery_id, attempt) do nothing
        )
        select id as "id!", status as "status!" from taken
        "#,
        &column!(|one| one.facts.id.uuid()),
        &column!(|one| one.facts.notification_id),
        &column!(|one| one.facts.webhook_id.uuid()),
        &column!(|one| one.facts.site_id.clone()),
        &column!(|one| one.facts.event_type.to_owned()),
        &column!(|one| one.facts.origin.to_owned()),
        &column!(|one| one.facts.payload.clone()),
        &column!(|one| one.facts.created_at),
        &column!(|one| one.status.as_str().to_owned()),
        &column!(|one| one.attempts),
        &column!(|one| one.response_code) as &[Option<i32>],
        &column!(|one| one.failure_reason.map(|reason| reason.as_str().to_owned())) as &[Option<String>],
        &column!(|one| one.next_retry_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.first_attempt_at) as &[Option<DateTime<Utc>>],
        &attempt_column!(|one| one.due_at) as &[Option<DateTime<Utc>>],
        &attempt_column!(|one| one.started_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.headers_at)) as &[Option<DateTime<Utc>>],
        &attempt_column!(|one| one.ended_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.status_code)) as &[Option<i32>],
        &attempt_column!(|one| one.result.to_owned()) as &[Option<String>],
        &attempt_column!(|one| one.fault.to_owned()) as &[Option<String>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.error.clone())) as &[Option<String>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.response.clone())) as &[Option<Vec<u8>>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.remote_address.clone())) as &[Option<String>],
        &attempt_column!(|one| one.url_masked.clone()) as &[Option<String>],
        &column!(|one| one.attempt.as_ref().is_some_and(|attempt| attempt.possible_repeat)),
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.dns_ms)) as &[Option<i32>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.connect_ms)) as &[Option<i32>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.tls_ms)) as &[Option<i32>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.response_ms)) as &[Option<i32>],
        &column!(|one| one.attempt.as_ref().and_then(|attempt| attempt.total_ms)) as &[Option<i32>],
    )
    .fetch_all(connection)
    .await?;
    taken
        .into_iter()
        .map(|row| Ok((DeliveryId::from_uuid(row.id), word(&row.status)?)))
        .collect()
}

/// Says, before partitions are handed over, which attempts are under way and until when, in one
/// statement: the next owner waits for their outcome instead of sending again.
pub(crate) async fn claim(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<()> {
    macro_rules! column {
        ($of:expr) => {
            claims.iter().map($of).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into deliveries as d (
             id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
             status, attempts, claimed_attempt, claimed_until, inserted_at, updated_at
         )
         select id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
                'pending', attempt - 1, attempt, until, now(), now()
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[],
                     $9::int[], $10::timestamptz[])
              as c (id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at, attempt, until)
         order by id
         on conflict (id) do update set
             claimed_attempt = excluded.claimed_attempt, claimed_until = excluded.claimed_until, updated_at = now()
         where d.status in ('pending', 'retrying') and d.attempts < excluded.claimed_attempt",
        &column!(|one| one.facts.id.uuid()),
        &column!(|one| one.facts.notification_id),
        &column!(|one| one.facts.webhook_id.uuid()),
        &column!(|one| one.facts.site_id.clone()),
        &column!(|one| one.facts.event_type.to_owned()),
        &column!(|one| one.facts.origin.to_owned()),
        &column!(|one| one.facts.payload.clone()),
        &column!(|one| one.facts.created_at),
        &column!(|one| one.attempt),
        &column!(|one| one.until),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Disables a webhook whose endpoint answered an attempt of `delivery` with 410 Gone. `false`: it
/// was disabled or deleted before, or its owner has switched it since: off, which is his word, or
/// on, and he wants to see for himself.
pub async fn disable_gone(
    connection: &mut PgConnection,
    webhook: WebhookId,
    delivery: DeliveryId,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update webhooks set disabled_at = now(), disabled_reason = $3, updated_at = now()
         where id = $1 and deleted_at is null and enabled and disabled_at is null
           and active_since <= (select max(ended_at) from delivery_attempts where delivery_id = $2)",
        webhook.uuid(),
        delivery.uuid(),
        DisableReason::Gone.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Successes and failures of a webhook's deliveries since the last note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HealthNote {
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    /// Deliveries failed for good since the last success, or since the last note when there was
    /// none.
    pub(crate) failures: i32,
}

/// Adds what happened since the last note to the health of webhooks.
pub(crate) async fn note_health(
    connection: &mut PgConnection,
    notes: &[(WebhookId, HealthNote)],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = notes.iter().map(|(id, _)| id.uuid()).collect();
    let successes: Vec<Option<DateTime<Utc>>> = notes.iter().map(|(_, note)| note.last_success_at).collect();
    let failures: Vec<i32> = notes.iter().map(|(_, note)| note.failures).collect();
    sqlx::query!(
        "update webhooks w set
             last_success_at = greatest(w.last_success_at, n.success),
             consecutive_failures = case when n.success is null then w.consecutive_failures else 0 end + n.failures
         from unnest($1::uuid[], $2::timestamptz[], $3::int[]) as n (id, success, failures)
         where w.id = n.id",
        &ids,
        &successes as &[Option<DateTime<Utc>>],
        &failures,
    )
    .execute(connection)
    .await?;
    Ok(())
}

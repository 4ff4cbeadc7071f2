//! Deliveries and attempts as the deliverer reads and writes them: in batches that may be repeated,
//! each transition guarded in its `WHERE`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::{DeliveryStatus, FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, WebhookId};

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
    /// Delays of the retry schedule that are used up before the attempt after the last one
    /// recorded.
    pub(crate) step: i32,
    /// True if it waits in `parked`.
    pub(crate) is_parked: bool,
    /// Number and deadline of an attempt that another owner may still be making.
    pub(crate) claim: Option<(i32, DateTime<Utc>)>,
}

/// State of some deliveries as Postgres knows it.
#[derive(Debug, Default)]
pub(crate) struct KnownDeliveries {
    pub(crate) readable: Vec<KnownDelivery>,
    /// Deliveries with words of a newer version, which must not be taken for unrecorded.
    pub(crate) newer: Vec<DeliveryId>,
}

/// Facts of a delivery that never change.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryFacts {
    pub(crate) id: DeliveryId,
    pub(crate) notification_id: Uuid,
    pub(crate) webhook_id: WebhookId,
    pub(crate) site_id: String,
    pub(crate) event_type: EventType,
    pub(crate) origin: Origin,
    /// The delivery that this one sends again.
    pub(crate) resend_of: Option<DeliveryId>,
    pub(crate) payload: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Outcome of an attempt, or of a delivery that ended without one.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeRow {
    pub(crate) facts: DeliveryFacts,
    pub(crate) status: DeliveryStatus,
    /// The number of the last attempt made, this one included.
    pub(crate) attempts: i32,
    /// Status of the response to that attempt.
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<FailureReason>,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    /// Delays of the retry schedule that are used up before the next attempt.
    pub(crate) step: i32,
    /// Absent if no attempt was made.
    pub(crate) attempt: Option<AttemptRow>,
    /// Its row of `parked`, if it is to wait there.
    pub(crate) parked: Option<ParkedRow>,
}

impl OutcomeRow {
    /// Makes the row of a delivery that ends with its first attempt, whatever the result.
    pub(crate) fn of_only_attempt(facts: DeliveryFacts, attempt: AttemptRow) -> Self {
        let (status, failure_reason) = match attempt.result {
            AttemptResult::Success => (DeliveryStatus::Delivered, None),
            failed => (DeliveryStatus::Failed, Some(failed.failure_reason())),
        };
        Self {
            facts,
            status,
            attempts: 1,
            response_code: attempt.status_code,
            failure_reason,
            next_retry_at: None,
            first_attempt_at: Some(attempt.started_at),
            step: 0,
            attempt: Some(attempt),
            parked: None,
        }
    }
}

impl OutcomeRow {
    /// Removes what an endpoint said, the part of an outcome that nobody here has made.
    pub(crate) fn strip_answer(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.error = None;
            attempt.response = None;
            attempt.remote_address = None;
        }
    }

    /// Ends the delivery without its attempt. One that has arrived or was cancelled stays so;
    /// anything else has failed as `unrecordable`.
    pub(crate) fn end_unrecordable(&mut self) {
        self.attempt = None;
        self.next_retry_at = None;
        if !matches!(self.status, DeliveryStatus::Delivered | DeliveryStatus::Cancelled) {
            self.status = DeliveryStatus::Failed;
            self.failure_reason = Some(FailureReason::Unrecordable);
        }
    }
}

/// A row of `parked`, as it is written with an outcome.
#[derive(Debug, Clone)]
pub(crate) struct ParkedRow {
    pub(crate) partition: i32,
    pub(crate) due_at: DateTime<Utc>,
    /// When its webhook may be sent to again as far as known; shown to the owner.
    pub(crate) shown_until: DateTime<Utc>,
    pub(crate) reason: ParkReason,
    /// The attempt to be made.
    pub(crate) attempt: i32,
    pub(crate) paused_ms: i64,
    /// Until then this process works on it, and no other may claim it.
    pub(crate) claimed_until: Option<DateTime<Utc>>,
    /// End of the claim under which this process has worked on the row; none: it had no row. A
    /// claim of anybody else stays.
    pub(crate) held_until: Option<DateTime<Utc>>,
}

/// An HTTP request and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct AttemptRow {
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) headers_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) status_code: Option<i32>,
    pub(crate) result: AttemptResult,
    pub(crate) fault: Fault,
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

/// An attempt in flight whose partition is being handed over.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) facts: DeliveryFacts,
    pub(crate) attempt: i32,
    /// Deadline of the attempt.
    pub(crate) until: DateTime<Utc>,
}

/// Reads the recorded ones among `ids`; the others have no row yet.
///
/// `between` lets Postgres skip the partitions of other days, which `= any` alone does not.
pub(crate) async fn known(
    connection: &mut PgConnection,
    ids: &[DeliveryId],
) -> sqlx::Result<KnownDeliveries> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let (Some(lowest), Some(highest)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(KnownDeliveries::default());
    };
    let rows = sqlx::query!(
        "select id, status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, step, parked_reason, claimed_until,
             claimed_attempt
         from deliveries where id = any($1) and id between $2 and $3",
        &ids,
        lowest,
        highest,
    )
    .fetch_all(connection)
    .await?;
    let mut known = KnownDeliveries::default();
    for row in rows {
        let id = DeliveryId::from_uuid(row.id);
        let reason = row.failure_reason.as_deref().map(word).transpose();
        let (Ok(status), Ok(failure_reason)) = (word(&row.status), reason) else {
            known.newer.push(id);
            continue;
        };
        known.readable.push(KnownDelivery {
            id,
            status,
            attempts: row.attempts,
            response_code: row.response_code,
            failure_reason,
            next_retry_at: row.next_retry_at,
            first_attempt_at: row.first_attempt_at,
            step: row.step,
            is_parked: row.parked_reason.is_some(),
            claim: row.claimed_attempt.zip(row.claimed_until),
        });
    }
    Ok(known)
}

pub(super) fn word<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    text: &str,
) -> sqlx::Result<T> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// One column of several rows.
macro_rules! column {
    ($rows:expr, $of:expr) => {
        $rows.iter().map($of).collect::<Vec<_>>()
    };
}
/// One column of the rows' attempts, null where there is none.
macro_rules! attempt_column {
    ($rows:expr, $of:expr) => {
        column!($rows, |one| one.attempt.as_ref().and_then($of))
    };
}
/// One column of what is parked, null where nothing is.
macro_rules! parked_column {
    ($rows:expr, $of:expr) => {
        column!($rows, |one| one.parked.as_ref().and_then($of))
    };
}

/// Writes outcomes and attempts, and parks or unparks, in one statement. Returns the deliveries
/// whose row took the outcome, with their status. The others keep their row: a later attempt or an
/// end was recorded before.
///
/// A delivery that was cancelled while its request was in flight takes the attempt and stays
/// cancelled, unless the request succeeded. No delivery may occur twice. Rows are locked in the
/// order of their ids, the order of all writers of several.
pub(crate) async fn write(
    connection: &mut PgConnection,
    outcomes: &[OutcomeRow],
) -> sqlx::Result<Vec<(DeliveryId, DeliveryStatus)>> {
    let taken = sqlx::query_file!(
        "src/record/outcomes/write.sql",
        &column!(outcomes, |one| one.facts.id.uuid()),
        &column!(outcomes, |one| one.facts.notification_id),
        &column!(outcomes, |one| one.facts.webhook_id.uuid()),
        &column!(outcomes, |one| one.facts.site_id.clone()),
        &column!(outcomes, |one| one.facts.event_type.to_string()),
        &column!(outcomes, |one| one.facts.origin.to_string()),
        &column!(outcomes, |one| one.facts.payload.clone()),
        &column!(outcomes, |one| one.facts.created_at),
        &column!(outcomes, |one| one.status.to_string()),
        &column!(outcomes, |one| one.attempts),
        &column!(outcomes, |one| one.response_code) as &[Option<i32>],
        &column!(outcomes, |one| one
            .failure_reason
            .map(|reason| reason.to_string())) as &[Option<String>],
        &column!(outcomes, |one| one.next_retry_at) as &[Option<DateTime<Utc>>],
        &column!(outcomes, |one| one.first_attempt_at) as &[Option<DateTime<Utc>>],
        &attempt_column!(outcomes, |one| Some(one.due_at)) as &[Option<DateTime<Utc>>],
        &attempt_column!(outcomes, |one| Some(one.started_at)) as &[Option<DateTime<Utc>>],
        &attempt_column!(outcomes, |one| one.headers_at) as &[Option<DateTime<Utc>>],
        &attempt_column!(outcomes, |one| Some(one.ended_at)) as &[Option<DateTime<Utc>>],
        &attempt_column!(outcomes, |one| one.status_code) as &[Option<i32>],
        &attempt_column!(outcomes, |one| Some(one.result.to_string())) as &[Option<String>],
        &attempt_column!(outcomes, |one| Some(one.fault.to_string())) as &[Option<String>],
        &attempt_column!(outcomes, |one| one.error.clone()) as &[Option<String>],
        &attempt_column!(outcomes, |one| one.response.clone()) as &[Option<Vec<u8>>],
        &attempt_column!(outcomes, |one| one.remote_address.clone()) as &[Option<String>],
        &attempt_column!(outcomes, |one| Some(one.url_masked.clone())) as &[Option<String>],
        &column!(outcomes, |one| one
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.possible_repeat)),
        &attempt_column!(outcomes, |one| one.dns_ms) as &[Option<i32>],
        &attempt_column!(outcomes, |one| one.connect_ms) as &[Option<i32>],
        &attempt_column!(outcomes, |one| one.tls_ms) as &[Option<i32>],
        &attempt_column!(outcomes, |one| one.response_ms) as &[Option<i32>],
        &attempt_column!(outcomes, |one| one.total_ms) as &[Option<i32>],
        &column!(outcomes, |one| one.step),
        &parked_column!(outcomes, |one| Some(one.partition)) as &[Option<i32>],
        &parked_column!(outcomes, |one| Some(one.due_at)) as &[Option<DateTime<Utc>>],
        &parked_column!(outcomes, |one| Some(one.shown_until)) as &[Option<DateTime<Utc>>],
        &parked_column!(outcomes, |one| Some(one.reason.to_string())) as &[Option<String>],
        &parked_column!(outcomes, |one| Some(one.attempt)) as &[Option<i32>],
        &parked_column!(outcomes, |one| Some(one.paused_ms)) as &[Option<i64>],
        &parked_column!(outcomes, |one| one.claimed_until) as &[Option<DateTime<Utc>>],
        &column!(outcomes, |one| one.facts.resend_of.map(DeliveryId::uuid)) as &[Option<Uuid>],
        &parked_column!(outcomes, |one| one.held_until) as &[Option<DateTime<Utc>>],
    )
    .fetch_all(connection)
    .await?;
    taken
        .into_iter()
        .map(|row| Ok((DeliveryId::from_uuid(row.id), word(&row.status)?)))
        .collect()
}

/// Ends a delivery of which Postgres has refused the outcome, with as little as can be written. A
/// row of it in `parked` has ended too. Returns false if it had an end before.
pub(crate) async fn end_unrecordable(
    connection: &mut PgConnection,
    outcome: &OutcomeRow,
) -> sqlx::Result<bool> {
    let facts = &outcome.facts;
    let ended = sqlx::query_scalar!(
        r#"with ended as (
             insert into deliveries as d (id, notification_id, webhook_id, site_id, event_type, origin, status,
                 failure_reason, attempts, payload, created_at, resend_of, inserted_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now(), now())
             on conflict (id) do update set
                 status = excluded.status, failure_reason = excluded.failure_reason,
                 attempts = greatest(d.attempts, excluded.attempts), next_retry_at = null, parked_until = null,
                 parked_reason = null, claimed_until = null, claimed_attempt = null, updated_at = now()
             where d.status in ('pending', 'retrying')
             returning id
         ), waiting as (
             update parked set has_ended = true from ended where parked.delivery_id = ended.id
         )
         select count(*) > 0 as "ended!" from ended"#,
        facts.id.uuid(),
        facts.notification_id,
        facts.webhook_id.uuid(),
        facts.site_id,
        facts.event_type.as_str(),
        facts.origin.as_str(),
        outcome.status.as_str(),
        outcome.failure_reason.map(FailureReason::as_str),
        outcome.attempts,
        facts.payload,
        facts.created_at,
        facts.resend_of.map(DeliveryId::uuid),
    );
    ended.fetch_one(connection).await
}

/// Records the attempts in flight with their deadlines, in one statement, before partitions are
/// handed over: the next owner then waits for their outcome and does not send again.
pub(crate) async fn claim(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into deliveries as d (
             id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
             resend_of, status, attempts, claimed_attempt, claimed_until, inserted_at, updated_at
         )
         select id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
                resend_of, 'pending', attempt - 1, attempt, until, now(), now()
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[],
                     $9::int[], $10::timestamptz[], $11::uuid[])
              as c (id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at, attempt, until, resend_of)
         order by id
         on conflict (id) do update set
             claimed_attempt = excluded.claimed_attempt, claimed_until = excluded.claimed_until, updated_at = now()
         where d.status in ('pending', 'retrying') and d.attempts < excluded.claimed_attempt",
        &column!(claims, |one| one.facts.id.uuid()),
        &column!(claims, |one| one.facts.notification_id),
        &column!(claims, |one| one.facts.webhook_id.uuid()),
        &column!(claims, |one| one.facts.site_id.clone()),
        &column!(claims, |one| one.facts.event_type.to_string()),
        &column!(claims, |one| one.facts.origin.to_string()),
        &column!(claims, |one| one.facts.payload.clone()),
        &column!(claims, |one| one.facts.created_at),
        &column!(claims, |one| one.attempt),
        &column!(claims, |one| one.until),
        &column!(claims, |one| one.facts.resend_of.map(DeliveryId::uuid)) as &[Option<Uuid>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) mod free;
#[cfg(test)]
mod tests;

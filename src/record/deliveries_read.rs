//! Reading of deliveries: some by their ids, and one with its attempts.
//!
//! What asks for the deliveries of one webhook, here and elsewhere, names it as `any(array[…])` and
//! orders by it, an order that only an index beginning with the webhook has. Ordered by the id
//! alone, and where one webhook has all that the planner's statistics know of, Postgres takes the
//! primary key instead, and for every other webhook reads the whole day in vain.

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::site::SiteId;

use super::plans::plan_for_values;

/// A delivery as its row has it. Statuses and reasons are text: they were checked when they were
/// written, and those of a newer version are shown as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredDelivery {
    pub(crate) id: Uuid,
    pub(crate) notification_id: Uuid,
    pub(crate) webhook_id: Uuid,
    pub(crate) site_id: String,
    pub(crate) event_type: String,
    pub(crate) origin: String,
    pub(crate) status: String,
    pub(crate) attempts: i32,
    pub(crate) response_code: Option<i32>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) parked_until: Option<DateTime<Utc>>,
    pub(crate) parked_reason: Option<String>,
    pub(crate) resend_of: Option<Uuid>,
    /// The canonical body, byte for byte.
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) first_attempt_at: Option<DateTime<Utc>>,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// An attempt as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct AttemptRecord {
    pub(crate) attempt: i32,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) headers_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) status_code: Option<i32>,
    pub(crate) result: String,
    pub(crate) fault: String,
    pub(crate) error: Option<String>,
    #[serde(deserialize_with = "from_hex")]
    pub(crate) response: Option<Vec<u8>>,
    pub(crate) remote_address: Option<String>,
    pub(crate) url_masked: Option<String>,
    pub(crate) possible_repeat: bool,
    pub(crate) retry_at: Option<DateTime<Utc>>,
    pub(crate) dns_ms: Option<i32>,
    pub(crate) connect_ms: Option<i32>,
    pub(crate) tls_ms: Option<i32>,
    pub(crate) response_ms: Option<i32>,
    pub(crate) total_ms: Option<i32>,
}

/// The last attempt of a delivery, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastAttempt {
    pub(crate) result: String,
    pub(crate) total_ms: Option<i32>,
}

/// A row of [`StoredDelivery`] beside its last attempt.
struct ListedRow {
    id: Uuid,
    notification_id: Uuid,
    webhook_id: Uuid,
    site_id: String,
    event_type: String,
    origin: String,
    status: String,
    attempts: i32,
    response_code: Option<i32>,
    failure_reason: Option<String>,
    next_retry_at: Option<DateTime<Utc>>,
    parked_until: Option<DateTime<Utc>>,
    parked_reason: Option<String>,
    resend_of: Option<Uuid>,
    payload: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
    first_attempt_at: Option<DateTime<Utc>>,
    inserted_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    result: Option<String>,
    total_ms: Option<i32>,
}

/// The delivery of a row: two statements have its columns beside others.
macro_rules! stored_delivery {
    ($row:ident) => {
        StoredDelivery {
            id: $row.id,
            notification_id: $row.notification_id,
            webhook_id: $row.webhook_id,
            site_id: $row.site_id,
            event_type: $row.event_type,
            origin: $row.origin,
            status: $row.status,
            attempts: $row.attempts,
            response_code: $row.response_code,
            failure_reason: $row.failure_reason,
            next_retry_at: $row.next_retry_at,
            parked_until: $row.parked_until,
            parked_reason: $row.parked_reason,
            resend_of: $row.resend_of,
            payload: $row.payload,
            created_at: $row.created_at,
            first_attempt_at: $row.first_attempt_at,
            inserted_at: $row.inserted_at,
            updated_at: $row.updated_at,
        }
    };
}

impl From<ListedRow> for (StoredDelivery, Option<LastAttempt>) {
    fn from(row: ListedRow) -> Self {
        let last = row.result.map(|result| LastAttempt {
            result,
            total_ms: row.total_ms,
        });
        (stored_delivery!(row), last)
    }
}

/// Reads these deliveries, newest first, each with its last attempt if it had one.
pub(super) async fn some(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<(StoredDelivery, Option<LastAttempt>)>, sqlx::Error> {
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(Vec::new());
    };
    // The bounds tell which partitions hold them. One by one: between rare rows of a large day the
    // planner would read all that lies there.
    let rows = sqlx::query_as!(
        ListedRow,
        r#"select d.id, d.notification_id, d.webhook_id, d.site_id, d.event_type, d.origin, d.status, d.attempts,
               d.response_code, d.failure_reason, d.next_retry_at, d.parked_until, d.parked_reason, d.resend_of,
               d.payload, d.created_at, d.first_attempt_at, d.inserted_at, d.updated_at,
               last.result as "result?", last.total_ms
           from unnest($1::uuid[]) wanted (id)
           cross join lateral (
               select * from deliveries where deliveries.id = wanted.id and deliveries.id between $2 and $3 limit 1
           ) d
           left join lateral (
               select result, total_ms from delivery_attempts
               where delivery_id = wanted.id and delivery_id between $2 and $3 order by attempt desc limit 1
           ) last on true
           order by d.id desc"#,
        ids,
        *first,
        *last
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Reads these deliveries, and for each of these webhooks the newest delivery that was tried and
/// did not arrive, however many that were not tried lie before it. Newest first, each with its
/// last attempt.
pub(super) async fn some_and_tried(
    conn: &mut PgConnection,
    ids: &[Uuid],
    webhooks: &[Uuid],
) -> Result<Vec<(StoredDelivery, Option<LastAttempt>)>, sqlx::Error> {
    let kinds = EventType::ALL
        .into_iter()
        .filter(|event| *event != EventType::Test);
    let kinds: Vec<String> = kinds.map(|event| event.as_str().to_owned()).collect();
    // Of what is open, those that were tried are found by the index of the kinds: no number of
    // those that wait is read.
    let rows = sqlx::query_as!(
        ListedRow,
        r#"select d.id, d.notification_id, d.webhook_id, d.site_id, d.event_type, d.origin, d.status, d.attempts,
               d.response_code, d.failure_reason, d.next_retry_at, d.parked_until, d.parked_reason, d.resend_of,
               d.payload, d.created_at, d.first_attempt_at, d.inserted_at, d.updated_at,
               last.result as "result?", last.total_ms
           from (
               select id from unnest($1::uuid[]) shown (id)
               union
               select tried.id from unnest($2::uuid[]) asked (webhook_id)
               cross join lateral (
                   select id from (
                       (select id from (
                            select id, attempts, event_type from deliveries
                            where deliveries.webhook_id = any(array[asked.webhook_id])
                              and status in ('failed', 'cancelled')
                            order by webhook_id, id desc limit $6
                        ) missed
                        where attempts > 0 and event_type <> 'test' order by id desc limit 1)
                       union all
                       (select open.id from unnest($3::text[]) kind (event_type)
                        cross join lateral (
                            select id from deliveries d
                            where d.webhook_id = asked.webhook_id and d.event_type = kind.event_type
                              and d.status >= $4 and (d.status, d.id) < ($4, $5::uuid)
                            order by d.status desc, d.id desc limit 1
                        ) open
                        order by open.id desc limit 1)
                   ) either order by id desc limit 1
               ) tried
           ) wanted
           cross join lateral (select * from deliveries where deliveries.id = wanted.id limit 1) d
           left join lateral (
               select result, total_ms from delivery_attempts
               where delivery_id = wanted.id order by attempt desc limit 1
           ) last on true
           order by d.id desc"#,
        ids,
        webhooks,
        &kinds,
        DeliveryStatus::Retrying.as_str(),
        Uuid::max(),
        NEWEST_READ
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Deliveries of a webhook of which [`newest`] looks for those that are no tests.
const NEWEST_READ: i64 = 400;

/// Reads the newest deliveries of each of these webhooks, without payloads: of its last 400 those
/// that are no tests, at most `limit`, newest first.
pub(super) async fn newest(
    conn: &mut PgConnection,
    webhooks: &[Uuid],
    limit: i64,
) -> Result<Vec<(StoredDelivery, Option<LastAttempt>)>, sqlx::Error> {
    // Ordered by the webhook too: see the module.
    let rows = sqlx::query_as!(
        ListedRow,
        r#"select d.id, d.notification_id, d.webhook_id, d.site_id, d.event_type, d.origin, d.status, d.attempts,
               d.response_code, d.failure_reason, d.next_retry_at, d.parked_until, d.parked_reason, d.resend_of,
               null::bytea as payload, d.created_at, d.first_attempt_at, d.inserted_at, d.updated_at,
               last.result as "result?", last.total_ms
           from unnest($1::uuid[]) as wanted (webhook_id)
           cross join lateral (
               select * from (
                   select * from deliveries where deliveries.webhook_id = any(array[wanted.webhook_id])
                   order by webhook_id, id desc limit $3
               ) read
               where event_type <> 'test'
               order by read.webhook_id, read.id desc limit $2
           ) d
           left join lateral (
               select result, total_ms from delivery_attempts
               where delivery_id = d.id order by attempt desc limit 1
           ) last on true
           order by d.id desc"#,
        webhooks,
        limit,
        NEWEST_READ
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Finds those of these webhooks that have more deliveries than [`newest`] reads.
pub(super) async fn not_read_whole(
    conn: &mut PgConnection,
    webhooks: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select webhook_id as "webhook_id!" from unnest($1::uuid[]) as wanted (webhook_id)
           where exists (
               select from deliveries where deliveries.webhook_id = any(array[wanted.webhook_id])
               order by webhook_id, id desc offset $2 limit 1
           )"#,
        webhooks,
        NEWEST_READ
    )
    .fetch_all(conn)
    .await
}

/// Reads the ids of the deliveries by which this one was sent again, oldest first.
///
/// A resend is younger than what it repeats, which tells in which partitions it can lie.
pub(crate) async fn resends(
    conn: &mut PgConnection,
    delivery: &StoredDelivery,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut tx = conn.begin().await?;
    plan_for_values(&mut tx).await?;
    // Read apart, so that no other index is an alternative than that of resends.
    let ids = sqlx::query_scalar!(
        r#"with found as materialized (
               select id, resend_of, webhook_id from deliveries
               where notification_id = $1 and resend_of is not null and id > $2
           )
           select id from found where resend_of = $2 and webhook_id = $3 order by id limit 250"#,
        delivery.notification_id,
        delivery.id,
        delivery.webhook_id
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ids)
}

/// Reads one delivery of a webhook that the site has or had, with its attempts in order.
pub(crate) async fn one(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<(StoredDelivery, Vec<AttemptRecord>)>, sqlx::Error> {
    // Of both tables, the partition is known by the id.
    let row = sqlx::query!(
        r#"select id, notification_id, webhook_id, site_id, event_type, origin, status, attempts, response_code,
               failure_reason, next_retry_at, parked_until, parked_reason, resend_of, payload, created_at,
               first_attempt_at, inserted_at, updated_at,
               (select jsonb_agg(to_jsonb(a) || jsonb_build_object('response', encode(a.response, 'hex')) order by attempt)
                from delivery_attempts a where a.delivery_id = $1) as "log: Json<Vec<AttemptRecord>>"
           from deliveries
           where id = $1 and webhook_id = $2
             and exists (select from webhooks where webhooks.id = $2 and webhooks.site_id = $3)"#,
        id.uuid(),
        webhook.uuid(),
        site_id.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let delivery = stored_delivery!(row);
        (delivery, row.log.map_or_else(Vec::new, |Json(log)| log))
    }))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(hex::decode).transpose().map_err(D::Error::custom)
}

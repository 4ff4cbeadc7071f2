//! Reading deliveries: a webhook's history page by page, and one delivery with its attempts.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId, uuid_floor};

/// A delivery as its row says. Words are text here: they were checked when they were written, and a newer version's
/// are shown as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    pub id: Uuid,
    pub notification_id: Uuid,
    pub webhook_id: Uuid,
    pub site_id: String,
    pub event_type: String,
    pub origin: String,
    pub status: String,
    pub attempts: i32,
    pub response_code: Option<i32>,
    pub failure_reason: Option<String>,
    pub next_retry_at: Option<DateTime<Utc>>,
    pub parked_until: Option<DateTime<Utc>>,
    pub parked_reason: Option<String>,
    pub resend_of: Option<Uuid>,
    /// The canonical body, byte for byte.
    pub payload: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub inserted_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// An attempt as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    pub attempt: i32,
    pub due_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub headers_at: Option<DateTime<Utc>>,
    pub ended_at: DateTime<Utc>,
    pub status_code: Option<i32>,
    pub result: String,
    pub fault: String,
    pub error: Option<String>,
    pub response: Option<Vec<u8>>,
    pub remote_address: Option<String>,
    pub url_masked: Option<String>,
    pub possible_repeat: bool,
    pub retry_at: Option<DateTime<Utc>>,
    pub dns_ms: Option<i32>,
    pub connect_ms: Option<i32>,
    pub tls_ms: Option<i32>,
    pub response_ms: Option<i32>,
    pub total_ms: Option<i32>,
}

/// Which deliveries of a webhook to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Empty means any.
    pub statuses: Vec<DeliveryStatus>,
    /// Empty means any.
    pub events: Vec<EventType>,
    /// Of notifications made at or after this, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Only those that come after this one, that is, older ones.
    pub after: Option<DeliveryId>,
    pub limit: u32,
}

/// A page of a webhook's history, newest first, and the cursor of the next page if there is one.
///
/// The order is that of the ids, which start with the notification's time: a page begins exactly after the last row
/// of the page before, so whatever is added meanwhile, no delivery comes twice and none that was there is passed over.
pub async fn history(
    conn: &mut PgConnection,
    webhook: WebhookId,
    query: &HistoryQuery,
) -> Result<(Vec<DeliveryRecord>, Option<DeliveryId>), sqlx::Error> {
    let statuses: Vec<String> = query
        .statuses
        .iter()
        .map(|status| status.as_str().to_owned())
        .collect();
    let events: Vec<String> = query
        .events
        .iter()
        .map(|event| event.as_str().to_owned())
        .collect();
    let mut tx = conn.begin().await?;
    // Planned for these very values: only then do the partial indexes and the bounds on the partitions count.
    sqlx::raw_sql("set local plan_cache_mode = force_custom_plan")
        .execute(&mut *tx)
        .await?;
    let mut rows = sqlx::query_as!(
        DeliveryRecord,
        "select id, notification_id, webhook_id, site_id, event_type, origin, status, attempts, response_code,
             failure_reason, next_retry_at, parked_until, parked_reason, resend_of, payload, created_at,
             first_attempt_at, inserted_at, updated_at
         from deliveries
         where webhook_id = $1
           and ($2::text[] = '{}' or status = any($2))
           and ($3::text[] = '{}' or event_type = any($3))
           and ($4::uuid is null or id >= $4)
           and ($5::uuid is null or id < $5)
         order by id desc limit $6",
        webhook.uuid(),
        &statuses,
        &events,
        query.since_ms.map(uuid_floor),
        query.after.map(DeliveryId::uuid),
        // One more, to know whether there is a next page.
        i64::from(query.limit) + 1
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let limit = query.limit as usize;
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(|row| DeliveryId::from_uuid(row.id))
    } else {
        None
    };
    Ok((rows, next))
}

/// One delivery of a webhook with its attempts in order.
pub async fn one(
    conn: &mut PgConnection,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<(DeliveryRecord, Vec<AttemptRecord>)>, sqlx::Error> {
    let delivery = sqlx::query_as!(
        DeliveryRecord,
        "select id, notification_id, webhook_id, site_id, event_type, origin, status, attempts, response_code,
             failure_reason, next_retry_at, parked_until, parked_reason, resend_of, payload, created_at,
             first_attempt_at, inserted_at, updated_at
         from deliveries where id = $1 and webhook_id = $2",
        id.uuid(),
        webhook.uuid()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(delivery) = delivery else { return Ok(None) };
    let attempts = sqlx::query_as!(
        AttemptRecord,
        "select attempt, due_at, started_at, headers_at, ended_at, status_code, result, fault, error, response,
             remote_address, url_masked, possible_repeat, retry_at, dns_ms, connect_ms, tls_ms, response_ms, total_ms
         from delivery_attempts where delivery_id = $1 order by attempt",
        id.uuid()
    )
    .fetch_all(conn)
    .await?;
    Ok(Some((delivery, attempts)))
}

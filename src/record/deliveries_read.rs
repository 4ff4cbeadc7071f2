//! Reading of deliveries: the history of a webhook page by page, and one delivery with its
//! attempts.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId, uuid_floor};

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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Selection from the deliveries of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryQuery {
    /// Empty means any.
    pub(crate) statuses: Vec<DeliveryStatus>,
    /// Empty means any.
    pub(crate) events: Vec<EventType>,
    /// Only notifications made at or after this time, in milliseconds since the Unix epoch.
    pub(crate) since_ms: Option<i64>,
    /// Only deliveries older than this one.
    pub(crate) after: Option<DeliveryId>,
    pub(crate) limit: u32,
}

/// Reads a page of a webhook's history, newest first, and the cursor of the next page if there is
/// one.
///
/// The order is that of the ids, which start with the notification's time. A page begins after the
/// last row of the page before, so no delivery comes twice and none is left out, whatever is added
/// meanwhile.
pub(crate) async fn history(
    conn: &mut PgConnection,
    webhook: WebhookId,
    query: &HistoryQuery,
) -> Result<(Vec<StoredDelivery>, Option<DeliveryId>), sqlx::Error> {
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
    // A generic plan would use neither the partial indexes nor the bounds on the partitions.
    sqlx::raw_sql("set local plan_cache_mode = force_custom_plan")
        .execute(&mut *tx)
        .await?;
    let mut rows = sqlx::query_as!(
        StoredDelivery,
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
        // One more than asked for tells that there is a next page.
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

/// Reads one delivery of a webhook with its attempts in order.
pub(crate) async fn one(
    conn: &mut PgConnection,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<(StoredDelivery, Vec<AttemptRecord>)>, sqlx::Error> {
    let delivery = sqlx::query_as!(
        StoredDelivery,
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

//! Changes of health that others are to hear of, and notifications for the operator.
//!
//! The database writes a notice in the statement that changes the health. Out: notices one by one,
//! each removed in the transaction that queues what follows from it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, WebhookId};

use super::outcomes::word;

/// A change of a webhook's health, with the webhook as it is now.
#[derive(Debug, Clone)]
pub(crate) struct HealthNotice {
    pub(crate) webhook_id: WebhookId,
    pub(crate) event: EventType,
    pub(crate) reason: Option<String>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) changed_at: DateTime<Utc>,
    /// Absent if the site was erased meanwhile.
    pub(crate) webhook: Option<NoticedWebhook>,
}

/// The webhook of a notice.
#[derive(Debug, Clone)]
pub(crate) struct NoticedWebhook {
    pub(crate) site_id: String,
    pub(crate) name: String,
    /// Deliveries that wait for it, or waited when it was disabled.
    pub(crate) waiting: i64,
}

/// Removes the oldest notice that nobody else has taken. It is gone once the transaction is
/// committed.
pub(crate) async fn take(conn: &mut PgConnection) -> Result<Option<HealthNotice>, sqlx::Error> {
    let known: Vec<String> = EventType::WORDS.iter().map(|word| (*word).to_owned()).collect();
    let row = sqlx::query!(
        r#"with taken as (
             delete from health_notices
             where id = (
                 -- A newer version's notice is left to it.
                 select id from health_notices where event_type = any($1) order by id limit 1 for update skip locked
             )
             returning webhook_id, event_type, reason, since, changed_at, waiting
         )
         select t.webhook_id as "webhook_id!", t.event_type as "event_type!", t.reason, t.since as "since!",
             t.changed_at as "changed_at!", w.site_id as "site_id?", w.name as "name?",
             coalesce(t.waiting, h.waiting) as waiting
         from taken t left join webhooks w on w.id = t.webhook_id
         left join webhook_health h on h.webhook_id = t.webhook_id"#,
        &known
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(HealthNotice {
        webhook_id: WebhookId::from_uuid(row.webhook_id),
        event: word(&row.event_type)?,
        reason: row.reason,
        since: row.since,
        changed_at: row.changed_at,
        webhook: row.site_id.zip(row.name).map(|(site_id, name)| NoticedWebhook {
            site_id,
            name,
            waiting: row.waiting.unwrap_or(0),
        }),
    }))
}

/// A notification for the operator that is due.
#[derive(Debug, Clone)]
pub(crate) struct OperatorNotice {
    pub(crate) id: NotificationId,
    pub(crate) event_type: String,
    pub(crate) body: Vec<u8>,
    /// Attempts made.
    pub(crate) attempts: i32,
    pub(crate) inserted_at: DateTime<Utc>,
}

/// Queues a notification for the operator. One that is there already stays as it is.
pub(crate) async fn queue_for_operator(
    conn: &mut PgConnection,
    id: NotificationId,
    event_type: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into operator_notices (id, event_type, body, due_at) values ($1, $2, $3, $4)
         on conflict on constraint operator_notices_pkey do nothing",
        id.uuid(),
        event_type,
        body,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the notification for the operator that has been due longest. Nobody else takes it before
/// `until`.
pub(crate) async fn take_for_operator(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<OperatorNotice>, sqlx::Error> {
    let row = sqlx::query!(
        "update operator_notices set due_at = $2
         where id = (select id from operator_notices where due_at <= $1 order by due_at limit 1 for update skip locked)
         returning id, event_type, body, attempts, inserted_at",
        now,
        until
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| OperatorNotice {
        id: NotificationId::from_uuid(row.id),
        event_type: row.event_type,
        body: row.body,
        attempts: row.attempts,
        inserted_at: row.inserted_at,
    }))
}

/// Counts an attempt that failed; the next one is due at `due_at`.
pub(crate) async fn put_off_for_operator(
    conn: &mut PgConnection,
    id: Uuid,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update operator_notices set attempts = attempts + 1, due_at = $2 where id = $1",
        id,
        due_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a notification for the operator that was delivered or given up.
pub(crate) async fn remove_for_operator(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from operator_notices where id = $1", id)
        .execute(conn)
        .await?;
    Ok(())
}

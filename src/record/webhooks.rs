//! Webhooks: making, reading, changing and deleting them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::delivery::FailureReason;
use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::webhook::WebhookSettings;

use super::keyring::Keyring;
use super::unreadable_rows::UnreadableRows;
use super::webhook_row::{SecretRole, WebhookRow, seal_columns, secret_place, secret_row};
use super::{cancelling, health, sites};

pub(crate) use super::webhook_row::{UnreadableWebhook, WebhookRecord};

/// Reason why a webhook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("the site is not registered")]
    NoSuchSite,
    #[error("the site has as many webhooks as it may have")]
    LimitReached,
    #[error("another webhook of the site has this external id")]
    ExternalIdTaken,
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Result of changing a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Yes,
    /// The webhook is absent or deleted.
    Gone,
    /// Another webhook of the site has the external id.
    ExternalIdTaken,
}

/// A webhook to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewWebhook<'a> {
    pub id: WebhookId,
    pub site_id: &'a SiteId,
    pub settings: &'a WebhookSettings,
    pub secret: &'a Secret,
}

/// Adds a webhook to a registered site that has fewer than `max_per_site`. Needs a transaction: it
/// locks the row of the site, so that concurrent calls take turns and the limit holds.
pub async fn create(
    conn: &mut PgConnection,
    keyring: &Keyring,
    webhook: NewWebhook<'_>,
    max_per_site: u32,
    now: DateTime<Utc>,
) -> Result<(), CreateError> {
    let NewWebhook {
        id,
        site_id,
        settings,
        secret,
    } = webhook;
    if !sites::lock(conn, site_id).await? {
        return Err(CreateError::NoSuchSite);
    }
    if count(conn, site_id).await? >= i64::from(max_per_site) {
        return Err(CreateError::LimitReached);
    }
    let sealed = seal_columns(keyring, id, settings);
    sqlx::query!(
        "with made as (
             insert into webhooks (id, site_id, name, url, headers, format, events, triggers, enabled, failure_threshold,
                 rate_limit_per_second, max_concurrency, retry_schedule, max_age_seconds, external_id, paused_until, active_since,
                 inserted_at, updated_at, switched_off_at, rate_limit_is_set, paused_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17, $15, $15, $15, $18, $19,
                 case when $17::timestamptz is not null then $15::timestamptz end)
             returning id
         )
         -- Whoever counts or writes later finds a row: two that insert the first one would wait for each other. It is
         -- older than what any deliverer writes.
         insert into webhook_health (webhook_id, since, updated_at) select id, $15, 'epoch' from made",
        id.uuid(),
        site_id.as_str(),
        settings.name,
        sealed.url,
        sealed.headers,
        settings.format.as_str(),
        &event_words(settings),
        serde_json::Value::Object(settings.triggers.to_json()),
        settings.enabled,
        to_column(settings.failure_threshold),
        settings.rate_limit_per_second.map(to_column),
        to_column(settings.max_concurrency),
        settings.retry_schedule,
        settings.max_age_seconds.map(to_column),
        now,
        settings.external_id,
        settings.paused_until,
        (!settings.enabled).then_some(now),
        settings.rate_limit_is_set
    )
    .execute(&mut *conn)
    .await
    .map_err(|error| match is_external_id_taken(&error) {
        true => CreateError::ExternalIdTaken,
        false => error.into(),
    })?;
    add_secret(conn, keyring, id, secret, now).await?;
    Ok(())
}

/// Adds the first secret of a webhook.
async fn add_secret(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
    secret: &Secret,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into webhook_secrets (webhook_id, role, secret, inserted_at) values ($1, $2, $3, $4)",
        id.uuid(),
        SecretRole::Current.as_str(),
        keyring.seal(
            secret_place(&secret_row(id.uuid(), SecretRole::Current)),
            secret.reveal().as_bytes()
        ),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts the webhooks of a site.
pub(crate) async fn count(conn: &mut PgConnection, site_id: &SiteId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "webhooks!" from webhooks where site_id = $1 and deleted_at is null"#,
        site_id.as_str()
    )
    .fetch_one(conn)
    .await
}

/// Reads one webhook of a site.
pub async fn get(
    conn: &mut PgConnection,
    keyring: &Keyring,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<Option<Result<WebhookRecord, UnreadableWebhook>>, sqlx::Error> {
    let rows = select(conn, Some(&[site_id.as_str().to_owned()]), Some(id)).await?;
    Ok(rows.into_iter().next().map(|row| row.into_record(keyring)))
}

/// Lists the webhooks of a site, oldest first. One that cannot be read is logged and left out.
pub(crate) async fn list(
    conn: &mut PgConnection,
    keyring: &Keyring,
    site_id: &SiteId,
) -> Result<Vec<WebhookRecord>, sqlx::Error> {
    let rows = select(conn, Some(&[site_id.as_str().to_owned()]), None).await?;
    Ok(read_all(rows, keyring))
}

/// Tells if the site has or had this webhook: the history of a deleted one can still be read.
pub(crate) async fn existed(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from webhooks where site_id = $1 and id = $2) as "existed!""#,
        site_id.as_str(),
        id.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Locks the row of a webhook until the transaction ends; false if there is none.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select id from webhooks where site_id = $1 and id = $2 and deleted_at is null for no key update",
        site_id.as_str(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Locks the row of a webhook of any site; false if there is none.
pub(crate) async fn lock_by_id(conn: &mut PgConnection, id: WebhookId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select id from webhooks where id = $1 and deleted_at is null for no key update",
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Replaces a webhook's settings, all but `enabled`, which belongs to [`switch`]. `is_new_url`: the
/// URL is another one than before.
pub async fn update(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
    settings: &WebhookSettings,
    is_new_url: bool,
    now: DateTime<Utc>,
) -> Result<Changed, sqlx::Error> {
    let sealed = seal_columns(keyring, id, settings);
    let updated = sqlx::query!(
        "update webhooks
         set name = $2, url = $3, headers = $4, format = $5, events = $6, triggers = $7, failure_threshold = $8,
             rate_limit_per_second = $9, max_concurrency = $10, retry_schedule = $11, max_age_seconds = $12,
             updated_at = $13, external_id = $14, paused_until = $15, rate_limit_is_set = $16,
             -- A pause that goes on, and is made longer or shorter, began when it did.
             paused_at = case
                 when $15::timestamptz is not null and (paused_until is null or paused_until <= $13) then $13
                 else paused_at end,
             pause_lifted_at = case
                 when $15::timestamptz is not null then null
                 when paused_until is not null then least(paused_until, $13)
                 else pause_lifted_at end,
             url_changed_at = case when $17 then $13 else url_changed_at end
         where id = $1 and deleted_at is null",
        id.uuid(),
        settings.name,
        sealed.url,
        sealed.headers,
        settings.format.as_str(),
        &event_words(settings),
        serde_json::Value::Object(settings.triggers.to_json()),
        to_column(settings.failure_threshold),
        settings.rate_limit_per_second.map(to_column),
        to_column(settings.max_concurrency),
        settings.retry_schedule,
        settings.max_age_seconds.map(to_column),
        now,
        settings.external_id,
        settings.paused_until,
        settings.rate_limit_is_set,
        is_new_url
    )
    .execute(conn)
    .await;
    match updated {
        Err(error) if is_external_id_taken(&error) => Ok(Changed::ExternalIdTaken),
        updated => Ok(changed(updated?.rows_affected())),
    }
}

/// Switches a webhook on or off for its owner. On: events count from `now`, and its health begins
/// anew. Off: a job cancels open deliveries. Needs a transaction.
pub(crate) async fn switch(
    conn: &mut PgConnection,
    id: WebhookId,
    enabled: bool,
    now: DateTime<Utc>,
) -> Result<Changed, sqlx::Error> {
    let updated = sqlx::query!(
        "update webhooks
         set enabled = $2, disabled_at = null, disabled_reason = null, updated_at = $3,
             active_since = case when $2 then $3 else active_since end,
             switched_off_at = case when $2 then null when enabled then $3 else coalesce(switched_off_at, updated_at) end
         where id = $1 and deleted_at is null",
        id.uuid(),
        enabled,
        now
    )
    .execute(&mut *conn)
    .await?;
    if enabled && updated.rows_affected() == 1 {
        health::enable(conn, id.uuid(), now).await?;
    }
    if !enabled && updated.rows_affected() == 1 {
        cancelling::begin(conn, id, FailureReason::Disabled, now).await?;
    }
    Ok(changed(updated.rows_affected()))
}

/// Deletes a webhook. The row stays for its history, secrets are wiped at once, and a job cancels
/// open deliveries. Needs a transaction.
pub async fn delete(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: WebhookId,
    now: DateTime<Utc>,
) -> Result<Changed, sqlx::Error> {
    let deleted = sqlx::query!(
        "update webhooks set deleted_at = $3, updated_at = $3, url = null, headers = null
         where site_id = $1 and id = $2 and deleted_at is null",
        site_id.as_str(),
        id.uuid(),
        now
    )
    .execute(&mut *conn)
    .await?;
    if deleted.rows_affected() == 1 {
        sqlx::query!("delete from webhook_secrets where webhook_id = $1", id.uuid())
            .execute(&mut *conn)
            .await?;
        cancelling::begin(conn, id, FailureReason::Deleted, now).await?;
    }
    Ok(changed(deleted.rows_affected()))
}

/// Reads the rows of webhooks that are not deleted: those of some sites or of all, or one by its
/// id.
pub(super) async fn select(
    conn: &mut PgConnection,
    site_ids: Option<&[String]>,
    id: Option<WebhookId>,
) -> Result<Vec<WebhookRow>, sqlx::Error> {
    sqlx::query_as!(
        WebhookRow,
        r#"select id, site_id, name, url, headers, format, events, triggers, enabled,
             coalesce(switched_off_at, w.updated_at) as "switched_off_at!", disabled_at, disabled_reason,
             failure_threshold, rate_limit_per_second, rate_limit_is_set, max_concurrency, retry_schedule, max_age_seconds,
             active_since, external_id, paused_until, paused_at, coalesce(pause_lifted_at, w.updated_at) as "pause_lifted_at!",
             w.url_changed_at,
             (select overlap_until from webhook_secrets s where s.webhook_id = w.id and s.role = 'next') as overlap_until,
             h.state as "health_state?", h.reason as health_reason, h.since as "health_since?",
             h.next_probe_at, h.waiting as "waiting?", h.last_success_at,
             h.consecutive_failures as "consecutive_failures?", inserted_at, w.updated_at
         from webhooks w left join webhook_health h on h.webhook_id = w.id
         where deleted_at is null and ($1::text[] is null or site_id = any($1)) and ($2::uuid is null or id = $2)
         order by id"#,
        site_ids,
        id.map(WebhookId::uuid)
    )
    .fetch_all(conn)
    .await
}

/// Decrypts rows. One that cannot be read is logged and left out.
pub(super) fn read_all(rows: Vec<WebhookRow>, keyring: &Keyring) -> Vec<WebhookRecord> {
    let mut unreadable = UnreadableRows::default();
    rows.into_iter()
        .filter_map(|row| {
            row.into_record(keyring)
                .map_err(|webhook| unreadable.note_webhook(&webhook))
                .ok()
        })
        .collect()
}

/// True if a statement failed because another webhook of the site has the external id.
fn is_external_id_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some("webhooks_external_id"))
}

fn changed(rows: u64) -> Changed {
    if rows == 1 { Changed::Yes } else { Changed::Gone }
}

fn event_words(settings: &WebhookSettings) -> Vec<String> {
    settings
        .events
        .iter()
        .map(|event| event.as_str().to_owned())
        .collect()
}

/// Every limit of a setting is far below 2³¹.
fn to_column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

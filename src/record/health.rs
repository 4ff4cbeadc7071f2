//! Health of webhooks, as the deliverer that owns them writes it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::health::{HealthReason, HealthState};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::webhook::DisableReason;

use super::outcomes::word;

/// Health of one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthRow {
    pub(crate) webhook_id: WebhookId,
    pub(crate) state: HealthState,
    pub(crate) reason: Option<HealthReason>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) consecutive_failures: i32,
    pub(crate) unanswered: i32,
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    pub(crate) next_probe_at: Option<DateTime<Utc>>,
    pub(crate) probes_failed: i32,
    /// The webhook's own when this was found.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Reads the health of all webhooks that is not as it is for a new or a well one.
pub(crate) async fn notable(connection: &mut PgConnection) -> sqlx::Result<Vec<HealthRow>> {
    let rows = sqlx::query!(
        "select webhook_id, state, reason, since, consecutive_failures, unanswered, last_success_at, next_probe_at,
             probes_failed, url_changed_at, updated_at
         from webhook_health
         where state in ('careful', 'open', 'disabled') or consecutive_failures > 0 or unanswered > 0"
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(HealthRow {
                webhook_id: WebhookId::from_uuid(row.webhook_id),
                state: word(&row.state)?,
                reason: row.reason.as_deref().map(word).transpose()?,
                since: row.since,
                consecutive_failures: row.consecutive_failures,
                unanswered: row.unanswered,
                last_success_at: row.last_success_at,
                next_probe_at: row.next_probe_at,
                probes_failed: row.probes_failed,
                url_changed_at: row.url_changed_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

/// Writes the health of webhooks, each unless a later one is stored. No webhook may occur twice.
/// Returns the webhooks for which this is done.
///
/// The others' rows are locked: they are left for another time. Whoever parks and unparks in one
/// statement locks such rows twice, in no common order, so that waiting here could be a deadlock.
pub(crate) async fn write(connection: &mut PgConnection, rows: &[HealthRow]) -> sqlx::Result<Vec<WebhookId>> {
    macro_rules! column {
        ($of:expr) => {
            rows.iter().map($of).collect::<Vec<_>>()
        };
    }
    let done = sqlx::query_scalar!(
        r#"with free as (
             select webhook_id from webhook_health where webhook_id = any($1)
             order by webhook_id for no key update skip locked
         ), ready as (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::int[],
                 $7::timestamptz[], $8::timestamptz[], $9::int[], $10::timestamptz[], $11::timestamptz[]) as n (webhook_id)
             where webhook_id = any(array(select webhook_id from free))
                or not exists (select from webhook_health h where h.webhook_id = n.webhook_id)
         ), written as (
         insert into webhook_health as h (webhook_id, state, reason, since, consecutive_failures, unanswered,
             last_success_at, next_probe_at, probes_failed, url_changed_at, updated_at)
         select * from ready order by webhook_id
         on conflict (webhook_id) do update set
             -- A process that has just begun does not know what was delivered before.
             state = case when excluded.state = 'new' and h.last_success_at is not null then 'ok' else excluded.state end,
             reason = excluded.reason,
             since = case when h.state in ('new', 'ok') and excluded.state = 'new' then h.since else excluded.since end,
             consecutive_failures = excluded.consecutive_failures, unanswered = excluded.unanswered,
             last_success_at = greatest(h.last_success_at, excluded.last_success_at),
             next_probe_at = excluded.next_probe_at, probes_failed = excluded.probes_failed,
             url_changed_at = excluded.url_changed_at,
             updated_at = excluded.updated_at
         where h.updated_at <= excluded.updated_at
         )
         select webhook_id as "webhook_id!" from ready"#,
        &column!(|one| one.webhook_id.uuid()),
        &column!(|one| one.state.to_string()),
        &column!(|one| one.reason.map(|reason| reason.to_string())) as &[Option<String>],
        &column!(|one| one.since),
        &column!(|one| one.consecutive_failures),
        &column!(|one| one.unanswered),
        &column!(|one| one.last_success_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.next_probe_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.probes_failed),
        &column!(|one| one.url_changed_at) as &[Option<DateTime<Utc>>],
        &column!(|one| one.updated_at),
    )
    .fetch_all(connection)
    .await?;
    Ok(done.into_iter().map(WebhookId::from_uuid).collect())
}

/// Disables a webhook whose endpoint answered an attempt of `delivery` with 410 Gone, as it is
/// recorded. False if it was disabled or deleted before, or if its owner has switched it or changed
/// its URL since.
pub async fn disable_gone(
    connection: &mut PgConnection,
    webhook: WebhookId,
    delivery: DeliveryId,
) -> sqlx::Result<bool> {
    // What the URL was at the time is not recorded, only when it was.
    let found = sqlx::query!(
        r#"select url_changed_at, (select max(ended_at) from delivery_attempts where delivery_id = $2) as ended_at
         from webhooks where id = $1"#,
        webhook.uuid(),
        delivery.uuid()
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some((Some(at), url_changed_at)) = found.map(|one| (one.ended_at, one.url_changed_at)) else {
        return Ok(false);
    };
    if url_changed_at.is_some_and(|changed_at| changed_at > at) {
        return Ok(false);
    }
    disable(connection, webhook, DisableReason::Gone, at, url_changed_at).await
}

/// Tells if a webhook's URL is another one than the one that was set at `url_changed_at`.
pub(crate) async fn has_other_url(
    connection: &mut PgConnection,
    webhook: WebhookId,
    url_changed_at: Option<DateTime<Utc>>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select from webhooks
             where id = $1 and deleted_at is null and url_changed_at is distinct from $2
         ) as "has_other!""#,
        webhook.uuid(),
        url_changed_at,
    )
    .fetch_one(connection)
    .await
}

/// Disables a webhook for what its endpoint did at `at`, at the URL that was set at
/// `url_changed_at`. False if it was disabled or deleted before, or if its owner has switched it or
/// changed its URL since.
pub(crate) async fn disable(
    connection: &mut PgConnection,
    webhook: WebhookId,
    reason: DisableReason,
    at: DateTime<Utc>,
    url_changed_at: Option<DateTime<Utc>>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update webhooks set disabled_at = now(), disabled_reason = $2, updated_at = now()
         where id = $1 and deleted_at is null and enabled and disabled_at is null and active_since <= $3
           and url_changed_at is not distinct from $4",
        webhook.uuid(),
        reason.as_str(),
        at,
        url_changed_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Webhooks that one call of [`disable_open_too_long`] disables at most.
pub(crate) const OPEN_TOO_LONG_BATCH: usize = 500;

/// Disables the next webhooks after `after` whose circuit opened before `before`, and whose URL has
/// not changed since then: also those for which nothing waits, so that no probe fails. Returns those
/// that were not disabled yet, in their order: more may follow a full batch. One that somebody holds
/// is left for a later round.
pub(crate) async fn disable_open_too_long(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    after: Option<WebhookId>,
) -> sqlx::Result<Vec<WebhookId>> {
    let disabled = sqlx::query_scalar!(
        "with due as (
             select w.id from webhook_health h join webhooks w on w.id = h.webhook_id
             where h.state = 'open' and h.since <= $1 and h.webhook_id > $2
               and coalesce(w.url_changed_at <= $1, true)
               and w.deleted_at is null and w.enabled and w.disabled_at is null
             order by h.webhook_id limit $3 for no key update of h, w skip locked
         ), disabled as (
             update webhooks set disabled_at = now(), disabled_reason = 'open_too_long', updated_at = now()
             from due where webhooks.id = due.id
             returning webhooks.id
         ), changed as (
             update webhook_health set state = 'disabled', reason = 'open_too_long', since = now(),
                 next_probe_at = null
             from disabled where webhook_id = disabled.id
         )
         select id from disabled order by id",
        before,
        after.map_or(Uuid::nil(), |after| after.uuid()),
        OPEN_TOO_LONG_BATCH as i64,
    )
    .fetch_all(connection)
    .await?;
    Ok(disabled.into_iter().map(WebhookId::from_uuid).collect())
}

/// Ends the state `disabled` of a webhook that its owner switched on again.
pub(super) async fn enable(
    connection: &mut PgConnection,
    webhook: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update webhook_health
         set state = case when last_success_at is null then 'new' else 'ok' end, reason = null, since = $2,
             consecutive_failures = 0, unanswered = 0, next_probe_at = null, probes_failed = 0, updated_at = $2
         where webhook_id = $1 and state = 'disabled'",
        webhook,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

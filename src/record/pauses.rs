//! Rows of `parked` whose webhooks are paused.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::id::WebhookId;

/// Rows marked in one statement.
const BATCH: i64 = 500;

/// Marks a batch of what waits for a webhook as paused until `until`, from now on. Returns true if
/// more rows may be left. What a person asked for does not grow too old, and stays as it is; so
/// does what is due far away.
pub(crate) async fn mark_paused(
    connection: &mut PgConnection,
    webhook: WebhookId,
    until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let marked = sqlx::query_scalar!(
        r#"with batch as (
             select delivery_id from parked
             where webhook_id = $1 and reason in ('queue', 'rate', 'circuit')
               and (claimed_until is null or claimed_until <= now())
               and not exists (select from deliveries d where d.id = parked.delivery_id and d.status = 'failed')
             order by due_at, delivery_id limit $3 for update skip locked
         ), shown as (
             update deliveries set parked_reason = 'paused', parked_until = greatest(parked_until, $2), updated_at = now()
             from (select delivery_id from batch order by delivery_id) b
             where deliveries.id = b.delivery_id and status in ('pending', 'retrying')
         ), marked as (
             update parked set reason = 'paused', parked_at = now()
             from batch where parked.delivery_id = batch.delivery_id returning 1
         )
         select count(*) as "marked!" from marked"#,
        webhook.uuid(),
        until,
        BATCH,
    )
    .fetch_one(connection)
    .await?;
    Ok(marked >= BATCH)
}

//! Rows of `parked` whose webhooks are paused.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::WebhookId;

/// Rows read in one statement.
const PAGE: i64 = 500;

/// Place in the rows of a webhook: they are read in the order of their due times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowPlace {
    due_at: DateTime<Utc>,
    delivery_id: Uuid,
}

/// Lists the webhooks of these partitions some of whose rows are marked as paused. Reads every row
/// of the partitions: once for each assignment.
pub(crate) async fn marked_webhooks(
    connection: &mut PgConnection,
    partitions: &[i32],
) -> sqlx::Result<Vec<WebhookId>> {
    let marked = sqlx::query_scalar!(
        "select distinct webhook_id from parked where partition = any($1) and reason = 'paused'",
        partitions
    )
    .fetch_all(connection)
    .await?;
    Ok(marked.into_iter().map(WebhookId::from_uuid).collect())
}

/// Statement that reads the page of a webhook's rows (`$1`) after a place, and changes some of
/// them: `$locked` reads and locks those, with `waits_for` and `waits_until` as their deliveries
/// are to show it, and `$change` updates them. Both may use an instant, `$2`.
///
/// Each row is read once, so that a pause costs what its rows are.
macro_rules! change_page {
    ($locked:tt, $change:tt, $webhook:expr, $instant:expr, $after:expr $(,)?) => {
        sqlx::query!(
            // The lists of ids make Postgres look each row up, however many others there are.
            "with page as (
                 select delivery_id, due_at from parked
                 where webhook_id = $1 and (due_at, delivery_id) > (
                     coalesce($4, '-infinity'::timestamptz), coalesce($5, '00000000-0000-0000-0000-000000000000'::uuid)
                 )
                 order by due_at, delivery_id limit $3
             ), locked as (" + $locked + "
                   and delivery_id = any(array(select delivery_id from page))
                   and (claimed_until is null or claimed_until <= now()) and not has_ended
                 order by delivery_id for no key update of parked skip locked
             ), free as (
                 -- Whoever holds a delivery may be about to wait for its row: it goes on showing what it did.
                 select id from deliveries
                 where id = any(array(select delivery_id from locked))
                   -- Of other days' partitions nothing is read.
                   and id between (select delivery_id from locked order by 1 limit 1)
                       and (select delivery_id from locked order by 1 desc limit 1)
                 order by id for no key update skip locked
             ), shown as (
                 update deliveries set parked_reason = waits_for, parked_until = waits_until, updated_at = now()
                 from locked join free on free.id = locked.delivery_id
                 where deliveries.id = locked.delivery_id and status in ('pending', 'retrying')
                   and deliveries.id = any(array(select id from free))
                   and deliveries.id between (select id from free order by 1 limit 1)
                       and (select id from free order by 1 desc limit 1)
                   and (parked_reason, parked_until) is distinct from (waits_for, waits_until)
             ), changed as (" + $change + r#")
             select count(*) as "read!", (array_agg(due_at order by due_at desc, delivery_id desc))[1] as due_at,
                 (array_agg(delivery_id order by due_at desc, delivery_id desc))[1] as delivery_id
             from page"#,
            $webhook.uuid(),
            $instant,
            PAGE,
            $after.map(|place| place.due_at),
            $after.map(|place| place.delivery_id),
        )
    };
}

/// Reads the page of a webhook's rows after `after`, and marks what waits there as paused until
/// `until`, from now on. Returns where the next page begins; `None`: this was the last one.
///
/// What a person asked for does not grow too old, and stays as it is; so does what is due after the
/// pause. What is due in it counts as paused from then on. What somebody works on is left to him.
pub(crate) async fn mark_paused(
    connection: &mut PgConnection,
    webhook: WebhookId,
    until: DateTime<Utc>,
    after: Option<RowPlace>,
) -> sqlx::Result<Option<RowPlace>> {
    // The pause may have been made longer or shorter, so what is marked is shown again.
    let page = change_page!(
        "select delivery_id, due_at, reason, 'paused' as waits_for, greatest(due_at, $2) as waits_until from parked
         where (reason in ('queue', 'rate', 'circuit', 'paused') or reason = 'far_due' and due_at < $2)",
        "update parked set reason = 'paused', parked_at = greatest(now(), due_at)
         where delivery_id = any(array(select delivery_id from locked where reason <> 'paused'))",
        webhook,
        until,
        after
    )
    .fetch_one(connection)
    .await?;
    Ok(next_page(page.read, page.due_at, page.delivery_id))
}

/// Reads the page of a webhook's rows after `after`, and ends the pause of what is marked there: it
/// waits for its circuit, its time or room again, and no more time counts as paused than until
/// `ended`. Returns where the next page begins; `None`: this was the last one.
pub(crate) async fn end_pause(
    connection: &mut PgConnection,
    webhook: WebhookId,
    ended: DateTime<Utc>,
    after: Option<RowPlace>,
) -> sqlx::Result<Option<RowPlace>> {
    let page = change_page!(
        "select delivery_id, due_at, greatest(due_at, now()) as waits_until, case
             when due_at > now() then 'far_due'
             when exists (select from webhook_health where webhook_id = $1 and state = 'open') then 'circuit'
             else 'queue' end as waits_for
         from parked where reason = 'paused'",
        "update parked set reason = waits_for, parked_at = now(),
             paused_ms = paused_ms + greatest(0, extract(epoch from $2 - parked_at) * 1000)::bigint
         from locked
         where parked.delivery_id = locked.delivery_id
           and parked.delivery_id = any(array(select delivery_id from locked))",
        webhook,
        ended,
        after
    )
    .fetch_one(connection)
    .await?;
    Ok(next_page(page.read, page.due_at, page.delivery_id))
}

/// The place of the last row of a page, if another page follows.
fn next_page(read: i64, due_at: Option<DateTime<Utc>>, delivery_id: Option<Uuid>) -> Option<RowPlace> {
    let (due_at, delivery_id) = due_at.zip(delivery_id)?;
    (read >= PAGE).then_some(RowPlace { due_at, delivery_id })
}

#[cfg(test)]
mod tests;

//! Erasing of what a deleted site leaves behind.
//!
//! Configuration goes with the row of the site, in the transaction of the call. The history goes
//! here, in batches, each short enough to hold up nobody. All of it may be repeated, since records
//! in Kafka and requests under way may bring more for a while.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::site::escape_segment;

/// Deliveries that one statement removes.
const BATCH: i64 = 1_000;
/// Rows of a site that one statement removes.
const SITE_BATCH: i64 = 5_000;

/// Removes a batch of the history of these webhooks, with what waits for them; false once nothing
/// is left.
pub(crate) async fn erase_history(conn: &mut PgConnection, webhooks: &[Uuid]) -> Result<bool, sqlx::Error> {
    let erased = sqlx::query_scalar!(
        r#"with batch as (
             select d.id from unnest($1::uuid[]) as w (id) cross join lateral (
                 select id from deliveries where webhook_id = any(array[w.id]) order by webhook_id, id desc limit $2
             ) d limit $2
         ), bounds as (
             -- With them Postgres skips the partitions of other days.
             select (select id from batch order by id limit 1) as low,
                    (select id from batch order by id desc limit 1) as high
         ), attempts as (
             delete from delivery_attempts where delivery_id = any(array(select id from batch))
                 and delivery_id >= (select low from bounds) and delivery_id <= (select high from bounds)
         ), gone as (
             delete from deliveries where id = any(array(select id from batch))
                 and id >= (select low from bounds) and id <= (select high from bounds)
             returning id
         )
         select count(*) as "erased!" from gone"#,
        webhooks,
        BATCH
    )
    .fetch_one(&mut *conn)
    .await?;
    let waited = sqlx::query!(
        "delete from parked where delivery_id = any(array(
             select delivery_id from parked where webhook_id = any($1) order by delivery_id limit $2
         ))",
        webhooks,
        BATCH
    )
    .execute(conn)
    .await?;
    Ok(erased > 0 || waited.rows_affected() > 0)
}

/// Removes the health of these webhooks, and the news of it.
pub(crate) async fn erase_health(conn: &mut PgConnection, webhooks: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from health_notices where webhook_id = any($1)", webhooks)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from webhook_health where webhook_id = any($1)", webhooks)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes a batch of the site's visitors and alerts; false once nothing is left. A site of the
/// same id that was registered after `before` keeps its own.
pub(crate) async fn erase_past(
    conn: &mut PgConnection,
    site_id: &str,
    before: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let activity = sqlx::query!(
        "delete from site_activity where site_id = $1 and hour = any(array(
             select hour from site_activity
             where site_id = $1 and (updated_at <= $2 or not exists (select from sites where site_id = $1))
             limit $3
         ))",
        site_id,
        before,
        SITE_BATCH
    )
    .execute(&mut *conn)
    .await?;
    let episodes = sqlx::query!(
        "delete from episodes where id = any(array(
             select id from episodes
             where site_id = $1 and (updated_at <= $2 or not exists (select from sites where site_id = $1))
             limit $3
         ))",
        site_id,
        before,
        SITE_BATCH
    )
    .execute(conn)
    .await?;
    Ok(activity.rows_affected() + episodes.rows_affected() > 0)
}

/// Removes what is left of an erased site whose id may be registered next, so that little is left
/// for [`finish_before_new_site`], which others wait for. To be called outside of a
/// transaction, so that each statement commits by itself.
pub(crate) async fn make_way_for_new_site(conn: &mut PgConnection, site_id: &str) -> Result<(), sqlx::Error> {
    let erased_at = sqlx::query_scalar!(
        "select max(inserted_at) from jobs
         where site_id = $1 and kind = 'erase' and status = 'running'
           and not exists (select from sites where site_id = $1)",
        site_id
    )
    .fetch_one(&mut *conn)
    .await?;
    let Some(erased_at) = erased_at else { return Ok(()) };
    while erase_past(conn, site_id, erased_at).await? {}
    erase_site_rows(conn, site_id, erased_at).await
}

/// Removes what is left of an erased site whose id is being registered again, so that the new site
/// has no past. The site's rows in the audit log stay.
pub(super) async fn finish_before_new_site(
    conn: &mut PgConnection,
    site_id: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let erased_at = sqlx::query_scalar!(
        "select max(inserted_at) from jobs where site_id = $1 and kind = 'erase' and status = 'running'",
        site_id
    )
    .fetch_one(&mut *conn)
    .await?;
    let Some(erased_at) = erased_at else { return Ok(()) };
    while erase_past(conn, site_id, now).await? {}
    erase_site_rows(conn, site_id, erased_at).await
}

/// Removes the other rows about a site that were written before it was deleted: its present, jobs,
/// notifications that wait for the operator, and answers kept for idempotency keys, whose paths
/// name the site as the API writes them.
pub(crate) async fn erase_site_rows(
    conn: &mut PgConnection,
    site_id: &str,
    before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from site_now
         where site_id = $1 and (updated_at <= $2 or not exists (select from sites where site_id = $1))",
        site_id,
        before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "delete from operator_notices
         where inserted_at <= $2 and convert_from(body, 'UTF8')::jsonb ->> 'site_id' = $1",
        site_id,
        before
    )
    .execute(&mut *conn)
    .await?;
    let escaped = escape_segment(site_id);
    // Calls of the API, and forms of the pages. `0` is the byte after `/`.
    sqlx::query!(
        r#"delete from idempotency_keys
           where (path collate "C" >= $1 and path collate "C" < $2
                  or path collate "C" >= $3 and path collate "C" < $4)
             and claimed_at <= $5"#,
        format!("/api/sites/{escaped}/"),
        format!("/api/sites/{escaped}0"),
        format!("/sites/{escaped}/"),
        format!("/sites/{escaped}0"),
        before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "delete from jobs where site_id = $1 and kind <> 'erase' and inserted_at <= $2",
        site_id,
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

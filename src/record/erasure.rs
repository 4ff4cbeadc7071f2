//! Erasing of what a deleted site leaves behind.
//!
//! Configuration goes with the row of the site, in the transaction of the call. The history goes
//! here, in batches, each short enough to hold up nobody.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::site::escape_segment;

/// Deliveries that one statement removes.
const BATCH: i64 = 1_000;

/// Removes a batch of the history of these webhooks; false once nothing is left.
pub(crate) async fn erase_history(conn: &mut PgConnection, webhooks: &[Uuid]) -> Result<bool, sqlx::Error> {
    let erased = sqlx::query_scalar!(
        r#"with batch as (
             select d.id from unnest($1::uuid[]) as w (id) cross join lateral (
                 select id from deliveries where webhook_id = w.id order by id desc limit $2
             ) d limit $2
         ), attempts as (
             delete from delivery_attempts a using batch where a.delivery_id = batch.id
         ), gone as (
             delete from deliveries d using batch where d.id = batch.id returning d.id
         )
         select count(*) as "erased!" from gone"#,
        webhooks,
        BATCH
    )
    .fetch_one(conn)
    .await?;
    Ok(erased > 0)
}

/// Removes the other rows about a site that were written before it was deleted: jobs, and answers
/// kept for idempotency keys, whose paths name the site as the API writes them.
pub(crate) async fn erase_site_rows(
    conn: &mut PgConnection,
    site_id: &str,
    before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let path = format!("/api/sites/{}/", escape_segment(site_id));
    sqlx::query!(
        "delete from idempotency_keys where starts_with(path, $1) and claimed_at <= $2",
        path,
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

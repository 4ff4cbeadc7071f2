//! Limit on tests of a webhook, counted in Postgres: all processes together keep it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::domain::id::WebhookId;

/// Tests of a webhook within [`SPAN`].
pub(crate) const MAX_TESTS: i32 = 10;
const SPAN: TimeDelta = TimeDelta::minutes(1);

/// Counts a test of a webhook. `Err` has the time at which the next one is allowed.
pub(crate) async fn count(
    conn: &mut PgConnection,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<Result<(), DateTime<Utc>>, sqlx::Error> {
    let counted = sqlx::query!(
        "insert into webhook_tests as t (webhook_id, sent_at) values ($1, array[$2::timestamptz])
         on conflict on constraint webhook_tests_pkey do update
         set sent_at = array(select s.sent from unnest(t.sent_at) as s (sent) where s.sent > $3 order by s.sent) || $2::timestamptz
         where (select count(*) from unnest(t.sent_at) as s (sent) where s.sent > $3) < $4",
        webhook.uuid(),
        now,
        now - SPAN,
        i64::from(MAX_TESTS)
    )
    .execute(&mut *conn)
    .await?;
    if counted.rows_affected() == 1 {
        return Ok(Ok(()));
    }
    let oldest = sqlx::query_scalar!(
        "select (select min(s.sent) from unnest(sent_at) as s (sent) where s.sent > $2) from webhook_tests where webhook_id = $1",
        webhook.uuid(),
        now - SPAN
    )
    .fetch_optional(conn)
    .await?;
    Ok(Err(oldest.flatten().unwrap_or(now) + SPAN))
}

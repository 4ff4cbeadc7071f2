//! The audit log: changes with their author. It has the names of fields and never their values.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A change to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditEntry<'a> {
    /// The token that asked for it; `None` for the command line.
    pub(crate) token_id: Option<Uuid>,
    pub(crate) subject: &'a str,
    /// `noun.verb`, such as `webhook.create`.
    pub(crate) action: &'a str,
    pub(crate) site_id: Option<&'a str>,
    /// The id of what was changed, as the API shows it.
    pub(crate) object: Option<&'a str>,
    /// The fields that were given.
    pub(crate) fields: &'a [String],
}

/// Writes an entry, in the transaction of the change: neither exists without the other.
pub(crate) async fn write(
    conn: &mut PgConnection,
    entry: AuditEntry<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_log (at, token_id, subject, action, site_id, object, detail)
         values ($1, $2, $3, $4, $5, $6, $7)",
        now,
        entry.token_id,
        entry.subject,
        entry.action,
        entry.site_id,
        entry.object,
        serde_json::json!({"fields": entry.fields})
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Most rows that one call of [`purge`] looks at.
const PURGE_BATCH: i64 = 5_000;

/// Deletes some of the entries from before `before`, the oldest first; returns how many. Call it
/// every few minutes, until none is left.
pub async fn purge(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    // Ids grow with time, so the oldest are found without an index of times.
    let purged = sqlx::query!(
        "delete from audit_log where id = any(array(
             select id from (select id, at from audit_log order by id limit $2) oldest where at < $1
         ))",
        before,
        PURGE_BATCH
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

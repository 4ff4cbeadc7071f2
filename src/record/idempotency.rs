//! Keys by which a request that is sent twice is done once, and what became of it.
//!
//! A claim is committed before the work begins, so whoever comes meanwhile sees it. The result is
//! written in the work's own transaction: there is no result without the work and no work without
//! the result, wherever a process dies. Results hold nothing secret; what was asked for is kept as
//! a sealed hash, since a request may hold a secret worth guessing.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::keyring::{Keyring, Place};

/// Time for which results are kept.
pub const KEEP: TimeDelta = TimeDelta::hours(24);
/// A claim without a result that is older belongs to a process that died. Longer than any request
/// may take.
pub const IN_FLIGHT: TimeDelta = TimeDelta::minutes(1);

/// A key, in the scope of one token's requests to one path.
#[derive(Debug, Clone)]
pub struct ScopedKey {
    pub token_id: Uuid,
    pub path: String,
    pub key: String,
}

/// A key that is ours to use.
#[derive(Debug)]
pub struct KeyClaim {
    key: ScopedKey,
    holder: Uuid,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    pub status: u16,
    pub location: Option<String>,
    /// JSON.
    pub body: String,
}

/// Result of an attempt to claim a key.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody has used it, or nobody has come to an end with it.
    Ours(KeyClaim),
    /// The same request is being worked on.
    InFlight,
    /// It was used for another request.
    OtherRequest,
    /// The same request was answered.
    Answered(Retained),
}

impl ScopedKey {
    /// Place of the hash of a request.
    fn row(&self) -> String {
        format!("{} {} {}", self.token_id, self.path, self.key)
    }
}

/// Claims `key` for the request with this hash. `holder` is drawn for each try. Commit at once.
pub async fn claim(
    conn: &mut PgConnection,
    keyring: &Keyring,
    key: ScopedKey,
    request_hash: &[u8; 32],
    holder: Uuid,
    now: DateTime<Utc>,
) -> Result<Claimed, sqlx::Error> {
    let row = key.row();
    let claimed = sqlx::query!(
        r#"insert into idempotency_keys as known (token_id, path, key, request_hash, holder, claimed_at)
           values ($1, $2, $3, $4, $5, $6)
           on conflict on constraint idempotency_keys_pkey do update
           set request_hash = excluded.request_hash, holder = excluded.holder, claimed_at = excluded.claimed_at,
               status = null, location = null, body = null
           where known.claimed_at <= $8 or known.status is null and known.claimed_at <= $7"#,
        key.token_id,
        key.path,
        key.key,
        keyring.seal(place(&row), request_hash),
        holder,
        now,
        now - IN_FLIGHT,
        now - KEEP
    )
    .execute(&mut *conn)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(Claimed::Ours(KeyClaim { key, holder }));
    }
    let known = sqlx::query!(
        "select request_hash, status, location, body from idempotency_keys
         where token_id = $1 and path = $2 and key = $3",
        key.token_id,
        key.path,
        key.key
    )
    .fetch_optional(conn)
    .await?;
    // Given back between the two statements: whoever asks again finds it free.
    let Some(known) = known else {
        return Ok(Claimed::InFlight);
    };
    // What does not open was asked for under an encryption key that is gone since, and cannot be
    // compared.
    let same = keyring
        .open(place(&row), &known.request_hash)
        .is_ok_and(|hash| hash == request_hash);
    Ok(match (same, known.status, known.body) {
        (false, ..) => Claimed::OtherRequest,
        (true, Some(status), Some(body)) => Claimed::Answered(Retained {
            status: u16::try_from(status).unwrap_or(200),
            location: known.location,
            body,
        }),
        (true, ..) => Claimed::InFlight,
    })
}

/// Keeps the result, in the work's transaction. Says whether the claim still held: if not, somebody
/// else is at work, and nothing of ours may be committed.
pub async fn keep(conn: &mut PgConnection, claim: &KeyClaim, result: &Retained) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query!(
        "update idempotency_keys set status = $5, location = $6, body = $7
         where token_id = $1 and path = $2 and key = $3 and holder = $4 and status is null",
        claim.key.token_id,
        claim.key.path,
        claim.key.key,
        claim.holder,
        i16::try_from(result.status).unwrap_or(200),
        result.location,
        result.body
    )
    .execute(conn)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Gives a key back whose request came to nothing.
pub async fn release(conn: &mut PgConnection, claim: &KeyClaim) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from idempotency_keys
         where token_id = $1 and path = $2 and key = $3 and holder = $4 and status is null",
        claim.key.token_id,
        claim.key.path,
        claim.key.key,
        claim.holder
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what was kept long enough. Call it every few minutes.
pub async fn purge(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query!("delete from idempotency_keys where claimed_at <= $1", now - KEEP)
        .execute(conn)
        .await?;
    Ok(purged.rows_affected())
}

fn place(row: &str) -> Place<'_> {
    Place {
        table: "idempotency_keys",
        column: "request_hash",
        row,
    }
}

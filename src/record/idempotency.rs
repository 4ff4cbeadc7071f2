//! Idempotency keys: a request that is sent twice is done once.
//!
//! A claim is committed before the work begins, so a second request sees it. The result is written
//! in the transaction of the work, so neither exists without the other, wherever a process dies.
//! Results hold nothing secret. The request itself is kept as an encrypted hash: it may hold a
//! secret that is short enough to be guessed.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::keyring::{Keyring, Place};

/// Time for which results are kept.
pub const KEEP: TimeDelta = TimeDelta::hours(24);
/// Most rows that one call of [`purge`] deletes.
const PURGE_BATCH: i64 = 5_000;
/// Age from which a claim without a result belongs to a process that died. Longer than any request
/// may take.
pub const IN_FLIGHT: TimeDelta = TimeDelta::minutes(3);

/// A key of one token, for one path.
#[derive(Debug, Clone)]
pub struct ScopedKey {
    pub token_id: Uuid,
    pub path: String,
    pub key: String,
}

/// The right to do the request of a key.
#[derive(Debug, Clone)]
pub struct KeyClaim {
    key: ScopedKey,
    holder: Uuid,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub location: Option<String>,
    /// Text of JSON.
    pub body: String,
}

/// Result of an attempt to claim a key.
#[derive(Debug)]
pub enum Claimed {
    /// The key is new, expired, or left by a process that died.
    Ours(KeyClaim),
    /// The same request is in progress.
    InFlight,
    /// It was used for another request.
    OtherRequest,
    /// The same request was answered.
    Answered(StoredAnswer),
}

impl ScopedKey {
    /// The primary key as text.
    pub(super) fn row(&self) -> String {
        format!("{} {} {}", self.token_id, self.path, self.key)
    }
}

/// Claims `key` for the request with this hash. `holder` is a new random id at each try. Commit at
/// once.
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
        keyring.seal(hash_place(&row), request_hash),
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
    // It was released between the two statements; the next try finds it free.
    let Some(known) = known else {
        return Ok(Claimed::InFlight);
    };
    // A hash that does not open was encrypted with a key that is gone, and cannot be compared.
    let same = keyring
        .open(hash_place(&row), &known.request_hash)
        .is_ok_and(|hash| hash == request_hash);
    Ok(match (same, known.status, known.body) {
        (false, ..) => Claimed::OtherRequest,
        (true, Some(status), Some(body)) => Claimed::Answered(StoredAnswer {
            status: u16::try_from(status).unwrap_or(200),
            location: known.location,
            body,
        }),
        (true, ..) => Claimed::InFlight,
    })
}

/// Stores the result, in the transaction of the work. False if somebody else holds the key by now:
/// then that transaction must not be committed.
pub async fn keep(
    conn: &mut PgConnection,
    claim: &KeyClaim,
    result: &StoredAnswer,
) -> Result<bool, sqlx::Error> {
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

/// Releases the key of a request that failed.
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

/// Deletes some of the expired keys; returns how many. Call it every few minutes, until none is
/// left.
pub async fn purge(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    // A key that is claimed again meanwhile is as old no more.
    let purged = sqlx::query!(
        "delete from idempotency_keys where ctid = any(array(
             select ctid from idempotency_keys where claimed_at <= $1 order by claimed_at limit $2
         )) and claimed_at <= $1",
        now - KEEP,
        PURGE_BATCH
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

pub(super) fn hash_place(row: &str) -> Place<'_> {
    Place {
        table: "idempotency_keys",
        column: "request_hash",
        row,
    }
}

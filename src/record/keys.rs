//! Secrets of the deployment as a whole: canaries, which show at a start that the right keys are
//! configured, and the key of the visitor hash.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::keyring::{Keyring, OpenError, Place};
use super::pg_monitor::in_words;
use crate::chance;

const CANARY: &[u8] = b"bellwether";
pub(super) const HASH_KEY_PLACE: Place<'static> = Place {
    table: "deployment",
    column: "visitor_hash_key",
    row: "true",
};

/// Reason why a process must not start with its keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("lacks key `{0}`, with which values in this database are encrypted")]
    Missing(String),
    #[error("holds another key under the id `{0}` than the one this database was written with")]
    Wrong(String),
    #[error("the visitor hash key cannot be read: {0}")]
    VisitorHashKey(OpenError),
    #[error("the visitor hash key has {0} bytes instead of 16")]
    VisitorHashKeyLength(usize),
    #[error("{}", in_words(.0))]
    Postgres(#[from] sqlx::Error),
}

/// Checks that every key this database was written with is configured and unchanged, then stores a
/// canary of the writing key. Call it at start, before the first use of the keys.
///
/// A start that is refused stores nothing: with the canary of a wrong key, the right ones would be
/// refused from then on.
pub async fn check_keys(
    conn: &mut PgConnection,
    keyring: &Keyring,
    now: DateTime<Utc>,
) -> Result<(), KeyError> {
    check_canaries(conn, keyring).await?;
    if !store_canary(conn, keyring, now).await? {
        // It was there, or another process was faster, perhaps with another key under this id.
        check_canaries(conn, keyring).await?;
    }
    Ok(())
}

/// Stores a canary of the writing key if there is none; true if there was none.
///
/// A running process calls it every few seconds. So a key that `keys rotate` has let go and that
/// somebody still writes with is known again, and a start without it is refused.
pub async fn store_canary(
    conn: &mut PgConnection,
    keyring: &Keyring,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let first = keyring.writing_key_id();
    let added = sqlx::query!(
        "insert into encryption_canaries (key_id, ciphertext, inserted_at) values ($1, $2, $3)
         on conflict on constraint encryption_canaries_pkey do nothing",
        first,
        keyring.seal(canary_place(first), CANARY),
        now
    )
    .execute(&mut *conn)
    .await?;
    Ok(added.rows_affected() == 1)
}

async fn check_canaries(conn: &mut PgConnection, keyring: &Keyring) -> Result<(), KeyError> {
    let canaries = sqlx::query!("select key_id, ciphertext from encryption_canaries order by key_id")
        .fetch_all(&mut *conn)
        .await?;
    for canary in canaries {
        if !keyring.has(&canary.key_id) {
            return Err(KeyError::Missing(canary.key_id));
        }
        if keyring
            .open(canary_place(&canary.key_id), &canary.ciphertext)
            .as_deref()
            != Ok(CANARY)
        {
            return Err(KeyError::Wrong(canary.key_id));
        }
    }
    Ok(())
}

/// Reads the key of the visitor hash, which the first process makes and all share from then on.
pub async fn visitor_hash_key(
    conn: &mut PgConnection,
    keyring: &Keyring,
    now: DateTime<Utc>,
) -> Result<[u8; 16], KeyError> {
    sqlx::query!(
        "insert into deployment (visitor_hash_key, inserted_at) values ($1, $2)
         on conflict on constraint deployment_pkey do nothing",
        keyring.seal(HASH_KEY_PLACE, &chance::bytes::<16>()),
        now
    )
    .execute(&mut *conn)
    .await?;
    let sealed = sqlx::query_scalar!("select visitor_hash_key from deployment")
        .fetch_one(&mut *conn)
        .await?;
    let key = keyring
        .open(HASH_KEY_PLACE, &sealed)
        .map_err(KeyError::VisitorHashKey)?;
    let length = key.len();
    key.try_into().map_err(|_| KeyError::VisitorHashKeyLength(length))
}

fn canary_place(key_id: &str) -> Place<'_> {
    Place {
        table: "encryption_canaries",
        column: "ciphertext",
        row: key_id,
    }
}

//! Re-encryption with the writing key, while everything runs, so that older keys may leave.
//!
//! A value is replaced only if it still is what was read, so no change made meanwhile is lost; one
//! that changed is read again. Values that do not open are left as they are and named.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::idempotency::{ScopedKey, hash_place};
use super::keyring::{Keyring, OpenError, Place};
use super::keys;
use super::webhook_row::{headers_place, secret_place, url_place};

/// Rows read at once.
const BATCH: i64 = 200;

/// Columns with ciphertext, as `table.column`. A test compares them with the schema.
pub const SEALED_COLUMNS: [&str; 6] = [
    "deployment.visitor_hash_key",
    "encryption_canaries.ciphertext",
    "idempotency_keys.request_hash",
    "webhook_secrets.secret",
    "webhooks.headers",
    "webhooks.url",
];

/// The result of going once over all values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Values that now have the writing key, by `table.column`.
    pub written: BTreeMap<&'static str, u64>,
    /// Values that do not open: place, and the cause.
    pub unreadable: Vec<(String, OpenError)>,
}

/// Encrypts every value with the writing key that has another one.
pub async fn reencrypt(conn: &mut PgConnection, keyring: &Keyring) -> Result<Reencrypted, sqlx::Error> {
    let mut done = Reencrypted::default();
    visitor_hash_key(conn, keyring, &mut done).await?;
    webhooks(conn, keyring, &mut done).await?;
    secrets(conn, keyring, &mut done).await?;
    request_hashes(conn, keyring, &mut done).await?;
    Ok(done)
}

/// Forgets all keys but the writing one, so that a start no longer asks for them. Returns their
/// ids. Call it when [`reencrypt`] has nothing left to do.
pub async fn forget_other_keys(
    conn: &mut PgConnection,
    keyring: &Keyring,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "delete from encryption_canaries where key_id <> $1 returning key_id",
        keyring.writing_key_id()
    )
    .fetch_all(conn)
    .await
}

/// The ids of keys that processes write with, besides the writing one of `keyring`.
pub async fn other_writers(conn: &mut PgConnection, keyring: &Keyring) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select key_id from encryption_canaries where key_id <> $1 order by key_id",
        keyring.writing_key_id()
    )
    .fetch_all(conn)
    .await
}

async fn visitor_hash_key(
    conn: &mut PgConnection,
    keyring: &Keyring,
    done: &mut Reencrypted,
) -> Result<(), sqlx::Error> {
    let head = keyring.head();
    let sealed = sqlx::query_scalar!(
        "select visitor_hash_key from deployment where substring(visitor_hash_key for $2) <> $1",
        head,
        length(&head)
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(sealed) = sealed else { return Ok(()) };
    let Some(again) = done.seal_again(keyring, keys::HASH_KEY_PLACE, &sealed) else {
        return Ok(());
    };
    let written = sqlx::query!(
        "update deployment set visitor_hash_key = $1 where visitor_hash_key = $2",
        again,
        sealed
    )
    .execute(conn)
    .await?;
    done.count("deployment.visitor_hash_key", written.rows_affected());
    Ok(())
}

async fn webhooks(
    conn: &mut PgConnection,
    keyring: &Keyring,
    done: &mut Reencrypted,
) -> Result<(), sqlx::Error> {
    let head = keyring.head();
    let mut after = Uuid::nil();
    loop {
        let rows = sqlx::query!(
            "select id, url, headers from webhooks
             where id > $3 and deleted_at is null
               and (substring(url for $2) <> $1 or substring(headers for $2) <> $1)
             order by id limit $4",
            head,
            length(&head),
            after,
            BATCH
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.id;
        for row in rows {
            let id = row.id.to_string();
            if let Some(old) = row.url.filter(|sealed| !sealed.starts_with(&head))
                && let Some(new) = done.seal_again(keyring, url_place(&id), &old)
            {
                let written = sqlx::query!(
                    "update webhooks set url = $2 where id = $1 and url = $3",
                    row.id,
                    new,
                    old
                )
                .execute(&mut *conn)
                .await?;
                done.count("webhooks.url", written.rows_affected());
            }
            if let Some(old) = row.headers.filter(|sealed| !sealed.starts_with(&head))
                && let Some(new) = done.seal_again(keyring, headers_place(&id), &old)
            {
                let written = sqlx::query!(
                    "update webhooks set headers = $2 where id = $1 and headers = $3",
                    row.id,
                    new,
                    old
                )
                .execute(&mut *conn)
                .await?;
                done.count("webhooks.headers", written.rows_affected());
            }
        }
    }
}

async fn secrets(
    conn: &mut PgConnection,
    keyring: &Keyring,
    done: &mut Reencrypted,
) -> Result<(), sqlx::Error> {
    let head = keyring.head();
    let (mut after, mut after_role) = (Uuid::nil(), String::new());
    loop {
        let rows = sqlx::query!(
            "select webhook_id, role, secret from webhook_secrets
             where (webhook_id, role) > ($3, $4) and substring(secret for $2) <> $1
             order by webhook_id, role limit $5",
            head,
            length(&head),
            after,
            after_role,
            BATCH
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        (after, after_role) = (last.webhook_id, last.role.clone());
        for row in rows {
            let place = format!("{}/{}", row.webhook_id, row.role);
            let Some(new) = done.seal_again(keyring, secret_place(&place), &row.secret) else {
                continue;
            };
            let written = sqlx::query!(
                "update webhook_secrets set secret = $3 where webhook_id = $1 and role = $2 and secret = $4",
                row.webhook_id,
                row.role,
                new,
                row.secret
            )
            .execute(&mut *conn)
            .await?;
            done.count("webhook_secrets.secret", written.rows_affected());
        }
    }
}

async fn request_hashes(
    conn: &mut PgConnection,
    keyring: &Keyring,
    done: &mut Reencrypted,
) -> Result<(), sqlx::Error> {
    let head = keyring.head();
    let (mut after, mut after_path, mut after_key) = (Uuid::nil(), String::new(), String::new());
    loop {
        let rows = sqlx::query!(
            "select token_id, path, key, request_hash from idempotency_keys
             where (token_id, path, key) > ($3, $4, $5) and substring(request_hash for $2) <> $1
             order by token_id, path, key limit $6",
            head,
            length(&head),
            after,
            after_path,
            after_key,
            BATCH
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        (after, after_path, after_key) = (last.token_id, last.path.clone(), last.key.clone());
        for row in rows {
            let key = ScopedKey {
                token_id: row.token_id,
                path: row.path,
                key: row.key,
            };
            let Some(new) = done.seal_again(keyring, hash_place(&key.row()), &row.request_hash) else {
                continue;
            };
            let written = sqlx::query!(
                "update idempotency_keys set request_hash = $4
                 where token_id = $1 and path = $2 and key = $3 and request_hash = $5",
                key.token_id,
                key.path,
                key.key,
                new,
                row.request_hash
            )
            .execute(&mut *conn)
            .await?;
            done.count("idempotency_keys.request_hash", written.rows_affected());
        }
    }
}

/// The length of a head as Postgres takes it. A head has at most 66 bytes.
fn length(head: &[u8]) -> i32 {
    i32::try_from(head.len()).unwrap_or(i32::MAX)
}

impl Reencrypted {
    /// Total of the values that were written.
    pub fn total(&self) -> u64 {
        self.written.values().sum()
    }

    fn count(&mut self, column: &'static str, values: u64) {
        *self.written.entry(column).or_default() += values;
    }

    /// The value under the writing key; one that does not open is noted.
    fn seal_again(&mut self, keyring: &Keyring, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        match keyring.open(place, sealed) {
            Ok(plain) => Some(keyring.seal(place, &plain)),
            Err(error) => {
                let Place { table, column, row } = place;
                self.unreadable
                    .push((format!("{table}.{column} of row {row}"), error));
                None
            }
        }
    }
}

//! Secrets of webhooks, and their rotation.
//!
//! During an overlap two secrets sign. The old one has the role `current`, the new one `next`; when
//! the overlap ends, the new one takes the place of the old.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;

use super::keyring::{Keyring, OpenError};
use super::webhook_row::{SecretRole, secret_place, secret_row};

/// Overlaps that are ended in one round.
const ENDED_AT_ONCE: i64 = 200;

/// The secrets of a webhook as they are stored.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    pub(crate) current: Secret,
    pub(crate) next: Option<StoredNext>,
}

/// The new secret of an overlap, which may have ended and not been tidied yet.
#[derive(Debug, Clone)]
pub(crate) struct StoredNext {
    pub(crate) secret: Secret,
    /// Time of the rotation.
    pub(crate) from: DateTime<Utc>,
    /// End of the overlap.
    pub(crate) until: DateTime<Utc>,
}

impl Secrets {
    /// Returns the secrets that are valid at `now`: after the end of an overlap the new one alone.
    pub(crate) fn at(self, now: DateTime<Utc>) -> Self {
        match self.next {
            Some(next) if next.until <= now => Self {
                current: next.secret,
                next: None,
            },
            _ => self,
        }
    }
}

/// Reason why secrets cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("the webhook has no secret")]
    None,
    #[error(transparent)]
    Unreadable(#[from] OpenError),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Reads the secrets of a webhook. Which of them are valid, [`Secrets::at`] says.
pub(crate) async fn read(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
) -> Result<Secrets, SecretError> {
    let rows = sqlx::query!(
        "select role, secret, inserted_at, overlap_until from webhook_secrets where webhook_id = $1",
        id.uuid()
    )
    .fetch_all(conn)
    .await?;
    let (mut current, mut next) = (None, None);
    for row in rows {
        let Ok(role) = row.role.parse::<SecretRole>() else {
            continue;
        };
        let place = secret_row(id.uuid(), role);
        let secret = Secret::from_stored(keyring.open_text(secret_place(&place), &row.secret)?);
        match role {
            SecretRole::Current => current = Some(secret),
            SecretRole::Next => {
                next = Some(StoredNext {
                    secret,
                    from: row.inserted_at,
                    // A constraint of the table: a next secret has an end.
                    until: row.overlap_until.unwrap_or(row.inserted_at),
                });
            }
        }
    }
    Ok(Secrets {
        current: current.ok_or(SecretError::None)?,
        next,
    })
}

/// Gives a webhook a new secret, with an overlap until `until` or at once. Needs a transaction that
/// holds the webhook's row.
///
/// An overlap that is going on ends: the older secret goes, and without a new overlap both do.
pub(crate) async fn rotate(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
    secret: &Secret,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), SecretError> {
    let before = read(conn, keyring, id).await?;
    let Some(until) = until else {
        remove_next(conn, id.uuid()).await?;
        put(conn, keyring, id, SecretRole::Current, secret, None, now).await?;
        return Ok(());
    };
    if let Some(next) = &before.next {
        make_current(conn, keyring, id, next).await?;
    }
    put(conn, keyring, id, SecretRole::Next, secret, Some(until), now).await?;
    Ok(())
}

/// Ends the overlap of a webhook; false if there is none. Needs a transaction that holds the
/// webhook's row.
pub(crate) async fn finish(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
) -> Result<bool, SecretError> {
    let Some(next) = read(conn, keyring, id).await?.next else {
        return Ok(false);
    };
    remove_next(conn, id.uuid()).await?;
    make_current(conn, keyring, id, &next).await?;
    Ok(true)
}

/// Lists webhooks whose overlap has ended at `now`, without those that are passed over.
pub(crate) async fn ended_overlaps(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    passed_over: &BTreeSet<WebhookId>,
) -> Result<Vec<WebhookId>, sqlx::Error> {
    let passed_over: Vec<Uuid> = passed_over.iter().map(|id| id.uuid()).collect();
    let ids = sqlx::query_scalar!(
        "select webhook_id from webhook_secrets
         where role = 'next' and overlap_until <= $1 and webhook_id <> all($3)
         order by overlap_until limit $2",
        now,
        ENDED_AT_ONCE,
        &passed_over
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(WebhookId::from_uuid).collect())
}

/// Puts the new secret of an overlap in the place of the old one.
async fn make_current(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
    next: &StoredNext,
) -> Result<(), sqlx::Error> {
    let (role, secret) = (SecretRole::Current, &next.secret);
    put(conn, keyring, id, role, secret, None, next.from).await
}

async fn remove_next(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from webhook_secrets where webhook_id = $1 and role = 'next'",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn put(
    conn: &mut PgConnection,
    keyring: &Keyring,
    id: WebhookId,
    role: SecretRole,
    secret: &Secret,
    until: Option<DateTime<Utc>>,
    inserted_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let row = secret_row(id.uuid(), role);
    sqlx::query!(
        "insert into webhook_secrets (webhook_id, role, secret, inserted_at, overlap_until)
         values ($1, $2, $3, $4, $5)
         on conflict on constraint webhook_secrets_pkey do update
         set secret = excluded.secret, inserted_at = excluded.inserted_at, overlap_until = excluded.overlap_until",
        id.uuid(),
        role.as_str(),
        keyring.seal(secret_place(&row), secret.reveal().as_bytes()),
        inserted_at,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

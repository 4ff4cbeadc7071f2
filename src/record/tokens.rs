//! API tokens. A token is shown once. Its SHA-256 is stored, by which it is found, so no comparison
//! takes a time that depends on a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::chance;
use crate::domain::words::words;

/// Prefix of every token.
pub(crate) const TOKEN_PREFIX: &str = "bw_";
/// Characters of a token that are stored and shown, to tell tokens apart.
const SHOWN_CHARS: usize = 9;

/// Sites that a token may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every site, and the tokens themselves.
    Admin,
    /// At least one site; no other exists for the token.
    Sites(Vec<String>),
}

words! {
    /// Rights of a token within its scope.
    pub enum Role {
        Viewer = "viewer",
        Editor = "editor",
    }
}

/// A token as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRecord {
    pub(crate) id: Uuid,
    /// Name of its owner in the audit log.
    pub(crate) subject: String,
    pub(crate) scope: Scope,
    pub(crate) role: Role,
}

/// Makes a token and returns its text, which cannot be read again.
pub async fn create(
    conn: &mut PgConnection,
    subject: &str,
    scope: &Scope,
    role: Role,
    now: DateTime<Utc>,
) -> Result<String, sqlx::Error> {
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(chance::bytes::<32>()));
    let made_ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(made_ms, &chance::bytes()).into_uuid();
    let sites = match scope {
        Scope::Admin => &[],
        Scope::Sites(sites) => sites.as_slice(),
    };
    sqlx::query!(
        "insert into api_tokens (id, token_hash, prefix, subject, admin, sites, role, inserted_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        id,
        &hash(&token),
        &token[..SHOWN_CHARS],
        subject,
        *scope == Scope::Admin,
        sites,
        role.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(token)
}

/// Finds a token that is not revoked, and records its use.
pub(crate) async fn find(
    conn: &mut PgConnection,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, subject, admin, sites, role, last_used_at from api_tokens
         where token_hash = $1 and revoked_at is null",
        &hash(token)
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // Once a minute is enough to see that a token is in use.
    if row
        .last_used_at
        .is_none_or(|at| now - at >= chrono::TimeDelta::minutes(1))
    {
        sqlx::query!(
            "update api_tokens set last_used_at = $2 where id = $1",
            row.id,
            now
        )
        .execute(conn)
        .await?;
    }
    Ok(Some(TokenRecord {
        id: row.id,
        subject: row.subject,
        scope: if row.admin {
            Scope::Admin
        } else {
            Scope::Sites(row.sites)
        },
        // An unknown role, of a newer version, has the least rights.
        role: row.role.parse().unwrap_or(Role::Viewer),
    }))
}

/// Revokes a token, at once and for good; false if it was not valid.
pub async fn revoke(conn: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let revoked = sqlx::query!(
        "update api_tokens set revoked_at = $2 where id = $1 and revoked_at is null",
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Hashes a token, as it is stored.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

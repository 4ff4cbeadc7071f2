//! API tokens. A token is shown once. Its SHA-256 is stored, by which it is found, so no comparison
//! takes a time that depends on a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::chance;
use crate::domain::id::TokenId;
use crate::domain::words::words;

/// Longest name of an owner in the audit log, in characters.
pub(crate) const MAX_SUBJECT_CHARS: usize = 100;
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
    pub(crate) id: TokenId,
    /// Name of its owner in the audit log.
    pub(crate) subject: String,
    pub(crate) scope: Scope,
    pub(crate) role: Role,
    /// Its first characters, by which its owner can tell it from others.
    pub(crate) prefix: String,
    pub(crate) inserted_at: DateTime<Utc>,
    /// End of its validity; `None` means never.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Last use, to the minute.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

impl TokenRecord {
    /// True if the site lies in the scope.
    pub(crate) fn covers(&self, site_id: &str) -> bool {
        match &self.scope {
            Scope::Admin => true,
            Scope::Sites(sites) => sites.iter().any(|site| site == site_id),
        }
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    pub subject: &'a str,
    pub scope: &'a Scope,
    pub role: Role,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Makes a token and returns its id and its text, which cannot be read again.
pub async fn create(
    conn: &mut PgConnection,
    token: NewToken<'_>,
    now: DateTime<Utc>,
) -> Result<(TokenId, String), sqlx::Error> {
    let text = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(chance::bytes::<32>()));
    let id = TokenId::new_v7(now.timestamp_millis(), chance::bytes());
    let sites = match token.scope {
        Scope::Admin => &[],
        Scope::Sites(sites) => sites.as_slice(),
    };
    sqlx::query!(
        "insert into api_tokens (id, token_hash, prefix, subject, admin, sites, role, inserted_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id.uuid(),
        &hash(&text),
        &text[..SHOWN_CHARS],
        token.subject,
        *token.scope == Scope::Admin,
        sites,
        token.role.as_str(),
        now,
        token.expires_at
    )
    .execute(conn)
    .await?;
    Ok((id, text))
}

struct TokenRow {
    id: Uuid,
    subject: String,
    admin: bool,
    sites: Vec<String>,
    role: String,
    prefix: String,
    inserted_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<TokenRow> for TokenRecord {
    fn from(row: TokenRow) -> Self {
        Self {
            id: TokenId::from_uuid(row.id),
            subject: row.subject,
            scope: if row.admin {
                Scope::Admin
            } else {
                Scope::Sites(row.sites)
            },
            // An unknown role, of a newer version, has the least rights.
            role: row.role.parse().unwrap_or(Role::Viewer),
            prefix: row.prefix,
            inserted_at: row.inserted_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// Lists tokens that are not revoked, newest first: at most `limit`, made before `after`. Expired
/// ones are listed, too: their owners see why they are refused.
pub(crate) async fn list(
    conn: &mut PgConnection,
    after: Option<TokenId>,
    limit: i64,
) -> Result<Vec<TokenRecord>, sqlx::Error> {
    let rows = sqlx::query_as!(
        TokenRow,
        "select id, subject, admin, sites, role, prefix, inserted_at, expires_at, last_used_at
         from api_tokens where revoked_at is null and kind = 'token' and ($1::uuid is null or id < $1)
         order by id desc limit $2",
        after.map(TokenId::uuid),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TokenRecord::from).collect())
}

/// Reads one token that is not revoked.
pub(crate) async fn get(conn: &mut PgConnection, id: TokenId) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row = sqlx::query_as!(
        TokenRow,
        "select id, subject, admin, sites, role, prefix, inserted_at, expires_at, last_used_at
         from api_tokens where id = $1 and revoked_at is null and kind = 'token'",
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(TokenRecord::from))
}

/// Finds a token that is valid at `now`, and records its use.
pub(crate) async fn find(
    conn: &mut PgConnection,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row = sqlx::query_as!(
        TokenRow,
        "select id, subject, admin, sites, role, prefix, inserted_at, expires_at, last_used_at
         from api_tokens
         where token_hash = $1 and kind = 'token' and revoked_at is null and (expires_at is null or expires_at > $2)",
        &hash(token),
        now
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
    Ok(Some(row.into()))
}

/// Revokes a token, at once and for good; false if it was not valid.
pub async fn revoke(conn: &mut PgConnection, id: TokenId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let revoked = sqlx::query!(
        "update api_tokens set revoked_at = $2 where id = $1 and revoked_at is null and kind = 'token'",
        id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// The hash of a token.
pub(crate) type TokenHash = [u8; 32];

/// Hashes a token, as it is stored.
pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

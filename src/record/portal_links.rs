//! Links that open a session, once: rows of `api_tokens` beside the tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::sessions::{
    LINK_SESSION, NewRow, SESSION_PREFIX, SessionRecord, TokenKind, find, insert, new_text,
};
use super::tokens::{Role, hash};

const LINK_PREFIX: &str = "bwl_";
/// Time after a link was spent in which the browser that did may do so again.
const REOPEN_WITHIN: TimeDelta = TimeDelta::seconds(30);

/// A link to be made.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// The token that it is made with; `None` for the command line.
    pub parent: Option<Uuid>,
    pub subject: &'a str,
    pub sites: &'a [String],
    pub role: Role,
    pub expires_at: DateTime<Utc>,
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Open,
    /// Spent, expired, or revoked with its parent.
    Over,
    Unknown,
}

/// Makes a link and returns its text, which cannot be read again.
pub async fn create_link(
    conn: &mut PgConnection,
    link: NewLink<'_>,
    now: DateTime<Utc>,
) -> Result<String, sqlx::Error> {
    let row = NewRow {
        kind: TokenKind::PortalLink,
        parent: link.parent,
        subject: link.subject,
        admin: false,
        sites: link.sites,
        role: link.role,
        expires_at: link.expires_at,
    };
    let text = new_text(LINK_PREFIX);
    insert(conn, &text, row, now).await?;
    Ok(text)
}

/// Tells if a link can be spent.
pub(crate) async fn link_state(
    conn: &mut PgConnection,
    link: &str,
    now: DateTime<Utc>,
) -> Result<LinkState, sqlx::Error> {
    let open = sqlx::query_scalar!(
        r#"select link.spent_at is null and link.revoked_at is null and link.expires_at > $2
              and (parent.id is null or parent.revoked_at is null
                   and (parent.expires_at is null or parent.expires_at > $2)) as "open!"
           from api_tokens link left join api_tokens parent on parent.id = link.parent
           where link.token_hash = $1 and link.kind = 'portal_link'"#,
        &hash(link),
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(match open {
        Some(true) => LinkState::Open,
        Some(false) => LinkState::Over,
        None => LinkState::Unknown,
    })
}

/// Spends a link and opens a session with its rights: the first caller gets the session's text,
/// every other one `None`. Needs a transaction.
///
/// The text is made of the link and of `browser`, a secret of the browser that spends it, so that
/// this browser can be given it once more: see [`reopen_link`].
pub(crate) async fn spend_link(
    conn: &mut PgConnection,
    link: &str,
    browser: &str,
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    if link_state(conn, link, now).await? != LinkState::Open {
        return Ok(None);
    }
    let spent = sqlx::query!(
        "update api_tokens set spent_at = $2
         where token_hash = $1 and kind = 'portal_link' and spent_at is null
         returning id, subject, sites, role",
        &hash(link),
        now
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(spent) = spent else { return Ok(None) };
    let row = NewRow {
        kind: TokenKind::Session,
        parent: Some(spent.id),
        subject: &spent.subject,
        admin: false,
        sites: &spent.sites,
        role: spent.role.parse().unwrap_or(Role::Viewer),
        expires_at: now + LINK_SESSION,
    };
    let text = session_of_link(link, browser);
    insert(conn, &text, row, now).await?;
    Ok(Some(text))
}

/// Finds the session that this very browser has opened with the link just now, and that has not
/// ended: the second of two clicks, whose browser never read the answer to the first.
pub(crate) async fn reopen_link(
    conn: &mut PgConnection,
    link: &str,
    browser: &str,
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    let text = session_of_link(link, browser);
    let found = find(conn, &text, None, now).await?;
    let is_new = |session: SessionRecord| now - session.token.inserted_at < REOPEN_WITHIN;
    Ok(found.is_some_and(is_new).then_some(text))
}

/// The text of the session that a browser opens with a link. Who does not know both secrets cannot
/// tell it.
fn session_of_link(link: &str, browser: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"bellwether session of a link\0");
    hash.update(Sha256::digest(link));
    hash.update(Sha256::digest(browser));
    format!("{SESSION_PREFIX}{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

//! Sessions of the pages: rows of `api_tokens` beside the tokens. Each has a parent and ends with
//! it.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::site_now::{SiteNowRecord, SitePresent};
use super::sites::SiteRecord;
use super::tokens::{Role, Scope, TokenHash, TokenRecord, hash};
use crate::chance;
use crate::domain::id::TokenId;
use crate::domain::site::SiteId;
use crate::domain::words::words;

/// Life of a session after its last use, if it was opened with a token.
pub(crate) const TOKEN_SESSION: TimeDelta = TimeDelta::hours(12);
/// Life of a session that was opened with a link, however much it is used.
pub(crate) const LINK_SESSION: TimeDelta = TimeDelta::hours(4);
/// Time after its end for which a row is kept.
const KEEP: TimeDelta = TimeDelta::days(1);
/// Time for which the history of a deleted webhook is shown.
const HISTORY: TimeDelta = TimeDelta::days(30);
/// Most rows that one call of [`purge`] deletes: each is looked up as a parent of others.
const PURGE_BATCH: i64 = 5_000;
/// Least time between two notes of a use.
const TOUCH_EVERY: TimeDelta = TimeDelta::minutes(1);

pub(super) const SESSION_PREFIX: &str = "bws_";
/// More than the text of a session has.
const MAX_TEXT_BYTES: usize = 128;
/// Characters that are stored and shown.
const SHOWN_CHARS: usize = 10;

words! {
    /// Kind of a row of `api_tokens`.
    pub(crate) enum TokenKind {
        Token = "token",
        Session = "session",
        PortalLink = "portal_link",
    }
}

/// A valid session.
#[derive(Debug, Clone)]
pub(crate) struct SessionRecord {
    /// The rights of the session.
    pub(crate) token: TokenRecord,
    /// True if its end was moved just now.
    pub(crate) is_extended: bool,
    /// True if it was opened with a link: its end never moves.
    pub(crate) is_of_link: bool,
    /// The site that was asked for with it, whether or not the session may read that.
    pub(crate) site: Option<Arc<SiteOfPage>>,
}

/// A site that was read with the session of a page about it. A page hands it to its calls of the
/// API, which decides whether the session may read it: no request from outside has it.
#[derive(Debug)]
pub(crate) struct SiteOfPage {
    pub(crate) site: SiteRecord,
    pub(crate) now: Option<SiteNowRecord>,
    /// Webhooks that are there, and those that were deleted lately, newest first.
    pub(crate) webhooks: Vec<WebhookName>,
}

/// A webhook that is there, or whose history is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WebhookName {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
}

impl SiteOfPage {
    pub(crate) fn present(&self) -> SitePresent {
        SitePresent {
            last_event_at: self.site.last_event_at,
            now: self.now.clone(),
        }
    }
}

/// The caller of a request inside the process, who is known already.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) token: TokenRecord,
    /// True if the request counts against the rate of the session: one of each page.
    pub(crate) is_counted: bool,
}

/// Opens a session with the rights of a token and returns its text.
pub(crate) async fn open(
    conn: &mut PgConnection,
    token: &TokenRecord,
    now: DateTime<Utc>,
) -> Result<String, sqlx::Error> {
    let (admin, sites) = match &token.scope {
        Scope::Admin => (true, [].as_slice()),
        Scope::Sites(sites) => (false, sites.as_slice()),
    };
    let row = NewRow {
        kind: TokenKind::Session,
        parent: Some(token.id.uuid()),
        subject: &token.subject,
        admin,
        sites,
        role: token.role,
        expires_at: now + TOKEN_SESSION,
    };
    let text = new_text(SESSION_PREFIX);
    insert(conn, &text, row, now).await?;
    Ok(text)
}

/// A new text that starts with this.
pub(super) fn new_text(prefix: &str) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(chance::bytes::<32>()))
}

/// A row to be written.
pub(super) struct NewRow<'a> {
    pub(super) kind: TokenKind,
    pub(super) parent: Option<Uuid>,
    pub(super) subject: &'a str,
    pub(super) admin: bool,
    pub(super) sites: &'a [String],
    pub(super) role: Role,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    text: &str,
    row: NewRow<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let id = TokenId::new_v7(now.timestamp_millis(), chance::bytes());
    sqlx::query!(
        "insert into api_tokens
             (id, kind, parent, token_hash, prefix, subject, admin, sites, role, inserted_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        id.uuid(),
        row.kind.as_str(),
        row.parent,
        &hash(text),
        &text[..SHOWN_CHARS],
        row.subject,
        row.admin,
        row.sites,
        row.role.as_str(),
        now,
        row.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// True if the text has the form of a session's.
pub(crate) fn may_be_session(text: &str) -> bool {
    text.starts_with(SESSION_PREFIX) && text.len() <= MAX_TEXT_BYTES
}

/// Finds the session that is valid at `now`, and the site if one is asked for, in one statement.
/// Records the session's use, and moves its end.
///
/// A session ends with the token or link that it was opened with, one of a link also with the token
/// that made the link.
pub(crate) async fn find(
    conn: &mut PgConnection,
    session: &str,
    site: Option<&SiteId>,
    now: DateTime<Utc>,
) -> Result<Option<SessionRecord>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select own.id, own.subject, own.admin, own.sites, own.role, own.prefix, own.inserted_at,
               own.expires_at as "expires_at!", own.last_used_at, parent.kind = 'portal_link' as "is_of_link!",
               to_jsonb(s) as "site?: Json<SiteRecord>", to_jsonb(n) as "site_now?: Json<SiteNowRecord>",
               (select jsonb_agg(jsonb_build_object('id', w.id, 'name', w.name, 'deleted_at', w.deleted_at)
                                 order by w.deleted_at desc, w.id)
                from webhooks w
                where w.site_id = s.site_id and (w.deleted_at is null or w.deleted_at > $4))
                   as "webhooks: Json<Vec<WebhookName>>"
           from api_tokens own
           join api_tokens parent on parent.id = own.parent
           left join api_tokens maker on maker.id = parent.parent
           left join sites s on s.site_id = $3
           left join site_now n on n.site_id = s.site_id
           where own.token_hash = $1 and own.kind = 'session' and own.revoked_at is null and own.expires_at > $2
             and parent.revoked_at is null
             and (parent.kind = 'portal_link' or parent.expires_at is null or parent.expires_at > $2)
             and (maker.id is null or maker.revoked_at is null
                  and (maker.expires_at is null or maker.expires_at > $2))"#,
        &hash(session),
        now,
        site.map(SiteId::as_str),
        now - HISTORY
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let is_due = row.last_used_at.is_none_or(|at| now - at >= TOUCH_EVERY);
    let expires_at = match row.is_of_link {
        true => row.expires_at,
        false => row.expires_at.max(now + TOKEN_SESSION),
    };
    if is_due {
        note_use(conn, row.id, now, expires_at).await?;
    }
    let token = TokenRecord {
        id: TokenId::from_uuid(row.id),
        subject: row.subject,
        scope: scope_of(row.admin, row.sites),
        role: row.role.parse().unwrap_or(Role::Viewer),
        prefix: row.prefix,
        inserted_at: row.inserted_at,
        expires_at: Some(expires_at),
        last_used_at: row.last_used_at,
    };
    Ok(Some(SessionRecord {
        token,
        is_extended: is_due && !row.is_of_link,
        is_of_link: row.is_of_link,
        site: row
            .site
            .map(|site| Arc::new(site_of_page(site, row.site_now, row.webhooks))),
    }))
}

/// Reads a site for those who watch it, whose sessions are checked together by [`still_valid`].
pub(crate) async fn watched_site(
    conn: &mut PgConnection,
    site: &SiteId,
    now: DateTime<Utc>,
) -> Result<Option<SiteOfPage>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select to_jsonb(s) as "site!: Json<SiteRecord>", to_jsonb(n) as "site_now?: Json<SiteNowRecord>",
               (select jsonb_agg(jsonb_build_object('id', w.id, 'name', w.name, 'deleted_at', w.deleted_at)
                                 order by w.deleted_at desc, w.id)
                from webhooks w
                where w.site_id = s.site_id and (w.deleted_at is null or w.deleted_at > $2))
                   as "webhooks: Json<Vec<WebhookName>>"
           from sites s left join site_now n on n.site_id = s.site_id
           where s.site_id = $1"#,
        site.as_str(),
        now - HISTORY
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| site_of_page(row.site, row.site_now, row.webhooks)))
}

fn scope_of(is_admin: bool, sites: Vec<String>) -> Scope {
    match is_admin {
        true => Scope::Admin,
        false => Scope::Sites(sites),
    }
}

/// Puts together what was read of a site.
fn site_of_page(
    Json(site): Json<SiteRecord>,
    now: Option<Json<SiteNowRecord>>,
    webhooks: Option<Json<Vec<WebhookName>>>,
) -> SiteOfPage {
    SiteOfPage {
        site,
        now: now.map(|Json(now)| now),
        webhooks: webhooks.map_or_else(Vec::new, |Json(webhooks)| webhooks),
    }
}

async fn note_use(
    conn: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update api_tokens set last_used_at = $2, expires_at = $3 where id = $1",
        id,
        now,
        expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds those of several sessions that are valid at `now`, records their use, and moves their
/// ends, all by the rules of [`find`].
pub(crate) async fn still_valid(
    conn: &mut PgConnection,
    sessions: &[TokenHash],
    now: DateTime<Utc>,
) -> Result<HashSet<TokenHash>, sqlx::Error> {
    let hashes: Vec<Vec<u8>> = sessions.iter().map(|hash| hash.to_vec()).collect();
    let valid = sqlx::query_scalar!(
        r#"with valid as (
               select own.id, own.token_hash, own.last_used_at, parent.kind = 'portal_link' as is_of_link
               from api_tokens own
               join api_tokens parent on parent.id = own.parent
               left join api_tokens maker on maker.id = parent.parent
               where own.token_hash = any($1) and own.kind = 'session' and own.revoked_at is null
                 and own.expires_at > $2 and parent.revoked_at is null
                 and (parent.kind = 'portal_link' or parent.expires_at is null or parent.expires_at > $2)
                 and (maker.id is null or maker.revoked_at is null
                      and (maker.expires_at is null or maker.expires_at > $2))
           ), used as (
               update api_tokens set last_used_at = $2,
                   expires_at = case when valid.is_of_link then api_tokens.expires_at
                       else greatest(api_tokens.expires_at, $3) end
               from valid
               where api_tokens.id = valid.id and (valid.last_used_at is null or valid.last_used_at <= $4)
           )
           select token_hash as "token_hash!" from valid"#,
        &hashes,
        now,
        now + TOKEN_SESSION,
        now - TOUCH_EVERY
    )
    .fetch_all(conn)
    .await?;
    Ok(valid
        .into_iter()
        .filter_map(|hash| hash.try_into().ok())
        .collect())
}

/// Ends a session at once.
pub(crate) async fn end(conn: &mut PgConnection, id: TokenId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update api_tokens set revoked_at = $2 where id = $1 and kind = 'session' and revoked_at is null",
        id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes some of the sessions and links that ended a day ago; returns how many.
pub(crate) async fn purge(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    // Links before their sessions, by the time in their ids.
    let purged = sqlx::query!(
        "delete from api_tokens where id = any(array(
             select id from api_tokens where kind <> 'token' and expires_at <= $1 order by id limit $2
         )) and expires_at <= $1",
        now - KEEP,
        PURGE_BATCH
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

#[cfg(test)]
mod tests;

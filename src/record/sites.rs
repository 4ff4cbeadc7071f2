//! Sites: registering them, their settings, their aliases.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::id::WebhookId;
use crate::domain::site::{SiteId, SiteSettings};

use super::erasure;

/// Advisory lock of giving an id a meaning: `bell` in ASCII, and a number of its own.
const LOCK: (i32, i32) = (0x6265_6c6c, 3);

/// A site as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SiteRecord {
    pub(crate) site_id: String,
    pub(crate) name: Option<String>,
    /// IANA name.
    pub(crate) time_zone: String,
    pub(crate) aliases: Vec<String>,
    /// True if payloads may hold paths of pages.
    pub(crate) include_paths: bool,
    pub(crate) first_event_at: Option<DateTime<Utc>>,
    pub(crate) last_event_at: Option<DateTime<Utc>>,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Reason why a site cannot be registered or changed.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("this id is an alias of another site")]
    IsAlias,
    #[error("some of these aliases mean another site already")]
    AliasesTaken(Vec<String>),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Reads one site.
pub(crate) async fn get(
    conn: &mut PgConnection,
    site_id: &SiteId,
) -> Result<Option<SiteRecord>, sqlx::Error> {
    sqlx::query_as!(
        SiteRecord,
        "select site_id, name, time_zone, aliases, include_paths, first_event_at, last_event_at, inserted_at, updated_at
         from sites where site_id = $1",
        site_id.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// A site with what its answer counts.
#[derive(Debug)]
pub(crate) struct CountedSite {
    pub(crate) site: SiteRecord,
    /// Numbers of its webhooks by the word of their state, for those that some are in.
    pub(crate) webhooks: Value,
    /// Episodes that last.
    pub(crate) open_episodes: i64,
}

/// Reads those of these sites that are registered, in the order of their ids.
pub(crate) async fn counted(
    conn: &mut PgConnection,
    ids: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<CountedSite>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.site_id, s.name, s.time_zone, s.aliases, s.include_paths, s.first_event_at, s.last_event_at,
               s.inserted_at, s.updated_at, counted.webhooks as "webhooks!",
               (select count(*) from episodes e where e.site_id = s.site_id and e.ended_at is null) as "open_episodes!"
           from sites s
           cross join lateral (
               select coalesce(jsonb_object_agg(state, webhooks), '{}') as webhooks
               from (select count(*) as webhooks,
                         case when not w.enabled or w.disabled_at is not null then 'disabled'
                              when w.paused_until > $2 then 'paused'
                              when h.state in ('careful', 'open') then h.state
                              else 'ok' end as state
                     from webhooks w left join webhook_health h on h.webhook_id = w.id
                     where w.site_id = s.site_id and w.deleted_at is null
                     group by 2) states
           ) counted
           where s.site_id = any($1) order by s.site_id"#,
        ids,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| CountedSite {
            site: SiteRecord {
                site_id: row.site_id,
                name: row.name,
                time_zone: row.time_zone,
                aliases: row.aliases,
                include_paths: row.include_paths,
                first_event_at: row.first_event_at,
                last_event_at: row.last_event_at,
                inserted_at: row.inserted_at,
                updated_at: row.updated_at,
            },
            webhooks: row.webhooks,
            open_episodes: row.open_episodes,
        })
        .collect())
}

/// Lists ids of sites in their order: at most `limit`, after the id `after`, in `scope` if given,
/// with `part` in their id or name in whatever case.
pub(crate) async fn list(
    conn: &mut PgConnection,
    scope: Option<&[String]>,
    part: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select site_id from sites
         where ($1::text[] is null or site_id = any($1)) and ($2::text is null or site_id > $2)
           and ($4::text is null or position(lower($4) in lower(site_id)) > 0
                or position(lower($4) in lower(name)) > 0)
         order by site_id limit $3",
        scope,
        after,
        limit,
        part
    )
    .fetch_all(conn)
    .await
}

/// Registers a site with default settings; false if it is registered. Either way nobody deletes it
/// until the transaction ends.
pub async fn register(
    conn: &mut PgConnection,
    site_id: &SiteId,
    now: DateTime<Utc>,
) -> Result<bool, SiteError> {
    if lock(conn, site_id).await? {
        return Ok(false);
    }
    refuse_alias(conn, site_id).await?;
    // Nobody else registers it from here on; who has before may have deleted it again.
    while !insert(conn, site_id, now).await? {
        if lock(conn, site_id).await? {
            return Ok(false);
        }
    }
    erasure::finish_before_new_site(conn, site_id.as_str(), now).await?;
    Ok(true)
}

async fn insert(conn: &mut PgConnection, site_id: &SiteId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into sites (site_id, inserted_at, updated_at) values ($1, $2, $2)
         on conflict on constraint sites_pkey do nothing",
        site_id.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Registers a site, or replaces its settings; true if it is new. Needs a transaction.
pub(crate) async fn put(
    conn: &mut PgConnection,
    site_id: &SiteId,
    settings: &SiteSettings,
    now: DateTime<Utc>,
) -> Result<bool, SiteError> {
    refuse_alias(conn, site_id).await?;
    let taken = taken_aliases(conn, site_id, &settings.aliases).await?;
    if !taken.is_empty() {
        return Err(SiteError::AliasesTaken(taken));
    }
    // Postgres has `xmax` 0 in a row that this statement inserted.
    let new = sqlx::query_scalar!(
        r#"insert into sites (site_id, name, time_zone, aliases, include_paths, inserted_at, updated_at)
           values ($1, $2, $3, $4, $6, $5, $5)
           on conflict on constraint sites_pkey do update
           set name = excluded.name, time_zone = excluded.time_zone, aliases = excluded.aliases,
               include_paths = excluded.include_paths, updated_at = excluded.updated_at
           returning xmax = 0 as "new!""#,
        site_id.as_str(),
        settings.name,
        settings.time_zone,
        &settings.aliases,
        now,
        settings.include_paths
    )
    .fetch_one(&mut *conn)
    .await?;
    if new {
        erasure::finish_before_new_site(conn, site_id.as_str(), now).await?;
    }
    Ok(new)
}

/// Removes a site with its goals, webhooks and secrets. Returns the ids of its webhooks, those
/// deleted before too, or `None` if it is not registered.
pub(crate) async fn delete(
    conn: &mut PgConnection,
    site_id: &SiteId,
) -> Result<Option<Vec<WebhookId>>, sqlx::Error> {
    if !lock(conn, site_id).await? {
        return Ok(None);
    }
    let ids = sqlx::query_scalar!("select id from webhooks where site_id = $1", site_id.as_str())
        .fetch_all(&mut *conn)
        .await?;
    sqlx::query!("delete from sites where site_id = $1", site_id.as_str())
        .execute(conn)
        .await?;
    Ok(Some(ids.into_iter().map(WebhookId::from_uuid).collect()))
}

/// Finds the `aliases` that mean another site now.
pub(crate) async fn taken_aliases(
    conn: &mut PgConnection,
    site_id: &SiteId,
    aliases: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select alias as "alias!" from unnest($2::text[]) as alias
           where exists (select from sites where site_id = alias)
              or exists (select from sites where aliases @> array[alias] and site_id <> $1)"#,
        site_id.as_str(),
        aliases
    )
    .fetch_all(conn)
    .await
}

/// Locks the row of a site until the transaction ends, so that counts of its children stay true.
/// False if the site is not registered.
pub(crate) async fn lock(conn: &mut PgConnection, site_id: &SiteId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select site_id from sites where site_id = $1 for no key update",
        site_id.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Records the times of events of sites. Those of unregistered sites are left out. A first time
/// only moves back and a last time only forward, so the order of writers does not matter.
pub async fn note_events(
    conn: &mut PgConnection,
    seen: &[(SiteId, DateTime<Utc>)],
) -> Result<(), sqlx::Error> {
    let (ids, times): (Vec<String>, Vec<DateTime<Utc>>) = seen
        .iter()
        .map(|(site_id, at)| (site_id.as_str().to_owned(), *at))
        .unzip();
    // All writers lock in this order, so two of them never deadlock.
    sqlx::query!(
        "with seen as (
             select site_id, min(at) as first_at, max(at) as last_at
             from unnest($1::text[], $2::timestamptz[]) as seen (site_id, at) group by site_id
         ), due as (
             select sites.site_id, seen.first_at, seen.last_at from sites join seen using (site_id)
             order by sites.site_id for no key update of sites
         )
         update sites
         set first_event_at = least(sites.first_event_at, due.first_at),
             last_event_at = greatest(sites.last_event_at, due.last_at)
         from due where sites.site_id = due.site_id",
        &ids,
        &times
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the lock of all that give an id a meaning, until the transaction ends. Whoever also locks
/// a site takes this lock first.
pub(crate) async fn lock_meanings(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1, $2)", LOCK.0, LOCK.1)
        .execute(conn)
        .await?;
    Ok(())
}

/// Refuses an id that is an alias: an id means one site. Aliases are an array and have no unique
/// index, so this holds a lock until the transaction ends.
async fn refuse_alias(conn: &mut PgConnection, site_id: &SiteId) -> Result<(), SiteError> {
    lock_meanings(conn).await?;
    let is_alias = sqlx::query_scalar!(
        r#"select exists (select from sites where aliases @> array[$1::text] and site_id <> $1) as "is_alias!""#,
        site_id.as_str()
    )
    .fetch_one(conn)
    .await?;
    if is_alias { Err(SiteError::IsAlias) } else { Ok(()) }
}

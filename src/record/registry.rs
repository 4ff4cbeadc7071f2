//! The registry: the configuration of all sites, read as a whole at start and then as it changes.
//!
//! A look asks for the sites changed by transactions that the look before cannot have seen, and
//! reads those sites again; the migration of `config_changes` says why transactions and not times
//! count. The rest is shared with the registry before: an unchanged webhook is the same `Arc`, an
//! unchanged site keeps its version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono_tz::Tz;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::domain::goal::Goal;
use crate::domain::id::WebhookId;
use crate::domain::link_template::LinkTemplate;
use crate::domain::registry::{Registry, Site};
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::webhook::{SendLimits, Webhook};

use super::keyring::Keyring;
use super::webhook_row::{SecretRole, WebhookRecord, secret_place, secret_row};
use super::{goals, webhooks};

/// Time after which everything is read again, whatever the change feed has.
pub const FULL_READ_EVERY_MS: i64 = 15 * 60_000;
/// Age of the rows that are deleted from the change feed: every reader has read everything since.
const KEEP_CHANGES_SECONDS: f64 = 2.0 * 15.0 * 60.0;

/// Reads the registry and keeps it up to date. One for each process.
#[derive(Debug)]
pub struct RegistryReader {
    keyring: Arc<Keyring>,
    links: Option<LinkTemplate>,
    current: Arc<Registry>,
    mark: Option<Mark>,
}

/// Position of the reader in the change feed.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Every transaction below this had ended when the reader looked.
    xmin: u64,
    full_read_ms: i64,
}

impl RegistryReader {
    /// Makes a reader whose first look reads everything.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self {
            keyring,
            links: None,
            current: Arc::default(),
            mark: None,
        }
    }

    /// Gives sites their links by this template.
    pub(crate) fn with_links(self, links: Option<LinkTemplate>) -> Self {
        Self { links, ..self }
    }

    /// The registry of the last look.
    pub fn current(&self) -> Arc<Registry> {
        Arc::clone(&self.current)
    }

    /// Looks for changes and returns the new registry if there are any. After an error the next
    /// look covers the same span again.
    pub async fn look(
        &mut self,
        conn: &mut PgConnection,
        now_ms: i64,
    ) -> Result<Option<Arc<Registry>>, sqlx::Error> {
        let incremental = self
            .mark
            .filter(|mark| now_ms - mark.full_read_ms < FULL_READ_EVERY_MS);
        let Some(mark) = incremental else {
            return self.read_all(conn, now_ms).await;
        };
        let feed = read_feed(conn, mark.xmin).await?;
        if feed.xmin < mark.xmin {
            // Transaction ids only grow within a cluster: this is another one, restored or failed
            // over.
            return self.read_all(conn, now_ms).await;
        }
        let changed = if feed.sites.is_empty() {
            None
        } else {
            let rows = read_sites(conn, Some(&feed.sites)).await?;
            self.replace(rows, Some(&feed.sites))
        };
        self.mark = Some(Mark {
            xmin: feed.xmin,
            ..mark
        });
        Ok(changed)
    }

    async fn read_all(
        &mut self,
        conn: &mut PgConnection,
        now_ms: i64,
    ) -> Result<Option<Arc<Registry>>, sqlx::Error> {
        // The mark comes first: a change that is committed in between is read now and again at the
        // next look.
        let feed = read_feed(conn, u64::MAX >> 1).await?;
        let rows = read_sites(conn, None).await?;
        let first = self.mark.is_none();
        let changed = self.replace(rows, None);
        self.mark = Some(Mark {
            xmin: feed.xmin,
            full_read_ms: now_ms,
        });
        Ok(changed.or_else(|| first.then(|| self.current())))
    }

    /// Replaces the `covered` sites, or all, by those that were read.
    fn replace(&mut self, rows: Rows, covered: Option<&[String]>) -> Option<Arc<Registry>> {
        let mut fresh = rows.into_sites(&self.keyring, self.links.as_ref());
        let covered: HashSet<SiteId> = match covered {
            Some(ids) => ids.iter().filter_map(|id| id.parse().ok()).collect(),
            None => self.current.sites.keys().chain(fresh.keys()).cloned().collect(),
        };
        let mut next: Option<Registry> = None;
        for site_id in covered {
            let old = self.current.sites.get(&site_id);
            let new = fresh.remove(&site_id).map(|site| share(site, old));
            let same = match (old, &new) {
                (None, None) => true,
                (Some(old), Some(new)) => is_same(old, new),
                _ => false,
            };
            if same {
                continue;
            }
            let next = next.get_or_insert_with(|| Registry::clone(&self.current));
            for webhook in old.iter().flat_map(|site| &site.webhooks) {
                next.webhooks.remove_mut(&webhook.id);
            }
            for webhook in old.iter().flat_map(|site| &site.unreadable) {
                next.unreadable.remove_mut(webhook);
            }
            next.sites.remove_mut(&site_id);
            let version = next.note_change(site_id.clone());
            if let Some(mut site) = new {
                site.version = version;
                for webhook in &site.unreadable {
                    next.unreadable.insert_mut(*webhook);
                }
                for webhook in &site.webhooks {
                    next.webhooks.insert_mut(webhook.id, Arc::clone(webhook));
                }
                next.sites.insert_mut(site_id, Arc::new(site));
            }
        }
        let next = Arc::new(next?);
        self.current = Arc::clone(&next);
        Some(next)
    }
}

/// Deletes changes that every reader has seen. Call it every few minutes.
pub async fn purge_changes(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query!(
        "delete from config_changes where changed_at < now() - make_interval(secs => $1)",
        KEEP_CHANGES_SECONDS
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

struct Feed {
    xmin: u64,
    sites: Vec<String>,
}

/// Reads changes and `xmin` in one statement, so that both are of one snapshot.
async fn read_feed(conn: &mut PgConnection, since_xid: u64) -> Result<Feed, sqlx::Error> {
    let row = sqlx::query!(
        r#"select pg_snapshot_xmin(pg_current_snapshot())::text as "xmin!",
               array(select distinct site_id from config_changes where changed_xid >= $1::text::xid8) as "sites!""#,
        since_xid.to_string()
    )
    .fetch_one(conn)
    .await?;
    let xmin = row
        .xmin
        .parse()
        .map_err(|_| sqlx::Error::Protocol("a transaction id is not a number".into()))?;
    Ok(Feed {
        xmin,
        sites: row.sites,
    })
}

/// Rows of some sites, all of one snapshot.
struct Rows {
    sites: Vec<SiteRow>,
    goals: Vec<goals::GoalRecord>,
    webhooks: Vec<super::webhook_row::WebhookRow>,
    secrets: Vec<SecretRow>,
}

struct SiteRow {
    site_id: String,
    name: Option<String>,
    time_zone: String,
    aliases: Vec<String>,
    include_paths: bool,
}

struct SecretRow {
    webhook_id: uuid::Uuid,
    role: String,
    secret: Vec<u8>,
}

async fn read_sites(conn: &mut PgConnection, site_ids: Option<&[String]>) -> Result<Rows, sqlx::Error> {
    let mut tx = conn.begin().await?;
    tx.execute("set transaction isolation level repeatable read, read only")
        .await?;
    let sites = sqlx::query_as!(
        SiteRow,
        "select site_id, name, time_zone, aliases, include_paths from sites where $1::text[] is null or site_id = any($1)",
        site_ids
    )
    .fetch_all(&mut *tx)
    .await?;
    let goals = goals::list(&mut tx, site_ids).await?;
    let webhooks = webhooks::select(&mut tx, site_ids, None).await?;
    let secrets = sqlx::query_as!(
        SecretRow,
        "select s.webhook_id, s.role, s.secret
         from webhook_secrets s join webhooks w on w.id = s.webhook_id
         where w.deleted_at is null and ($1::text[] is null or w.site_id = any($1))",
        site_ids
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Rows {
        sites,
        goals,
        webhooks,
        secrets,
    })
}

impl Rows {
    /// Decrypts and groups by site. A row that cannot be read is logged and left out.
    fn into_sites(self, keyring: &Keyring, links: Option<&LinkTemplate>) -> HashMap<SiteId, Site> {
        let mut secrets: HashMap<(uuid::Uuid, String), Vec<u8>> = self
            .secrets
            .into_iter()
            .map(|row| ((row.webhook_id, row.role), row.secret))
            .collect();
        let mut sites = HashMap::with_capacity(self.sites.len());
        for SiteRow {
            site_id,
            name,
            time_zone,
            aliases,
            include_paths,
        } in self.sites
        {
            match site_id.parse::<SiteId>() {
                Ok(id) => {
                    let site = Site {
                        id: id.clone(),
                        name,
                        time_zone: zone_of(&site_id, &time_zone),
                        link: links.map(|template| template.link_to(&id)),
                        include_paths,
                        aliases,
                        goals: Vec::new(),
                        webhooks: Vec::new(),
                        unreadable: Vec::new(),
                        version: 0,
                    };
                    sites.insert(id, site);
                }
                Err(error) => tracing::error!(site.id = site_id, %error, "a stored site cannot be read"),
            }
        }
        for record in self.goals {
            if let Some(site) = sites.get_mut(record.site_id.as_str()) {
                site.goals.push(Arc::new(record.goal));
            }
        }
        for row in self.webhooks {
            let Some(site) = sites.get_mut(row.site_id.as_str()) else {
                continue;
            };
            let record = match row.into_record(keyring) {
                Ok(record) => record,
                Err(unreadable) => {
                    tracing::error!(webhook.id = %unreadable.id, error = %unreadable, "a stored webhook cannot be read");
                    site.unreadable.push(unreadable.id);
                    continue;
                }
            };
            let mut secret = |role: SecretRole| {
                let sealed = secrets.remove(&(record.id.uuid(), role.to_string()))?;
                Some(open_secret(keyring, record.id, role, &sealed))
            };
            let (current, next) = (secret(SecretRole::Current), secret(SecretRole::Next));
            match (current, next.transpose()) {
                (Some(Ok(current)), Ok(next)) => {
                    site.webhooks
                        .push(Arc::new(to_webhook(record, site.id.clone(), current, next)));
                }
                (None, _) => {
                    tracing::error!(webhook.id = %record.id, "a stored webhook has no secret");
                    site.unreadable.push(record.id);
                }
                (Some(Err(error)), _) | (_, Err(error)) => {
                    site.unreadable.push(record.id);
                    tracing::error!(webhook.id = %record.id, %error, "the secret of a stored webhook cannot be read");
                }
            }
        }
        sites
    }
}

/// The zone of this name; UTC if this build does not know it.
fn zone_of(site_id: &str, name: &str) -> Tz {
    name.parse().unwrap_or_else(|_| {
        tracing::warn!(
            site.id = site_id,
            name,
            "a stored time zone is unknown; UTC is used"
        );
        Tz::UTC
    })
}

fn open_secret(
    keyring: &Keyring,
    id: WebhookId,
    role: SecretRole,
    sealed: &[u8],
) -> Result<Secret, super::keyring::OpenError> {
    keyring
        .open_text(secret_place(&secret_row(id.uuid(), role)), sealed)
        .map(Secret::from_stored)
}

/// Makes the webhook as the stages need it.
pub(crate) fn to_webhook(
    record: WebhookRecord,
    site_id: SiteId,
    secret: Secret,
    next_secret: Option<Secret>,
) -> Webhook {
    let disabled = record.disabled.is_some();
    let settings = record.settings;
    Webhook {
        id: record.id,
        site_id,
        url: settings.url,
        secret,
        next_secret,
        headers: settings.headers,
        triggers: settings.triggers,
        enabled: settings.enabled,
        disabled,
        active_since_ms: record.active_since.timestamp_millis(),
        format: settings.format,
        retry_schedule: settings.retry_schedule,
        max_age_seconds: settings.max_age_seconds,
        limits: SendLimits {
            max_concurrency: settings.max_concurrency,
            rate_per_second: settings.rate_limit_per_second,
            failure_threshold: settings.failure_threshold,
            paused_until_ms: settings.paused_until.map(|at| at.timestamp_millis()),
        },
        updated_at: record.updated_at,
    }
}

/// Takes unchanged goals and webhooks from `old` in the place of their equals.
fn share(mut new: Site, old: Option<&Arc<Site>>) -> Site {
    let Some(old) = old else { return new };
    let goals: HashMap<_, &Arc<Goal>> = old.goals.iter().map(|goal| (goal.id, goal)).collect();
    let webhooks: HashMap<_, &Arc<Webhook>> =
        old.webhooks.iter().map(|webhook| (webhook.id, webhook)).collect();
    for goal in &mut new.goals {
        if let Some(same) = goals.get(&goal.id).filter(|old| **old == goal) {
            *goal = Arc::clone(same);
        }
    }
    for webhook in &mut new.webhooks {
        if let Some(same) = webhooks.get(&webhook.id).filter(|old| **old == webhook) {
            *webhook = Arc::clone(same);
        }
    }
    new
}

fn is_same(old: &Site, new: &Site) -> bool {
    fn all_same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
        old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
    }
    let named_alike = (&old.name, &old.aliases, old.time_zone) == (&new.name, &new.aliases, new.time_zone);
    named_alike
        && old.unreadable == new.unreadable
        && all_same(&old.goals, &new.goals)
        && all_same(&old.webhooks, &new.webhooks)
}

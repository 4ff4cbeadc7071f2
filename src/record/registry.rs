//! The registry: the configuration of all sites, read as a whole at start and then as it changes.
//!
//! A look asks for the sites changed by transactions that the look before cannot have seen, and
//! reads those sites again; the migration of `config_changes` says why transactions and not times
//! count. The rest is shared with the registry before: an unchanged webhook is the same `Arc`, an
//! unchanged site keeps its version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::PgConnection;

use crate::domain::goal::Goal;
use crate::domain::link_template::LinkTemplate;
use crate::domain::registry::{Registry, Site};
use crate::domain::site::SiteId;
use crate::domain::webhook::{Subscription, Webhook};

use super::keyring::Keyring;
use super::registry_rows::{Rows, SiteContents};

/// Time after which everything is read again, whatever the change feed has.
pub const FULL_READ_EVERY_MS: i64 = 15 * 60_000;
/// Age of the rows that are deleted from the change feed: every reader has read everything since.
const KEEP_CHANGES_SECONDS: f64 = 2.0 * (FULL_READ_EVERY_MS / 1_000) as f64;
/// Most changes that one call of [`purge_changes`] deletes.
const PURGE_BATCH: i64 = 5_000;

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
            let rows = Rows::read(conn, Some(&feed.sites)).await?;
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
        let rows = Rows::read(conn, None).await?;
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
            let new = fresh
                .remove(&site_id)
                .map(|contents| share(contents, old, &self.current));
            let same = match (old, &new) {
                // The site was deleted before this process knew it. An engine may hold a state of
                // it that was loaded, so the change is announced all the same.
                (None, None) => false,
                (Some(old), Some(new)) => is_same(old, &new.site) && is_sent_the_same(&self.current, new),
                _ => false,
            };
            if same {
                continue;
            }
            let next = next.get_or_insert_with(|| Registry::clone(&self.current));
            for id in old.iter().flat_map(|site| site.webhook_ids()) {
                next.webhooks.remove_mut(&id);
                next.unreadable.remove_mut(&id);
            }
            next.sites.remove_mut(&site_id);
            let version = next.note_change(site_id.clone());
            if let Some(SiteContents {
                mut site,
                webhooks,
                sealed,
            }) = new
            {
                site.version = version;
                for webhook in sealed {
                    next.unreadable.insert_mut(webhook);
                }
                for webhook in webhooks {
                    next.webhooks.insert_mut(webhook.id, webhook);
                }
                next.sites.insert_mut(site_id, Arc::new(site));
            }
        }
        let next = Arc::new(next?);
        self.current = Arc::clone(&next);
        Some(next)
    }
}

/// Deletes some of the changes that every reader has seen; returns how many. Call it every few
/// minutes, until none is left.
pub async fn purge_changes(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    // Rows are only ever added, so none moves to another place meanwhile.
    let purged = sqlx::query!(
        "delete from config_changes where ctid = any(array(
             select ctid from config_changes where changed_at < now() - make_interval(secs => $1) limit $2
         ))",
        KEEP_CHANGES_SECONDS,
        PURGE_BATCH
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

/// Takes unchanged goals and webhooks from `old` and the registry in the place of their equals.
fn share(mut new: SiteContents, old: Option<&Arc<Site>>, registry: &Registry) -> SiteContents {
    let Some(old) = old else { return new };
    let goals: HashMap<_, &Arc<Goal>> = old.goals.iter().map(|goal| (goal.id, goal)).collect();
    let subscriptions: HashMap<_, &Arc<Subscription>> =
        old.webhooks.iter().map(|webhook| (webhook.id, webhook)).collect();
    for goal in &mut new.site.goals {
        if let Some(same) = goals.get(&goal.id).filter(|old| **old == goal) {
            *goal = Arc::clone(same);
        }
    }
    for subscription in &mut new.site.webhooks {
        let same = subscriptions.get(&subscription.id);
        if let Some(same) = same.filter(|old| **old == subscription) {
            *subscription = Arc::clone(same);
        }
    }
    for webhook in &mut new.webhooks {
        let same = registry.webhooks.get(&webhook.id);
        if let Some(same) = same.filter(|old| *old == webhook) {
            *webhook = Arc::clone(same);
        }
    }
    new
}

/// True if the webhooks of a site are sent to as before, and the same ones cannot be.
fn is_sent_the_same(registry: &Registry, new: &SiteContents) -> bool {
    let is_held = |webhook: &Arc<Webhook>| {
        let held = registry.webhooks.get(&webhook.id);
        held.is_some_and(|held| Arc::ptr_eq(held, webhook))
    };
    new.webhooks.iter().all(is_held) && new.sealed.iter().all(|id| registry.unreadable.contains(id))
}

fn is_same(old: &Site, new: &Site) -> bool {
    fn all_same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
        old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
    }
    let settings = |site: &Site| {
        let named = (site.name.clone(), site.aliases.clone(), site.link.clone());
        (named, site.registered_ms, site.time_zone, site.include_paths)
    };
    settings(old) == settings(new)
        && old.unreadable == new.unreadable
        && all_same(&old.goals, &new.goals)
        && all_same(&old.webhooks, &new.webhooks)
}

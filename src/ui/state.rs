//! The state that all pages share.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio_util::task::TaskTracker;

use super::config::UiConfig;
use super::live_cache::LiveCache;
use super::turns::Turns;
use super::watchers::Watchers;
use crate::clock;
use crate::domain::site::SiteId;
use crate::record::activity;
use crate::record::keyring::Keyring;
use crate::record::pool_shares::{PoolShares, SharePermit, WithinShare};
use crate::record::sessions::{self, SessionRecord, SiteOfPage};
use crate::record::tokens::{self, TokenHash, TokenRecord};

/// A connection within a share.
type SharedConnection = WithinShare<PoolConnection<Postgres>>;

/// The state that all pages share. Cheap to clone.
#[derive(Clone)]
pub struct UiState(Arc<PagesShared>);

struct PagesShared {
    /// The API, called inside the process.
    api: Router,
    pool: PgPool,
    keyring: Arc<Keyring>,
    config: UiConfig,
    live: LiveCache,
    watchers: Watchers,
    turns: Turns,
    shares: PoolShares,
    /// Forms that are carried out, which go on when their browsers go away.
    tasks: TaskTracker,
}

impl UiState {
    /// The state of a process's pages. `api` is the router that requests from outside go through,
    /// too: what it decides holds for pages. `shares` are those of `pool`, which the API goes by.
    pub fn new(
        api: Router,
        (pool, shares): (PgPool, PoolShares),
        keyring: Arc<Keyring>,
        config: UiConfig,
    ) -> Self {
        Self(Arc::new(PagesShared {
            api,
            pool,
            shares,
            tasks: TaskTracker::new(),
            keyring,
            config,
            live: LiveCache::default(),
            watchers: Watchers::default(),
            turns: Turns::default(),
        }))
    }

    /// A connection of the caller's share, for forms that were sent twice and the end of a session.
    pub(super) async fn connection_of(&self, caller: &TokenRecord) -> sqlx::Result<SharedConnection> {
        let permit = self.0.shares.of_caller(caller.id.uuid()).take().await;
        self.connection(permit).await
    }

    /// A connection to look something up for a browser that is not known.
    pub(super) async fn connection_of_stranger(&self) -> sqlx::Result<SharedConnection> {
        self.connection(self.0.shares.for_stranger().await).await
    }

    /// Finds the session with this text, and with it the site if one is given.
    pub(super) async fn find_session(
        &self,
        text: &str,
        site: Option<&SiteId>,
    ) -> sqlx::Result<Option<SessionRecord>> {
        // Any other text costs no query.
        if !sessions::may_be_session(text) {
            return Ok(None);
        }
        let hash = tokens::hash(text);
        let permit = self.0.shares.for_look_up(&hash, false).await;
        let mut conn = self.connection(permit).await?;
        let found = sessions::find(&mut conn, text, site, clock::now()).await?;
        let id = found.as_ref().map(|session| session.token.id.uuid());
        self.0.shares.looked_up(hash, id);
        Ok(found)
    }

    /// Finds the session with this text of somebody whose page asks every few seconds: those who do
    /// are checked together, once a second.
    pub(super) async fn find_watching_session(&self, text: &str) -> sqlx::Result<Option<SessionRecord>> {
        if !sessions::may_be_session(text) {
            return Ok(None);
        }
        let (hash, now) = (tokens::hash(text), clock::monotonic());
        let check = async |all: Vec<TokenHash>| {
            let permit = self.0.shares.for_look_up(&hash, false).await;
            let mut conn = self.connection(permit).await?;
            sessions::still_valid(&mut conn, &all, clock::now()).await
        };
        if let Some(known) = self.0.watchers.find(&hash, now, check).await? {
            return Ok(Some(known));
        }
        let found = self.find_session(text, None).await?;
        if let Some(session) = &found {
            self.0.watchers.note(hash, session.clone(), now).await;
        }
        Ok(found)
    }

    /// Reads a site for somebody who watches it. The API decides if they may.
    pub(super) async fn watched_site(
        &self,
        caller: &TokenRecord,
        site: &SiteId,
    ) -> sqlx::Result<Option<SiteOfPage>> {
        let mut conn = self.connection_of(caller).await?;
        sessions::watched_site(&mut conn, site, clock::now()).await
    }

    /// The fewest and the most visitors of a site since a time. Only of one that the API has shown
    /// to the caller.
    pub(super) async fn visitors_range(
        &self,
        caller: &TokenRecord,
        site: &SiteId,
        since: DateTime<Utc>,
    ) -> sqlx::Result<Option<(u32, u32)>> {
        let mut conn = self.connection_of(caller).await?;
        activity::read_range(&mut conn, site, since).await
    }

    /// A connection within the permit. One whose turn did not come is as good as none.
    async fn connection(&self, permit: Option<SharePermit>) -> sqlx::Result<SharedConnection> {
        let permit = permit.ok_or(sqlx::Error::PoolTimedOut)?;
        Ok(permit.hold(self.0.pool.acquire().await?))
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(super) fn api(&self) -> Router {
        self.0.api.clone()
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    pub(super) fn config(&self) -> &UiConfig {
        &self.0.config
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    pub(super) fn live(&self) -> &LiveCache {
        &self.0.live
    }
}

impl fmt::Debug for UiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UiState")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

//! The state that all pages share.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use sqlx::PgPool;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use super::config::UiConfig;
use super::live_cache::LiveCache;
use crate::record::keyring::Keyring;

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
}

impl UiState {
    /// The state of a process's pages. `api` is the router that requests from outside go through,
    /// too: what it decides holds for pages.
    pub fn new(api: Router, pool: PgPool, keyring: Arc<Keyring>, config: UiConfig) -> Self {
        Self(Arc::new(PagesShared {
            api,
            pool,
            keyring,
            config,
            live: LiveCache::default(),
        }))
    }

    /// A connection for sessions, links and forms that were sent twice.
    pub(super) async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.0.pool.acquire().await
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

    pub(super) fn live(&self) -> &LiveCache {
        &self.0.live
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.0.pool
    }
}

impl fmt::Debug for UiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UiState")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

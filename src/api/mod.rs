//! The REST API.
//!
//! In: HTTP requests with a token. Out: JSON, and rows through `record`. Guaranteed: a body is judged whole and every
//! bad field is named; what a token may not see does not exist for it; no answer but the one to a create holds
//! anything secret. Not here: sending. Nothing in this module talks to Kafka or to an endpoint.

mod problem;
mod validate;
mod body;
mod path;
mod query;
mod limits;
mod auth;
mod answer;
mod idempotency;
mod trigger_input;
mod webhook_input;
mod merge;
mod webhook_answer;
mod webhooks;
mod goal_input;
mod goals;
mod sites;
mod deliveries;
mod database;
mod router;

pub(crate) use body::MAX_BODY_BYTES;
pub(crate) use problem::{Kind as ProblemKind, Problem};
pub use router::router;
pub use webhook_input::{MASK, WebhookRules};

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sqlx::PgPool;

use crate::record::keyring::Keyring;

use limits::{FailedLogins, TokenRate};

/// What the configuration says about the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Most webhooks of a site.
    pub max_per_site: u32,
    pub webhooks: WebhookRules,
    /// Requests a second each token may make on average.
    pub requests_per_second: NonZeroU32,
    /// Requests a token may make at once.
    pub burst: NonZeroU32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// A request that was answered, for whoever counts them.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The route's pattern, never the path: a closed set. `unmatched` when no route was.
    pub route: &'a str,
    pub status: u16,
    /// Whether the method only reads.
    pub(crate) is_read: bool,
    pub(crate) took: Duration,
    /// What was wrong, if anything.
    pub problem: Option<ProblemKind>,
}

type Observer = dyn Fn(Answered<'_>) + Send + Sync;

/// What every request shares. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pool: PgPool,
    keyring: Arc<Keyring>,
    config: Arc<ApiConfig>,
    token_rate: Arc<TokenRate>,
    failed_logins: Arc<FailedLogins>,
    observer: Arc<Observer>,
    stopwatch: Arc<database::Stopwatch>,
}

impl ApiState {
    /// The state of a process's API. `observer` hears of every request once it is answered.
    pub fn new(
        pool: PgPool,
        keyring: Arc<Keyring>,
        config: ApiConfig,
        observer: impl Fn(Answered<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            pool,
            keyring,
            token_rate: Arc::new(TokenRate::new(config.requests_per_second, config.burst)),
            failed_logins: Arc::default(),
            config: Arc::new(config),
            observer: Arc::new(observer),
            stopwatch: Arc::new(|_, _| {}),
        }
    }

    /// Has `stopwatch` hear of every use of Postgres: `api_read` or `api_write`, and how long it took.
    #[must_use]
    pub(crate) fn timed(
        mut self,
        stopwatch: impl Fn(&'static str, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.stopwatch = Arc::new(stopwatch);
        self
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

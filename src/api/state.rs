//! The state that all requests share.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Transaction};
use tokio_util::task::TaskTracker;

use crate::record::erasure;
use crate::record::keyring::Keyring;
use crate::record::pool_shares::{PoolShares, SharePermit};
use crate::telemetry::words::PostgresOp;

use super::connection_share;
use super::extract::{MayWrite, WritableSite};
use super::limits::{FailedLogins, TokenRate};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::test_sender::TestSender;
use super::timed::{Stopwatch, Timed, Timer};
use super::webhook_input::WebhookRules;

/// The part of the configuration that the API follows.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Most webhooks of a site.
    pub max_per_site: u32,
    pub webhooks: WebhookRules,
    /// Partitions of each topic of deliveries.
    pub partitions: i32,
    /// Requests a second each token may make on average.
    pub requests_per_second: NonZeroU32,
    /// Requests a token may make at once.
    pub burst: NonZeroU32,
    /// Proxies whose `X-Forwarded-For` header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// URL at which users reach the service.
    pub public_url: Option<String>,
}

/// A request that was answered, as the observer of [`ApiState::new`] sees it.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredRequest<'a> {
    /// The pattern of the route, never the path: a closed set. `unmatched` if no route matched.
    pub route: &'a str,
    /// The method in upper case; `OTHER` for one that no route has, or not this one: a closed set.
    pub(crate) method: &'static str,
    pub status: u16,
    /// True if the method only reads.
    pub(crate) is_read: bool,
    pub(crate) took: Duration,
    /// The type of the problem, if the answer is one.
    pub problem: Option<ProblemType>,
}

/// Longest a request may take: a database that has stopped answering holds nothing for longer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

type Observer = dyn Fn(AnsweredRequest<'_>) + Send + Sync;

/// The state that all requests share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pool: PgPool,
    pub(super) shares: PoolShares,
    stopwatch: Arc<Stopwatch>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) config: Arc<ApiConfig>,
    pub(super) token_rate: Arc<TokenRate>,
    pub(super) failed_logins: Arc<FailedLogins>,
    pub(super) observer: Arc<Observer>,
    /// Without it tests are refused.
    pub(super) tests: Option<TestSender>,
    /// Requests with a key, which go on when their callers hang up.
    pub(super) tasks: TaskTracker,
}

impl ApiState {
    /// The state of a process's API. `observer` is called once for each request, after its answer.
    pub fn new(
        pool: PgPool,
        keyring: Arc<Keyring>,
        config: ApiConfig,
        observer: impl Fn(AnsweredRequest<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shares: PoolShares::of(&pool),
            pool,
            stopwatch: Arc::new(|_, _| {}),
            keyring,
            token_rate: Arc::new(TokenRate::new(config.requests_per_second, config.burst)),
            failed_logins: Arc::default(),
            config: Arc::new(config),
            observer: Arc::new(observer),
            tests: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Calls `stopwatch` after every use of Postgres with its operation, `api_read` or `api_write`,
    /// and the time that it took.
    #[must_use]
    pub(crate) fn timed(mut self, stopwatch: impl Fn(PostgresOp, Duration) + Send + Sync + 'static) -> Self {
        self.stopwatch = Arc::new(stopwatch);
        self
    }

    /// Sends tests by `sender`.
    #[must_use]
    pub(crate) fn sending_tests(mut self, sender: TestSender) -> Self {
        self.tests = Some(sender);
        self
    }

    /// Longest time of any request: that of a test, which includes the time of its endpoint.
    pub(super) fn longest_request(&self) -> Duration {
        let test = self.tests.as_ref().map(|tests| tests.timeout);
        REQUEST_TIMEOUT + test.unwrap_or_default()
    }

    /// The shares of the pool, for whoever else uses it.
    pub fn shares(&self) -> PoolShares {
        self.shares.clone()
    }

    /// A connection to read with.
    pub(super) async fn read(&self) -> Result<Timed<PoolConnection<Postgres>>, Problem> {
        let timer = Timer::start(PostgresOp::ApiRead, &self.stopwatch);
        let permit = connection_share::take().await?;
        Ok(timer.hold(self.pool.acquire().await?, permit))
    }

    /// A connection to look a token up with, within the permit for it.
    pub(super) async fn look_up(&self, permit: SharePermit) -> sqlx::Result<Timed<PoolConnection<Postgres>>> {
        let timer = Timer::start(PostgresOp::ApiRead, &self.stopwatch);
        Ok(timer.hold(self.pool.acquire().await?, Some(permit)))
    }

    /// A transaction that changes something. Without `commit` it changes nothing.
    ///
    /// The proof, such as a `WritableSite`, is not used: a handler that has none cannot call this.
    pub(super) async fn write(
        &self,
        _proof: &impl MayWrite,
    ) -> Result<Timed<Transaction<'static, Postgres>>, Problem> {
        let timer = Timer::start(PostgresOp::ApiWrite, &self.stopwatch);
        let permit = connection_share::take().await?;
        Ok(timer.hold(self.pool.begin().await?, permit))
    }

    /// Begins a transaction that may register the site. What is left of an erased one of its id is
    /// removed before, because the registration holds a lock that all other registrations wait for.
    pub(super) async fn register(
        &self,
        site: &WritableSite,
    ) -> Result<Timed<Transaction<'static, Postgres>>, Problem> {
        let timer = Timer::start(PostgresOp::ApiWrite, &self.stopwatch);
        let permit = connection_share::take().await?;
        let mut conn = self.pool.acquire().await?;
        erasure::make_way_for_new_site(&mut conn, site.id().as_str()).await?;
        drop(conn);
        Ok(timer.hold(self.pool.begin().await?, permit))
    }

    /// A connection for idempotency keys, which neither `api_read` nor `api_write` counts.
    pub(super) async fn claims(&self) -> Result<Timed<PoolConnection<Postgres>>, Problem> {
        let uncounted: Arc<Stopwatch> = Arc::new(|_, _| {});
        let timer = Timer::start(PostgresOp::ApiWrite, &uncounted);
        let permit = connection_share::take().await?;
        Ok(timer.hold(self.pool.acquire().await?, permit))
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

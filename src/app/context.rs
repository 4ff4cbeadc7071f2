//! The parts of a process that its roles share.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lifecycle::Lifecycle;
use super::open_files::FileShares;
use super::roles::Roles;
use super::{describe, settings};
use crate::config::Config;
use crate::dispatch::schedule::Schedules;
use crate::domain::registry::Registry;
use crate::kafka::client::ClientEvents;
use crate::record::keyring::Keyring;
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::{Health, Metrics, logs};

/// The parts that exist before Postgres or Kafka is asked anything.
#[derive(Debug, Clone)]
pub(super) struct Foundation {
    pub(super) config: Arc<Config>,
    pub(super) roles: Roles,
    pub(super) schedules: Arc<Schedules>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) client_events: ClientEvents,
    /// Time at which the registry was last read, in milliseconds since the Unix epoch; 0 before.
    pub(super) registry_read_at: Arc<AtomicI64>,
    pub(super) lifecycle: Lifecycle,
    pub(super) files: FileShares,
}

impl Foundation {
    /// Starts metrics and logs, and says what is starting. The process stops when `stop` is
    /// cancelled.
    pub(super) fn lay(config: Config, roles: Roles, stop: CancellationToken) -> anyhow::Result<Self> {
        let schedules = Arc::new(settings::schedules(&config)?);
        let metrics = Arc::new(Metrics::new(&describe::labels(&config, &schedules)));
        logs::start(&config.telemetry, &roles.to_string(), Some(Arc::clone(&metrics)));
        let files = FileShares::of_process(&config, &roles);
        describe::describe(&config, &roles, &files, &metrics);
        let health = Health::new(Arc::clone(&metrics), describe::checks(&roles));
        if let Some(shortage) = files.shortage() {
            tracing::warn!("{shortage}");
            health.standing_notice("open files", shortage);
        }
        let client_events = ClientEvents::new(Arc::clone(&metrics)).with_principal(&config.kafka);
        Ok(Self {
            config: Arc::new(config),
            health: Arc::new(health),
            client_events,
            roles,
            schedules,
            metrics,
            registry_read_at: Arc::default(),
            lifecycle: Lifecycle::stopped_by(stop),
            files,
        })
    }
}

/// The database as the roles use it.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) pool: PgPool,
    /// The API's own, so that no call takes a connection from the stages.
    pub(super) api_pool: PgPool,
    /// The connections of the deliverer's outcomes, which wait for no other's statements.
    pub(super) outcome_pool: PgPool,
    pub(super) monitor: PgMonitor,
    pub(super) keyring: Arc<Keyring>,
}

/// Everything that the roles share.
#[derive(Debug)]
pub(super) struct AppContext {
    pub(super) config: Arc<Config>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) client_events: ClientEvents,
    pub(super) pool: PgPool,
    pub(super) api_pool: PgPool,
    pub(super) outcome_pool: PgPool,
    pub(super) pg_monitor: PgMonitor,
    pub(super) keyring: Arc<Keyring>,
    pub(super) schedules: Arc<Schedules>,
    pub(super) registry: watch::Receiver<Arc<Registry>>,
    pub(super) registry_read_at: Arc<AtomicI64>,
    pub(super) lifecycle: Lifecycle,
    pub(super) files: FileShares,
}

impl AppContext {
    pub(super) fn new(
        foundation: &Foundation,
        database: &Database,
        registry: watch::Receiver<Arc<Registry>>,
    ) -> Self {
        Self {
            config: Arc::clone(&foundation.config),
            metrics: Arc::clone(&foundation.metrics),
            health: Arc::clone(&foundation.health),
            client_events: foundation.client_events.clone(),
            pool: database.pool.clone(),
            api_pool: database.api_pool.clone(),
            outcome_pool: database.outcome_pool.clone(),
            pg_monitor: database.monitor.clone(),
            keyring: Arc::clone(&database.keyring),
            schedules: Arc::clone(&foundation.schedules),
            registry,
            registry_read_at: Arc::clone(&foundation.registry_read_at),
            lifecycle: foundation.lifecycle.clone(),
            files: foundation.files,
        }
    }
}

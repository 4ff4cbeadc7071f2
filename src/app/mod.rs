//! The wiring: topics, channels, tasks, in flow order.
//!
//! In comes the configuration; out comes a process that runs until it is told to stop or something fails. Guaranteed:
//! nothing starts before schema, keys and topics are as they must be. Not here: what any stage does.

mod roles;
mod lifecycle;
mod start;
mod check;
mod detect;
mod deliver;
mod upkeep;

pub(crate) use check::refusals;
pub(crate) use lifecycle::{Lifecycle, SecondSignal};
pub(crate) use roles::{Role, Roles};
pub(crate) use start::{keyring, open_pool, pool_settings, schedules};

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiConfig, ApiState, ProblemKind, WebhookRules};
use crate::clock;
use crate::config::Config;
use crate::dispatch::schedules::Schedules;
use crate::domain::registry::Registry;
use crate::domain::target::TargetRules;
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::Publisher;
use crate::record::keyring::Keyring;
use crate::record::pg_monitor::PgMonitor;
use crate::record::pool::ConnectionEpoch;
use crate::record::{follow, registry::RegistryReader};
use crate::tasks::Tasks;
use crate::telemetry::admin::{self, AdminState};
use crate::telemetry::{Health, Metrics, logs};

/// Until the server has told of a statement that it ended.
const STATEMENT_SLACK: Duration = Duration::from_secs(1);
/// How long an open connection to the admin listener may hold up the end.
const ADMIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the API accepts requests after the process was told to stop, so that whoever routes to it has noticed.
const API_CLOSE_DELAY: Duration = Duration::from_secs(5);

/// What the stages share.
struct Shared {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    client_events: ClientEvents,
    pool: PgPool,
    probe: PgMonitor,
    keyring: Arc<Keyring>,
    schedules: Arc<Schedules>,
    registry: watch::Receiver<Arc<Registry>>,
    registry_read_at: Arc<AtomicI64>,
    /// Intake stops.
    stop: CancellationToken,
    /// The grace period is over.
    give_up: CancellationToken,
}

/// What another program settles for a service that it runs inside itself. By default nothing: the service is a process.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// The service stops when it is cancelled.
    pub(crate) stop: CancellationToken,
    /// Signals are the host's to watch, and nobody routes requests here.
    pub(crate) is_there: bool,
    pub(crate) admin: Option<std::net::TcpListener>,
    pub(crate) api: Option<std::net::TcpListener>,
    /// The brokers are [embedded](crate::kafka::embedded): they answer no question about a topic's settings.
    pub(crate) embedded_kafka: bool,
}

/// Runs the service with these roles until it is told to stop.
pub(crate) async fn serve(config: Config, roles: Roles) -> anyhow::Result<()> {
    serve_in(Host::default(), config, roles).await
}

/// Runs the service inside another program.
pub(crate) async fn serve_in(mut host: Host, config: Config, roles: Roles) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let schedules = Arc::new(schedules(&config)?);
    let metrics = Arc::new(Metrics::new(&start::labels(&config, &schedules)));
    logs::start(&config.telemetry, &roles.to_string(), Some(Arc::clone(&metrics)));
    start::describe(&config, &roles, &metrics);
    let health = Arc::new(Health::new(Arc::clone(&metrics), start::checks(&roles)));
    let lifecycle = Lifecycle::stopped_by(host.stop.clone());
    let Lifecycle {
        stop,
        give_up,
        finished,
    } = lifecycle.clone();
    let mut tasks = Tasks::new(stop.clone(), finished.clone());

    // First of all, so that a start that takes long can be watched.
    let listener = listen("admin.listen", config.admin.listen, host.admin.take()).await?;
    tracing::info!(address = %listener.local_addr()?, "the admin listener is open");
    let registry_read_at = Arc::new(AtomicI64::new(0));
    let app = admin::router(AdminState {
        registry_read_at: Arc::clone(&registry_read_at),
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
    });
    let until = finished.clone();
    tasks.spawn_background("admin", async move {
        let end = async {
            until.cancelled().await;
            tokio::time::sleep(ADMIN_CLOSE_TIMEOUT).await;
        };
        let served = axum::serve(listener, app).with_graceful_shutdown(until.clone().cancelled_owned());
        tokio::select! {
            result = served.into_future() => Ok(result?),
            () = end => Ok(()),
        }
    });
    if !host.is_there {
        tasks.spawn_background("signals", lifecycle.clone().watch_signals(SecondSignal::Exits));
    }

    let started = start_all(
        &config,
        &roles,
        &mut tasks,
        StartLinks {
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            schedules,
            registry_read_at,
            stop: stop.clone(),
            give_up: give_up.clone(),
            finished: finished.clone(),
            host,
        },
    );
    tokio::select! {
        biased;
        result = started => result?,
        () = stop.cancelled() => {
            finished.cancel();
            return tasks.join().await;
        }
    }
    tracing::info!(roles = %roles, "started");
    let grace = config.shutdown.grace;
    tasks.spawn_background("grace", lifecycle.clone().limit_grace(grace, health));
    tokio::select! {
        result = tasks.join() => {
            tracing::info!("stopped");
            result
        }
        // Postgres or Kafka is away, and whoever told us to stop will not wait much longer.
        longest = lifecycle.overdue(grace) => {
            let unwritten = metrics.outcomes_unwritten.get();
            anyhow::bail!(
                "told to stop {} s ago, and not everything could be written ({unwritten} outcomes at least): what that was about may be sent again",
                longest.as_secs()
            )
        }
    }
}

struct StartLinks {
    host: Host,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    schedules: Arc<Schedules>,
    registry_read_at: Arc<AtomicI64>,
    stop: CancellationToken,
    give_up: CancellationToken,
    finished: CancellationToken,
}

async fn start_all(
    config: &Arc<Config>,
    roles: &Roles,
    tasks: &mut Tasks,
    links: StartLinks,
) -> anyhow::Result<()> {
    let StartLinks {
        metrics,
        health,
        schedules,
        registry_read_at,
        stop,
        give_up,
        finished,
        host,
    } = links;
    // Before anything says that it is ready, so that whoever believes it finds a listener.
    let api = match roles.has(Role::Api) {
        true => Some(listen("http.listen", config.http.listen, host.api).await?),
        false => None,
    };
    let keyring = Arc::new(keyring(config)?);
    let trust = ConnectionEpoch::default();
    let pool = open_pool(config, &trust)?;
    let probe = PgMonitor::new(
        Arc::clone(&metrics),
        Arc::clone(&health),
        trust,
        config.postgres.statement_timeout + STATEMENT_SLACK,
    );
    start::postgres(config, &pool, &keyring, &health).await?;
    let client_events = ClientEvents::new(Arc::clone(&metrics));
    let existing = if roles.reads_kafka() {
        start::kafka(
            config,
            &schedules,
            &client_events,
            &metrics,
            &health,
            host.embedded_kafka,
        )
        .await?
    } else {
        Default::default()
    };

    let mut reader = RegistryReader::new(Arc::clone(&keyring));
    let read_at = clock::now_ms();
    let mut connection = pool
        .acquire()
        .await
        .context("reading the configuration of sites and webhooks")?;
    reader
        .look(&mut connection, read_at)
        .await
        .context("reading the configuration of sites and webhooks")?;
    drop(connection);
    let (publish, registry) = watch::channel(reader.current());
    registry_read_at.store(read_at, Ordering::Relaxed);
    let shared = Shared {
        config: Arc::clone(config),
        metrics,
        health,
        client_events,
        pool,
        probe,
        keyring,
        schedules,
        registry,
        registry_read_at: Arc::clone(&registry_read_at),
        stop,
        give_up,
    };
    let (pool, until) = (shared.pool.clone(), finished.clone());
    tasks.spawn_background("registry", async move {
        follow::follow(
            pool,
            reader,
            publish,
            move |begun_ms| registry_read_at.store(begun_ms, Ordering::Release),
            until,
        )
        .await;
        Ok(())
    });
    tasks.spawn_background(
        "upkeep",
        upkeep::run(upkeep::Upkeep::new(&shared, roles), finished),
    );
    if roles.reads_kafka() {
        let publisher = Publisher::new(&shared.config.kafka, shared.client_events.clone())
            .context("starting the producer")?;
        if roles.has(Role::Detect) {
            detect::start(&shared, &publisher, tasks).await?;
        }
        if roles.has(Role::Deliver) {
            deliver::start(&shared, &publisher, &existing, tasks)?;
        }
    }
    if let Some(listener) = api {
        let linger = if host.is_there {
            Duration::ZERO
        } else {
            API_CLOSE_DELAY
        };
        start_api(&shared, listener, linger, tasks)?;
    }
    Ok(())
}

/// The socket of the host, or one of our own.
async fn listen(
    key: &str,
    address: SocketAddr,
    given: Option<std::net::TcpListener>,
) -> anyhow::Result<TcpListener> {
    match given {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(TcpListener::from_std(listener)?)
        }
        None => TcpListener::bind(address)
            .await
            .with_context(|| format!("{key} = {address}")),
    }
}

fn start_api(
    shared: &Shared,
    listener: TcpListener,
    linger: Duration,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "the API is open");
    let app = api::router(api_state(shared)?);
    let (stop, give_up) = (shared.stop.clone(), shared.give_up.clone());
    tasks.spawn("api", async move {
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let until = async move {
            stop.cancelled().await;
            tokio::time::sleep(linger).await;
        };
        let served = axum::serve(listener, service).with_graceful_shutdown(until);
        tokio::select! {
            result = served.into_future() => Ok(result?),
            // Someone sends a request byte by byte, or does not read the answer.
            () = give_up.cancelled() => Ok(()),
        }
    });
    Ok(())
}

/// What the API is told, and how its requests are counted.
fn api_state(shared: &Shared) -> anyhow::Result<ApiState> {
    let (http, webhooks) = (&shared.config.http, &shared.config.webhooks);
    let config = ApiConfig {
        max_per_site: webhooks.max_per_site,
        webhooks: WebhookRules {
            target: TargetRules {
                allow_http: webhooks.allow_http,
                addresses: deliver::address_rules(shared),
            },
            retry_schedules: shared.schedules.names().into_iter().collect(),
        },
        requests_per_second: NonZeroU32::new(http.requests_per_second).context("http.requests_per_second")?,
        burst: NonZeroU32::new(http.burst).context("http.burst")?,
        trusted_proxies: http.trusted_proxies.clone(),
    };
    let metrics = Arc::clone(&shared.metrics);
    let observer = move |answered: api::Answered<'_>| {
        metrics
            .http_requests
            .with_label_values(&[answered.route, &answered.status.to_string()])
            .inc();
        let class = if answered.is_read { "read" } else { "write" };
        metrics
            .http_request_duration
            .with_label_values(&[class])
            .observe(answered.took.as_secs_f64());
        match answered.problem {
            Some(ProblemKind::Unauthenticated) => metrics.auth_failures.inc(),
            Some(ProblemKind::RateLimited) => metrics.rate_limited.with_label_values(&["token"]).inc(),
            Some(ProblemKind::TooManyFailedLogins) => {
                metrics.rate_limited.with_label_values(&["login"]).inc()
            }
            _ => {}
        }
    };
    let metrics = Arc::clone(&shared.metrics);
    let state = ApiState::new(shared.pool.clone(), Arc::clone(&shared.keyring), config, observer);
    Ok(state.timed(move |op, took| {
        let seconds = took.as_secs_f64();
        metrics.postgres.with_label_values(&[op]).observe(seconds);
    }))
}

//! The wiring: the order in which a process starts, and the tasks that it waits for in the end.
//!
//! In comes the configuration; out comes a process that runs until it is told to stop or something
//! fails. Guaranteed: no role starts before schema, keys and topics are as they must be. (Metrics,
//! logs, the admin listener and the signals start first, so that a slow start can be watched and
//! stopped.) Not here: the work of any stage.

mod error_words;
mod roles;
mod host;
mod lifecycle;
mod ending;
mod settings;
mod reach;
mod check;
mod describe;
mod context;
mod open_files;
mod admin;
mod start_checks;
mod instance;
mod registry;
mod watch;
mod partition_counts;
mod brokers_watch;
mod publish_watch;
mod missing_topics;
mod upkeep;
mod route;
mod route_watch;
mod detect;
mod deliver;
mod pages;
mod api;
mod jobs;
mod recovery;
mod notices;
mod operator;
mod source_notices;

pub(crate) use crate::telemetry::words::ProcessRole;
pub(crate) use check::{kafka_refusals, refusals};
pub(crate) use error_words::in_words;
pub(crate) use host::Host;
pub(crate) use lifecycle::{Lifecycle, SecondSignal};
pub(crate) use reach::{reach_kafka, reach_postgres};
pub(crate) use roles::Roles;
pub(crate) use settings::{keyring, open_pool, pool_settings, schedules};
pub(crate) use start_checks::check_retention;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use self::context::{AppContext, Foundation};
use crate::config::Config;
use crate::domain::health::HealthState;
use crate::kafka::producer::Publisher;
use crate::tasks::Tasks;

/// Runs the service with these roles until it is told to stop.
pub(crate) async fn serve(config: Config, roles: Roles) -> anyhow::Result<()> {
    serve_in(Host::default(), config, roles).await
}

/// Runs the service as `host` arranges it: as a process of its own, or inside another program.
pub(crate) async fn serve_in(mut host: Host, config: Config, roles: Roles) -> anyhow::Result<()> {
    let foundation = Foundation::lay(config, roles, host.stop.clone())?;
    let lifecycle = foundation.lifecycle.clone();
    let mut tasks = Tasks::new(lifecycle.stop.clone(), lifecycle.finished.clone());

    // First of all, so that a start that takes long can be watched and stopped.
    admin::start(&foundation, host.admin.take(), &mut tasks).await?;
    if !host.is_there {
        tasks.spawn_background("signals", lifecycle.clone().watch_signals(SecondSignal::Exits));
    }
    let started = tokio::select! {
        biased;
        started = start_roles(&foundation, host, &mut tasks) => Some(started),
        () = lifecycle.stop.cancelled() => None,
    };
    let Some(started) = started else {
        lifecycle.finished.cancel();
        return tasks.join().await;
    };
    started?;
    tracing::info!(roles = %foundation.roles, "started");

    let grace = foundation.config.shutdown.grace;
    let health = Arc::clone(&foundation.health);
    tasks.spawn_background("grace", lifecycle.clone().limit_grace(grace, health));
    tokio::select! {
        result = tasks.join() => {
            tracing::info!("stopped");
            result
        }
        // The grace period and 5 s more are over, so Postgres or Kafka must be away. Whatever sent
        // SIGTERM will soon kill the process.
        longest = lifecycle.overdue(grace) => Err(unwritten(&foundation, longest)),
    }
}

/// Opens the API's socket, checks Postgres and Kafka, then starts the roles: detect, deliver,
/// route, api.
async fn start_roles(foundation: &Foundation, mut host: Host, tasks: &mut Tasks) -> anyhow::Result<()> {
    let (config, roles) = (&foundation.config, &foundation.roles);
    // Opened before `/readyz` can say that the process is ready, so that the first request finds a
    // listener.
    let api_listener = match roles.has(ProcessRole::Api) {
        true => Some(host::listen("http.listen", config.http.listen, host.api.take()).await?),
        false => None,
    };
    let database = start_checks::open_database(foundation).await?;
    if roles.reads_kafka() {
        instance::claim(foundation, tasks).await?;
    }
    let retry_topics = match roles.reads_kafka() {
        true => start_checks::check_topics(foundation, host.embedded_kafka).await?,
        false => Default::default(),
    };
    let registry = registry::start(foundation, &database, tasks).await?;
    let app = AppContext::new(foundation, &database, registry);
    watch::start(&app, roles, &retry_topics, tasks)?;
    upkeep::start(&app, tasks);
    if roles.reads_kafka() {
        let publisher =
            Publisher::new(&config.kafka, app.client_events.clone()).context("starting the producer")?;
        if roles.has(ProcessRole::Detect) {
            detect::start(&app, &publisher, tasks).await?;
            source_notices::start(&app, tasks);
        }
        if roles.has(ProcessRole::Deliver) {
            deliver::start(&app, &publisher, &retry_topics, tasks)?;
            notices::start(&app, tasks);
            operator::start(&app, tasks)?;
        }
        // The last one: it joins its group quickly, and by then the others are waited for.
        if roles.has(ProcessRole::Route) {
            route::start(&app, &publisher, roles, tasks).await?;
        }
    }
    if let Some(listener) = api_listener {
        api::start(&app, listener, host.api_close_delay(), tasks)?;
        jobs::start(&app, tasks);
    }
    Ok(())
}

/// The error of a process that could not end in time.
fn unwritten(foundation: &Foundation, longest: Duration) -> anyhow::Error {
    let metrics = &foundation.metrics;
    let requests = [HealthState::Ok, HealthState::Careful]
        .map(|state| metrics.in_flight.with_label_values(&[state.as_str()]).get());
    let outcomes = metrics.outcomes_unwritten.get();
    let left = left_behind(outcomes, requests.iter().sum());
    anyhow::anyhow!("told to stop {} s ago, and {left}", longest.as_secs())
}

/// Says what a process leaves behind that could not end in time.
fn left_behind(outcomes: i64, requests: i64) -> String {
    if outcomes == 0 && requests == 0 {
        return "not everything could be handed over: Postgres or Kafka does not answer. All that was sent is recorded"
            .to_owned();
    }
    format!(
        "not everything could be written ({outcomes} outcomes, and {requests} requests under way): the deliveries \
         concerned may be sent again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_announced_only_where_something_was_sent() {
        for (outcomes, requests, may_repeat) in [(0, 0, false), (1, 0, true), (0, 2, true)] {
            let words = left_behind(outcomes, requests);
            assert_eq!(words.contains("sent again"), may_repeat, "{words}");
        }
    }
}

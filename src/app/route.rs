//! The route role: threads that key the events of other sources by site.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tokio::runtime::Handle;

use super::context::AppContext;
use super::detect;
use super::roles::Roles;
use crate::config::Config;
use crate::ingest::formats::RecordReader;
use crate::ingest::route::thread::{self, RouteLinks, RouteSettings, UnkeyedSource};
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::settings;
use crate::tasks::Tasks;
use crate::telemetry::words::{ProcessRole, ReadyCheck};

/// Starts everything the role needs, if there is a source that is not keyed by site.
pub(super) async fn start(
    app: &AppContext,
    publisher: &Publisher,
    roles: &Roles,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let config = &app.config;
    let sources = unkeyed_sources(config);
    if sources.is_empty() {
        // Nobody joins a group, so nobody would say that it has, nor would anything keep the
        // process.
        if !roles.has(ProcessRole::Detect) && !roles.has(ProcessRole::Deliver) {
            tracing::warn!("every source is keyed by site (`keyed`): the role `route` has nothing to do");
            app.health.set(ReadyCheck::Assignment, Ok(()));
            let stop = app.lifecycle.stop.clone();
            tasks.spawn("route", async move {
                stop.cancelled().await;
                Ok(())
            });
        }
        return Ok(());
    }
    let topics: Vec<String> = sources.iter().map(|source| source.topic.clone()).collect();
    let name = "route-0".to_owned();
    let mut member_config = settings::detect_member(&config.kafka, &config.kafka.topic("route"));
    settings::name_member(&mut member_config, &config.kafka, &name);
    let member = GroupMember::join(&member_config, "route", &topics, None, app.client_events.clone())
        .context("joining the route group")?;
    app.health.member_joins(&name);
    let settings = RouteSettings {
        name: name.clone(),
        kafka: config.kafka.clone(),
        sources,
        hash_key: detect::hash_key(app).await?,
        first_start_back: detect::first_start_back(app),
    };
    let links = RouteLinks {
        publisher: publisher.clone(),
        registry: app.registry.clone(),
        metrics: app.metrics.clone(),
        health: app.health.clone(),
        runtime: Handle::current(),
        stop: app.lifecycle.stop.clone(),
    };
    tasks.spawn_thread(name, move || thread::run(member, settings, links))
}

fn unkeyed_sources(config: &Config) -> Vec<UnkeyedSource> {
    let sources = config.sources.unkeyed().map(|source| UnkeyedSource {
        topic: source.topic.clone(),
        clock: source.clock,
        reader: RecordReader::of(source),
    });
    sources.collect()
}

/// Partitions that the route group has to own, as far as this process may see the sources.
pub(super) fn expected_partitions(config: &Config, existing: &BTreeMap<String, i32>) -> i64 {
    let counts = config
        .sources
        .unkeyed()
        .filter_map(|source| existing.get(&source.topic));
    counts.map(|count| i64::from(*count)).sum()
}

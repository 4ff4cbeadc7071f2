//! A process as its metrics, probes and first log line show it.

use rdkafka::util::get_rdkafka_version;

use super::open_files::FileShares;
use super::roles::Roles;
use super::settings;
use crate::config::{Config, Source};
use crate::dispatch::schedule::Schedules;
use crate::kafka::producer::PRODUCED;
use crate::record::postgres_url;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;
use crate::telemetry::words::{Group, ProcessRole, ReadyCheck};

/// The label values that depend on the configuration.
pub(super) fn labels(config: &Config, schedules: &Schedules) -> Labels {
    let sources = config.sources.0.iter().map(|source| source.topic.clone());
    let has_unkeyed = config.sources.unkeyed().next().is_some();
    let routed = has_unkeyed.then(|| config.kafka.topic("events"));
    let tiers = schedules.tier_names();
    let read_by = |group: Group, topic: &str| (group.to_string(), topic.to_owned());
    let unkeyed = config
        .sources
        .unkeyed()
        .map(|source| read_by(Group::Route, &source.topic));
    let keyed = config
        .sources
        .keyed()
        .map(|source| read_by(Group::Detect, &source.topic));
    let mut consumed: Vec<(String, String)> = unkeyed.chain(keyed).collect();
    consumed.extend(routed.iter().map(|topic| read_by(Group::Detect, topic)));
    consumed.push(read_by(Group::Deliver, &config.kafka.topic("deliveries")));
    consumed.extend(
        tiers
            .iter()
            .map(|tier| read_by(Group::Deliver, &config.kafka.topic(&format!("retry.{tier}")))),
    );
    Labels {
        sources: sources.chain(routed).collect(),
        tiers,
        produced: PRODUCED.map(str::to_owned).to_vec(),
        consumed,
    }
}

/// The conditions of readiness that apply to a process with these roles.
pub(super) fn checks(roles: &Roles) -> &'static [ReadyCheck] {
    use ReadyCheck::{Assignment, Kafka, Keys, Postgres, Schema};
    if roles.reads_kafka() {
        &[Postgres, Kafka, Assignment, Schema, Keys]
    } else {
        &[Postgres, Schema, Keys]
    }
}

/// Sets the gauges that describe the process, and logs its start.
pub(super) fn describe(config: &Config, roles: &Roles, files: &FileShares, metrics: &Metrics) {
    let librdkafka = get_rdkafka_version().1;
    let revision = option_env!("BELLWETHER_REVISION").unwrap_or("unknown");
    metrics
        .build_info
        .with_label_values(&[env!("CARGO_PKG_VERSION"), revision, &librdkafka])
        .set(1);
    metrics
        .config_info
        .with_label_values(&[&config.shared_hash()])
        .set(1);
    for role in roles.names() {
        metrics.roles.with_label_values(&[role]).set(1);
    }
    let route_threads = u32::from(config.sources.unkeyed().next().is_some());
    for (role, threads) in [
        (ProcessRole::Route, route_threads),
        (ProcessRole::Detect, config.detect.threads),
        (ProcessRole::Deliver, config.deliver.threads),
    ] {
        let threads = if roles.has(role) { i64::from(threads) } else { 0 };
        metrics.threads.with_label_values(&[role.as_str()]).set(threads);
    }
    for role in [ProcessRole::Detect, ProcessRole::Deliver] {
        metrics
            .consumer_partitions_expected
            .with_label_values(&[role.as_str()])
            .set(i64::from(config.kafka.partitions));
    }
    metrics.in_flight_limit.set(i64::from(files.max_in_flight));
    metrics
        .postgres_connections_max
        .set(i64::from(settings::most_connections(config, roles)));
    let summary = config.summary();
    tracing::info!(
        config_file = summary.file,
        roles = %roles,
        brokers = summary.brokers,
        prefix = summary.topic_prefix,
        sources = summary.sources,
        database = summary.database,
        librdkafka,
        "starting"
    );
    for parameter in postgres_url::ignored_parameters(&config.postgres.url) {
        tracing::warn!("the parameter `{parameter}` in postgres.url has no effect");
    }
    for warning in config.sources.0.iter().filter_map(Source::warning) {
        tracing::warn!("{warning}");
    }
}

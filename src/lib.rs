//! Bellwether turns web-analytics events in Kafka into signed webhooks.
//!
//! The modules stand in the order an event travels; `domain` holds the nouns the stages share.

/// Events as producers write them, read into the nouns of `domain`: formats, rejects, access logs.
pub mod ingest;
/// The detector: windows, triggers, goals and episodes, per site and in memory.
pub mod detect;
/// Delivery records, retry schedules, tiers and the offsets that may be committed.
pub mod dispatch;
/// The deliverer: signs, sends and classifies, one attempt of a delivery at a time.
pub mod deliver;
/// Everything in Postgres.
pub mod record;
/// The REST API.
pub mod api;
/// The pages that site owners see.
pub mod ui;
/// The configuration: file, environment, flags.
pub mod config;
/// Metrics, logs, health and the admin listener.
pub mod telemetry;
/// A listener with a bounded number of connections.
pub mod bounded_listener;
/// Kafka clients: connection settings, topics, group members, producer.
pub mod kafka;
/// The commands of the binary.
pub mod cli;
/// The wiring: topics, channels, tasks, in flow order.
pub mod app;
/// The supervisor of tasks and threads.
pub mod tasks;
/// Nouns shared by the stages: ids, events, sites, goals, webhooks, notifications, deliveries.
pub mod domain;
/// The one place that reads clocks.
pub mod clock;
/// The one place that draws chance.
pub mod chance;
/// Prefetching of memory.
pub mod prefetch;
/// The end of the process.
pub(crate) mod last_exit;

#[cfg(test)]
mod tests;

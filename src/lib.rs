//! Bellwether turns web-analytics events in Kafka into signed webhooks.
//!
//! The modules stand in the order an event travels; `domain` holds the nouns the stages share.

/// Reads events from Kafka: consumers, formats, rejects.
pub mod ingest;
/// Decides, per site and in memory, what an event means: windows, triggers, goals, episodes.
pub mod detect;
/// Turns what was decided into delivery records, and carries them through the tiers.
pub mod dispatch;
/// Signs, sends and classifies: one attempt at a time.
pub mod deliver;
/// Everything in Postgres.
pub mod record;
/// The REST API.
pub mod api;
/// The configuration: file, environment, flags.
pub mod config;
/// Metrics, logs, health and the admin listener.
pub mod telemetry;
/// Kafka clients: connection settings, topics, producer.
pub mod kafka;
/// The commands of the binary.
pub mod cli;
/// The wiring: topics, channels, tasks, in flow order.
pub mod app;
/// The supervisor.
pub mod tasks;
/// Nouns shared by the stages: ids, events, sites, goals, webhooks, notifications, deliveries.
pub mod domain;
/// The one place that reads clocks.
pub mod clock;
/// The one place that draws chance.
pub mod chance;
/// Asking memory ahead.
pub mod prefetch;

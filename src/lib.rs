//! Bellwether turns web-analytics events in Kafka into signed webhooks.
//!
//! The modules stand in the order an event travels; `domain` holds the nouns the stages share.

/// The REST API.
pub mod api;
/// The commands of the binary.
pub mod cli;
/// The one place that reads clocks.
pub mod clock;
/// The configuration: file, environment, flags.
pub mod config;
/// Signs, sends and classifies: one attempt at a time.
pub mod deliver;
/// Decides, per site and in memory, what an event means: windows, triggers, goals, episodes.
pub mod detect;
/// Turns what was decided into delivery records, and carries them through the tiers.
pub mod dispatch;
/// Nouns shared by the stages: ids, events, sites, goals, webhooks, notifications, deliveries.
pub mod domain;
/// Reads events from Kafka: consumers, formats, rejects.
pub mod ingest;
/// Kafka clients: connection settings, topics, producer.
pub mod kafka;
/// Everything in Postgres.
pub mod record;
/// Metrics, logs, health and the admin listener.
pub mod telemetry;

//! Metrics, logs, health and the admin listener.
//!
//! In come counts and states from every stage; out go `/metrics`, `/healthz`, `/readyz` and log
//! lines. Guaranteed: closed label sets, every series present at zero. Not here: what any of it
//! means to a stage.

/// Words of metric labels.
pub mod words;
pub mod metrics;
pub(crate) mod thread_gauges;
pub(crate) mod health;
pub(crate) mod logs;
mod json_line;
pub(crate) mod admin;
pub(crate) mod throttle;
pub(crate) mod connection;

pub use health::Health;
pub use metrics::Metrics;

//! The configuration: a TOML file, then `BELLWETHER_*` environment variables (`__` between levels),
//! then flags.
//!
//! In comes text from three places; out goes a `Config` in which every value is known to be usable.
//! A wrong key or value is refused with its name, its value and the allowed ones, and all problems
//! are named at once. Guaranteed: no error shows a value of `postgres`, `encryption`,
//! `operator` or `kafka.properties`, which hold secrets.

mod load;
mod explain;
mod forms;
mod origins;
mod file;
mod root;
mod summary;
mod problems;
mod duration;
mod topic_name;
mod kafka;
mod sites;
mod sources;
mod postgres;
mod http;
mod encryption;
mod webhooks;
mod operator;
mod stages;
mod telemetry;

pub use kafka::KafkaConfig;
pub(crate) use load::{ConfigError, ConfigSources, load, load_judged, log_format};
pub(crate) use operator::OperatorWebhook;
pub use root::Config;
pub use sources::{Source, SourceFormat, SourceMapping, Sources};
pub(crate) use telemetry::{LogFormat, TelemetryConfig};
pub(crate) use webhooks::DEFAULT_SCHEDULE;

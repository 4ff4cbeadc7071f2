//! The configuration: a TOML file, then `BELLWETHER_*` environment variables (`__` between levels),
//! then flags.
//!
//! In comes text from three places; out goes a `Config` in which every value is known to be usable.
//! A wrong key or value is refused with its name, its value and what is allowed; all problems found
//! are named at once.

mod load;
mod root;
mod problems;
mod duration;
mod kafka;
mod postgres;
mod http;
mod encryption;
mod webhooks;
mod stages;

pub use kafka::{Clock, KafkaConfig, Source, SourceFormat, Sources};
pub(crate) use load::{ConfigError, ConfigSources, load, load_judged};
pub use root::Config;
pub(crate) use stages::{LogFormat, TelemetryConfig};
pub(crate) use webhooks::DEFAULT_SCHEDULE;

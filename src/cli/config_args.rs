//! `--config` and `--set`, for the commands that read the configuration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::UsageError;
use crate::app;
use crate::config::{self, Config, ConfigError, ConfigSources, LogFormat};

/// Source of the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Read this configuration file (TOML). `bellwether.example.toml` documents every key
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_CONFIG",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Configuration"
    )]
    config: Option<PathBuf>,
    /// Set one key, such as `kafka.partitions=12`; wins over file and environment
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Configuration")]
    set: Vec<String>,
}

/// Arguments of a command that reads the configuration.
#[derive(Debug, Args)]
pub(super) struct Configured<T: Args> {
    #[command(flatten)]
    pub(super) args: T,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

/// Commands of a group in which all read the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfiguredGroup<T: Subcommand> {
    #[command(subcommand)]
    pub(super) command: T,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

impl ConfigArgs {
    /// Reads the configuration.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        config::load(&self.sources()).map_err(with_exit_code)
    }

    /// Reads the configuration for a command that uses all of it: what `serve` could not start with
    /// is refused too.
    pub(super) fn load_to_serve(&self) -> anyhow::Result<Config> {
        config::load_judged(&self.sources(), app::refusals).map_err(with_exit_code)
    }

    /// The form of log lines, for a command that cannot read the rest.
    pub(super) fn log_format(&self) -> LogFormat {
        config::log_format(&self.sources())
    }

    /// Reads the configuration for a command that connects to Kafka.
    pub(super) fn load_for_kafka(&self) -> anyhow::Result<Config> {
        config::load_judged(&self.sources(), app::kafka_refusals).map_err(with_exit_code)
    }

    /// The file that is read, or that there is none, in words.
    pub(super) fn summary(&self) -> String {
        self.sources().summary()
    }

    fn sources(&self) -> ConfigSources {
        ConfigSources {
            file: self.config.clone(),
            environment: true,
            overrides: self.set.clone(),
        }
    }
}

/// A configuration that is wrong is a failure; one that a flag made wrong is a wrong use.
fn with_exit_code(error: ConfigError) -> anyhow::Error {
    match error {
        ConfigError::Override(_) | ConfigError::Invalid { is_by_flag: true, .. } => {
            UsageError(error.to_string()).into()
        }
        ConfigError::File(..) | ConfigError::Invalid { .. } => error.into(),
    }
}

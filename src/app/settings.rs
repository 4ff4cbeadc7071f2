//! Values of the configuration as the rooms below take them.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;

use crate::config::Config;
use crate::dispatch::schedule::Schedules;
use crate::record::keyring::Keyring;
use crate::record::pool::{self, ConnectionEpoch, PoolSettings};

/// Retry schedules of the configuration.
pub(crate) fn schedules(config: &Config) -> anyhow::Result<Schedules> {
    Schedules::parse(&config.webhooks.retry_schedules).context("webhooks.retry_schedules")
}

/// A line that has to be a key, or the reason for which it cannot be read.
pub(super) struct KeyLine {
    /// Place of the line, beginning with its configuration key.
    pub(crate) place: String,
    pub(crate) line: Result<String, String>,
}

/// `encryption.keys`, then the lines of `encryption.key_files`.
pub(super) fn key_lines(config: &Config) -> Vec<KeyLine> {
    let keys = config.encryption.keys.iter().enumerate();
    let mut lines: Vec<KeyLine> = keys
        .map(|(i, key)| KeyLine {
            place: format!("encryption.keys[{i}]"),
            line: Ok(key.clone()),
        })
        .collect();
    for (i, path) in config.encryption.key_files.iter().enumerate() {
        let shown = path.display();
        match std::fs::read_to_string(path) {
            Err(error) => lines.push(KeyLine {
                // Not the path: it may be a key in the wrong list.
                place: format!("encryption.key_files[{i}] = \"…\""),
                line: Err(format!("cannot be read: {error}")),
            }),
            Ok(text) => lines.extend(
                text.lines()
                    .map(str::trim)
                    .enumerate()
                    .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
                    .map(|(number, line)| KeyLine {
                        place: format!("encryption.key_files[{i}], line {} of {shown}", number + 1),
                        line: Ok(line.to_owned()),
                    }),
            ),
        }
    }
    lines
}

/// The encryption keys of the configuration.
pub(super) fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let lines: Vec<String> = key_lines(config)
        .into_iter()
        .map(|given| {
            given
                .line
                .map_err(|why| anyhow::anyhow!("{}: {why}", given.place))
        })
        .collect::<Result<_, _>>()?;
    Ok(Keyring::parse(&lines)?)
}

/// A pool of connections to Postgres.
pub(crate) fn open_pool(config: &Config, epoch: &ConnectionEpoch) -> anyhow::Result<PgPool> {
    Ok(pool::open(&pool_settings(config), epoch)?)
}

/// Settings of the connections to Postgres.
pub(crate) fn pool_settings(config: &Config) -> PoolSettings {
    PoolSettings {
        url: config.postgres.url.clone(),
        max_connections: config.postgres.max_connections,
        statement_timeout: config.postgres.statement_timeout,
        lock_timeout: Duration::from_secs(5),
    }
}

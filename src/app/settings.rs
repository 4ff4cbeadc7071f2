//! Values of the configuration as the rooms below take them.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;

use super::roles::Roles;
use crate::config::Config;
use crate::dispatch::schedule::Schedules;
use crate::record::keyring::Keyring;
use crate::record::pool::{self, ConnectionEpoch, PoolSettings};
use crate::telemetry::words::ProcessRole;

/// Connections that record outcomes, beside those of the configuration.
const OUTCOME_CONNECTIONS: u32 = 2;
/// Longest time that outcomes wait for a row that another session holds before they are put aside.
const OUTCOME_LOCK_TIMEOUT: Duration = Duration::from_millis(100);

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
pub(crate) fn keyring(config: &Config) -> anyhow::Result<Keyring> {
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

/// The pool of the stages, and the API's. A call that waits for Postgres holds a connection of the
/// API's pool only, whose size is the number of queries that the API may have under way.
pub(super) fn open_pools(
    config: &Config,
    roles: &Roles,
    epoch: &ConnectionEpoch,
) -> anyhow::Result<(PgPool, PgPool)> {
    let (stages, api) = pool_sizes(config.postgres.max_connections, roles);
    let sized = |max_connections| PoolSettings {
        max_connections,
        ..pool_settings(config)
    };
    Ok((
        pool::open(&sized(stages), epoch)?,
        // What the API waits for says nothing about the connections of the stages.
        pool::open(&sized(api), &ConnectionEpoch::default())?,
    ))
}

/// The pool of whoever records outcomes. One webhook whose rows somebody holds is put aside soon,
/// so that the others' outcomes go on; a connection that does not answer has a second beside it.
pub(super) fn open_outcome_pool(config: &Config, epoch: &ConnectionEpoch) -> anyhow::Result<PgPool> {
    let settings = PoolSettings {
        max_connections: OUTCOME_CONNECTIONS,
        lock_timeout: OUTCOME_LOCK_TIMEOUT,
        ..pool_settings(config)
    };
    Ok(pool::open(&settings, epoch)?)
}

/// Most connections of a process's pools.
pub(super) fn most_connections(config: &Config, roles: &Roles) -> u32 {
    let (stages, api) = pool_sizes(config.postgres.max_connections, roles);
    let outcomes = if roles.has(ProcessRole::Deliver) {
        OUTCOME_CONNECTIONS
    } else {
        0
    };
    stages + api + outcomes
}

/// Divides connections between the stages and the API: a quarter for the API where both are there;
/// two for the other one's background work where only one is.
fn pool_sizes(max_connections: u32, roles: &Roles) -> (u32, u32) {
    let total = max_connections.max(2);
    let api = if !roles.has(ProcessRole::Api) {
        1
    } else if roles.reads_kafka() {
        (total / 4).max(1)
    } else {
        (total - 2).max(1)
    };
    (total - api, api)
}

/// Settings of the connections to Postgres.
pub(crate) fn pool_settings(config: &Config) -> PoolSettings {
    PoolSettings {
        url: config.postgres.url.clone(),
        max_connections: config.postgres.max_connections,
        statement_timeout: config.postgres.statement_timeout,
        acquire_timeout: Duration::from_secs(5),
        lock_timeout: Duration::from_secs(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_delivers_has_two_more_connections() {
        use ProcessRole::{Api, Deliver};
        let config = Config::default();
        let configured = config.postgres.max_connections;
        let most = |roles: &[ProcessRole]| most_connections(&config, &Roles::new(roles));
        assert_eq!(
            (most(&[Api]), most(&[Deliver]), most(&[])),
            (configured, configured + 2, configured + 2)
        );
    }

    #[test]
    fn stages_and_api_have_connections_of_their_own() {
        use ProcessRole::{Api, Deliver, Detect};
        for (roles, max_connections, sizes) in [
            (&[][..], 16, (12, 4)),
            (&[], 2, (1, 1)),
            (&[Api], 16, (2, 14)),
            (&[Api], 2, (1, 1)),
            (&[Detect, Deliver], 16, (15, 1)),
        ] {
            assert_eq!(
                pool_sizes(max_connections, &Roles::new(roles)),
                sizes,
                "{roles:?}"
            );
        }
    }
}

//! `keys generate` and `keys rotate`

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use sqlx::PgConnection;

use super::config_args::ConfigArgs;
use super::output::{complain, note, print};
use crate::app;
use crate::cli::exit::ExitCode;
use crate::clock;
use crate::config::Config;
use crate::record::keyring::{self, Keyring, MAX_KEY_ID_BYTES};
use crate::record::{keys, rotate};

/// Most times that all values are gone over: each time but the first finds only the values that
/// were written meanwhile.
const MAX_ROUNDS: u32 = 20;
/// Time within which every running process has said again with which key it writes, which it does
/// at each round of its upkeep.
const WRITERS_TIMEOUT: Duration = Duration::from_secs(11);

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print a new encryption key, for `encryption.keys` or a key file
    Generate {
        /// Name of the key: letters, digits, `.`, `_` and `-`; by default today's date
        #[arg(long, value_parser = key_id)]
        id: Option<String>,
    },
    /// Encrypt everything stored with the first key, while the service runs
    ///
    /// Then the other keys may leave the configuration. Before, every process must have the new key
    /// (put it last in encryption.keys, restart all), and then write with it (put it first, restart
    /// all again). A process that still writes with another key is noticed, and that key stays.
    Rotate(ConfigArgs),
}

fn key_id(text: &str) -> Result<String, String> {
    if !keyring::is_key_id(text) {
        return Err(format!(
            "allowed: 1 to {MAX_KEY_ID_BYTES} letters, digits, `.`, `_` or `-`"
        ));
    }
    Ok(text.to_owned())
}

pub(super) async fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Generate { id } => generate(id.as_deref()),
        KeysCommand::Rotate(config) => rotate(&config.load()?).await,
    }
}

fn generate(id: Option<&str>) -> anyhow::Result<ExitCode> {
    let id = match id {
        Some(id) => id.to_owned(),
        None => clock::now().format("k%Y%m%d").to_string(),
    };
    print(&keyring::generate_key(&id, crate::chance::bytes())?)?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(config: &Config) -> anyhow::Result<ExitCode> {
    let keyring = app::keyring(config)?;
    let pool = app::reach_postgres(config).await?;
    let mut connection = pool
        .acquire()
        .await
        .context("connecting to Postgres (postgres.url)")?;
    keys::check_keys(&mut connection, &keyring, clock::now())
        .await
        .context("encryption.keys")?;
    let key = keyring.writing_key_id();
    let Some(mut written) = reencrypt_all(&mut connection, &keyring).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let unused = rotate::forget_other_keys(&mut connection, &keyring).await?;
    if !unused.is_empty() {
        note("waiting for every running process to say with which key it writes");
        tokio::time::sleep(WRITERS_TIMEOUT).await;
        let others = rotate::other_writers(&mut connection, &keyring).await?;
        if !others.is_empty() {
            complain(&format!(
                "a running process still writes with key `{}`: put key `{key}` first in encryption.keys everywhere, \
                 restart, and run this again",
                others.join("`, `")
            ));
            return Ok(ExitCode::FAILURE);
        }
        // The last words of a process that has ended since.
        match reencrypt_all(&mut connection, &keyring).await? {
            Some(late) => written += late,
            None => return Ok(ExitCode::FAILURE),
        }
    }
    print(&format!(
        "everything is encrypted with key `{key}` ({written} values anew)"
    ))?;
    for id in unused {
        print(&format!("key `{id}` may leave encryption.keys"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Encrypts with the first key until nothing is left that has another one, and returns the number
/// of values; `None` if some do not open, which are named.
async fn reencrypt_all(connection: &mut PgConnection, keyring: &Keyring) -> anyhow::Result<Option<u64>> {
    let mut written = 0;
    for _ in 0..MAX_ROUNDS {
        let round = rotate::reencrypt(connection, keyring).await?;
        written += round.total();
        if !round.unreadable.is_empty() {
            for (place, why) in &round.unreadable {
                complain(&format!("{place} was left as it is: {why}"));
            }
            return Ok(None);
        }
        if round.total() == 0 {
            return Ok(Some(written));
        }
    }
    anyhow::bail!("values with another key keep coming: put the new key first in encryption.keys everywhere")
}

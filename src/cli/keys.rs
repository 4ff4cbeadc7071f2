//! `keys generate`

use clap::Subcommand;

use super::exit::UsageError;
use super::output::print;
use crate::clock;
use crate::record::keyring;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print a new encryption key, for `encryption.keys` or a key file
    Generate {
        /// Name of the key: letters, digits, `.`, `_` and `-`; by default today's date
        #[arg(long)]
        id: Option<String>,
    },
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Generate { id } = command;
    let id = id
        .clone()
        .unwrap_or_else(|| clock::now().format("k%Y%m%d").to_string());
    let key = keyring::generate_key(&id, crate::chance::bytes())
        .map_err(|wrong| UsageError(format!("--id: {wrong}")))?;
    Ok(print(&key)?)
}

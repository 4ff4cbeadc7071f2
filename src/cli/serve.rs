//! `serve` and `migrate`

use anyhow::Context as _;
use clap::Args;

use super::print;
use crate::app::{self, ProcessRole, Roles};
use crate::clock;
use crate::config::Config;
use crate::record::migrate as migrations;
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// What this process does, separated by commas; all of it by default
    #[arg(long, value_enum, value_delimiter = ',', env = "BELLWETHER_ROLES")]
    roles: Vec<ProcessRole>,
}

pub(super) async fn run(args: ServeArgs, config: Config) -> anyhow::Result<()> {
    app::serve(config, Roles::new(&args.roles)).await
}

pub(super) async fn migrate(config: &Config) -> anyhow::Result<()> {
    logs::start(&config.telemetry, "migrate", None);
    let pool = app::reach_postgres(config).await?;
    let applied = migrations::migrate(&pool, clock::now_ms())
        .await
        .context("applying migrations")?;
    print(&format!(
        "the schema is current; {} migrations were applied",
        applied.len()
    ));
    Ok(())
}

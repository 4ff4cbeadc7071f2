//! `serve` and `migrate`

use anyhow::Context as _;
use clap::Args;

use super::config_args::ConfigArgs;
use super::exit::{self, ExitCode};
use super::output::print;
use crate::app::{self, ProcessRole, Roles};
use crate::clock;
use crate::config::Config;
use crate::record::migrate as migrations;
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Roles of this process, separated by commas; all of them by default
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        env = "BELLWETHER_ROLES",
        hide_env_values = true
    )]
    roles: Vec<ProcessRole>,
}

/// Runs the service; the error with which it ends is a log line where the others are JSON. One of
/// the configuration is, too: lines are as it says, if that can be read.
pub(super) async fn run(args: ServeArgs, config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let roles = Roles::new(&args.roles);
    let names = roles.to_string();
    let (format, ended) = match config.load_to_serve() {
        Ok(config) => (config.telemetry.log_format, app::serve(config, roles).await),
        Err(error) => (config.log_format(), Err(error)),
    };
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if logs::report_fatal(format, &names, &app::in_words(&error)) => {
            Ok(exit::code_of_failure(&error))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn migrate(config: &Config) -> anyhow::Result<()> {
    logs::start(&config.telemetry, "migrate", None);
    let pool = app::reach_postgres(config).await?;
    let applied = migrations::migrate(&pool, clock::now_ms())
        .await
        .context("applying migrations")?;
    let applied = match applied.len() {
        1 => "1 migration was applied".to_owned(),
        count => format!("{count} migrations were applied"),
    };
    Ok(print(&format!("the schema is current; {applied}"))?)
}

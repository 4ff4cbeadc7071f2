//! `token create`

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::print;
use crate::app;
use crate::clock;
use crate::config::Config;
use crate::domain::site::SiteId;
use crate::record::tokens::{self, Role, Scope};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, once: what is stored is its hash
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// For every site, and for managing tokens
    #[arg(long, conflicts_with = "site")]
    admin: bool,
    /// For this site only; may be given several times
    #[arg(long, value_name = "SITE_ID")]
    site: Vec<SiteId>,
    /// What the token may do
    #[arg(long, value_enum, default_value_t = RoleArg::Editor)]
    role: RoleArg,
    /// Whom the audit log names for what is done with it
    #[arg(long, default_value = "command line")]
    subject: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Viewer,
    Editor,
}

pub(super) async fn run(command: TokenCommand, config: &Config) -> anyhow::Result<()> {
    let TokenCommand::Create(args) = command;
    let scope = match (args.admin, args.site.as_slice()) {
        (true, _) => Scope::Admin,
        (false, []) => bail!("name what the token is for: --admin, or --site SITE_ID"),
        (false, sites) => Scope::Sites(sites.iter().map(ToString::to_string).collect()),
    };
    let role = match args.role {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Editor => Role::Editor,
    };
    let pool = app::reach_postgres(config).await?;
    let mut connection = pool
        .acquire()
        .await
        .context("connecting to Postgres (postgres.url)")?;
    let token = tokens::create(&mut connection, &args.subject, &scope, role, clock::now())
        .await
        .context("storing the token (has `bellwether migrate` been run?)")?;
    print(&token);
    Ok(())
}

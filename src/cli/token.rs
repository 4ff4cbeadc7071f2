//! `token create`

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use sqlx::{Connection as _, PgConnection};

use super::output::print;
use crate::app;
use crate::clock;
use crate::config::Config;
use crate::domain::site::SiteId;
use crate::record::audit;
use crate::record::tokens::{self, NewToken, Role, Scope};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, once: what is stored is its hash
    Create(CreateArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("scope").required(true).args(["admin", "site"])))]
pub(super) struct CreateArgs {
    /// For every site, and for managing tokens
    #[arg(long)]
    admin: bool,
    /// For this site only; may be given several times
    #[arg(long, value_name = "SITE_ID")]
    site: Vec<SiteId>,
    /// Rights of the token: to look, or also to change
    #[arg(long, value_enum, default_value_t = RoleArg::Editor)]
    role: RoleArg,
    /// Name in the audit log for everything done with it
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
    let scope = if args.admin {
        Scope::Admin
    } else {
        Scope::Sites(args.site.iter().map(ToString::to_string).collect())
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
    let new = NewToken {
        subject: &args.subject,
        scope: &scope,
        role,
        expires_at: None,
    };
    let token = store(&mut connection, new)
        .await
        .context("storing the token (has `bellwether migrate` been run?)")?;
    Ok(print(&token)?)
}

/// Stores a token with its entry in the audit log; neither exists without the other.
async fn store(connection: &mut PgConnection, token: NewToken<'_>) -> sqlx::Result<String> {
    let now = clock::now();
    let mut tx = connection.begin().await?;
    let (id, text) = tokens::create(&mut tx, token, now).await?;
    let object = id.to_string();
    let entry = audit::AuditEntry {
        token_id: None,
        subject: "command line",
        action: "token.create",
        site_id: None,
        object: Some(&object),
        fields: &[],
    };
    audit::write(&mut tx, entry, now).await?;
    tx.commit().await?;
    Ok(text)
}

//! `token create|list|revoke`, straight in Postgres or over the API.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::calls::{self, ApiArgs, ApiClient, CallBody};
use super::config_args::ConfigArgs;
use super::output::{check_open, print, print_json};
use super::text::printable;
use super::values::time;
use crate::config::Config;
use crate::domain::id::TokenId;
use crate::domain::site::SiteId;
use crate::domain::texts::has_control;
use crate::domain::time::rfc3339;
use crate::record::audit;
use crate::record::tokens::{self, MAX_SUBJECT_CHARS, NewToken, Role, Scope, TokenRecord};
use crate::{app, clock};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    /// Ask the API with an admin token, in place of Postgres, which the first token is made in
    #[arg(long, global = true)]
    over_api: bool,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it, once: what is stored is its hash
    Create(CreateArgs),
    /// List the tokens that are not revoked, newest first
    List(ListedTokensArgs),
    /// Revoke a token: it is refused from the next request on
    Revoke {
        /// Id of the token, as `token list` shows it
        id: TokenId,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListedTokensArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
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
    #[arg(long, default_value = "command line", value_parser = subject)]
    subject: String,
    /// Time from which it is refused, such as 2027-02-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires_at: Option<DateTime<Utc>>,
}

/// Reads the end of a token, by the rule of the API.
fn expiry(text: &str) -> Result<DateTime<Utc>, String> {
    let at = time(text)?
        .parse::<DateTime<Utc>>()
        .map_err(|error| error.to_string())?;
    match at > clock::now() {
        true => Ok(at),
        false => Err("the time has passed already".to_owned()),
    }
}

/// Reads a subject, by the rule of the API.
fn subject(text: &str) -> Result<String, String> {
    let is_length_right = (1..=MAX_SUBJECT_CHARS).contains(&text.chars().count());
    if !is_length_right || has_control(text) {
        return Err(format!(
            "allowed: 1 to {MAX_SUBJECT_CHARS} characters, none of them a control character"
        ));
    }
    Ok(text.to_owned())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Viewer,
    Editor,
}

pub(super) async fn run(args: TokenArgs) -> anyhow::Result<()> {
    if args.over_api {
        return run_over_api(args.command, &ApiClient::new(&args.api)?).await;
    }
    run_in_postgres(args.command, &args.config.load()?).await
}

async fn run_over_api(command: TokenCommand, api: &ApiClient) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(args) => calls::token::create(api, &args.body()).await,
        TokenCommand::List(args) => calls::token::list(api, args.json).await,
        TokenCommand::Revoke { id } => calls::token::revoke(api, id).await,
    }
}

impl CreateArgs {
    /// The body of the call.
    fn body(&self) -> CallBody {
        let sites = (!self.admin).then(|| {
            self.site
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .into()
        });
        CallBody::of([
            ("admin", "--admin", self.admin.then(|| true.into())),
            ("sites", "--site", sites),
            ("role", "--role", Some(self.role().as_str().into())),
            ("subject", "--subject", Some(self.subject.clone().into())),
            (
                "expires_at",
                "--expires-at",
                self.expires_at.map(|at| rfc3339(at).into()),
            ),
        ])
    }

    fn role(&self) -> Role {
        match self.role {
            RoleArg::Viewer => Role::Viewer,
            RoleArg::Editor => Role::Editor,
        }
    }
}

async fn run_in_postgres(command: TokenCommand, config: &Config) -> anyhow::Result<()> {
    let pool = app::reach_postgres(config).await?;
    let mut connection = pool
        .acquire()
        .await
        .context("connecting to Postgres (postgres.url)")?;
    match command {
        TokenCommand::Create(args) => create(&mut connection, &args).await,
        TokenCommand::List(args) => list(&mut connection, &args).await,
        TokenCommand::Revoke { id } => revoke(&mut connection, id).await,
    }
}

async fn create(connection: &mut PgConnection, args: &CreateArgs) -> anyhow::Result<()> {
    let scope = if args.admin {
        Scope::Admin
    } else {
        Scope::Sites(args.site.iter().map(ToString::to_string).collect())
    };
    let new = NewToken {
        subject: &args.subject,
        scope: &scope,
        role: args.role(),
        expires_at: args.expires_at,
    };
    check_open()?;
    let (id, token) = store(connection, new).await.context("storing the token")?;
    let Err(lost) = print(&token) else {
        return Ok(());
    };
    let revoked = revoke(connection, id).await;
    Err(calls::token::unseen(lost, id, revoked).into())
}

/// Tokens read at once.
const BATCH: i64 = 500;

/// A token in a list. Its text is stored nowhere.
#[derive(Serialize)]
struct ListedToken {
    id: TokenId,
    subject: String,
    admin: bool,
    sites: Vec<String>,
    role: &'static str,
    prefix: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    inserted_at: String,
}

#[derive(Serialize)]
struct TokenList {
    data: Vec<ListedToken>,
}

async fn list(connection: &mut PgConnection, args: &ListedTokensArgs) -> anyhow::Result<()> {
    let mut data = Vec::new();
    loop {
        let after = data.last().map(|token: &ListedToken| token.id);
        let batch = tokens::list(connection, after, BATCH)
            .await
            .context("reading the tokens")?;
        let is_last = batch.is_empty();
        data.extend(batch.into_iter().map(ListedToken::from));
        if is_last {
            break;
        }
    }
    if args.json {
        return Ok(print_json(&serde_json::to_string(&TokenList { data })?)?);
    }
    let mut lines = vec![format!(
        "{:30}  {:9}  {:6}  {:24}  SUBJECT",
        "ID", "PREFIX", "ROLE", "LAST USED"
    )];
    for token in &data {
        lines.push(format!(
            "{:30}  {:9}  {:6}  {:24}  {}",
            token.id.to_string(),
            token.prefix,
            token.role,
            token.last_used_at.as_deref().unwrap_or("-"),
            printable(&token.subject)
        ));
    }
    Ok(print(&lines.join("\n"))?)
}

impl From<TokenRecord> for ListedToken {
    fn from(token: TokenRecord) -> Self {
        let (admin, sites) = match token.scope {
            Scope::Admin => (true, Vec::new()),
            Scope::Sites(sites) => (false, sites),
        };
        Self {
            id: token.id,
            prefix: token.prefix,
            subject: token.subject,
            admin,
            sites,
            role: token.role.as_str(),
            expires_at: token.expires_at.map(rfc3339),
            last_used_at: token.last_used_at.map(rfc3339),
            inserted_at: rfc3339(token.inserted_at),
        }
    }
}

async fn revoke(connection: &mut PgConnection, id: TokenId) -> anyhow::Result<()> {
    let now = clock::now();
    let mut tx = connection.begin().await?;
    anyhow::ensure!(
        tokens::revoke(&mut tx, id, now).await?,
        "there is no token {id}, or it is revoked already"
    );
    write_audit(&mut tx, "token.revoke", id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Stores a token with its entry in the audit log; neither exists without the other.
async fn store(connection: &mut PgConnection, token: NewToken<'_>) -> sqlx::Result<(TokenId, String)> {
    let now = clock::now();
    let mut tx = connection.begin().await?;
    let (id, text) = tokens::create(&mut tx, token, now).await?;
    write_audit(&mut tx, "token.create", id, now).await?;
    tx.commit().await?;
    Ok((id, text))
}

async fn write_audit(
    connection: &mut PgConnection,
    action: &str,
    id: TokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let object = id.to_string();
    let entry = audit::AuditEntry {
        token_id: None,
        subject: "command line",
        action,
        site_id: None,
        object: Some(&object),
        fields: &[],
    };
    audit::write(connection, entry, now).await
}

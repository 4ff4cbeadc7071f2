//! `webhook list|get|create|update|delete|test|rotate-secret|secret|recover|recovery`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::arguments::SiteArgs;
use super::body::{BodyArgs, given, unless_empty};
use super::client::{ApiAnswer, ApiClient};
use super::list::{self, PageArgs};
use super::recover::{self, RecoverArgs, RecoveryArgs};
use super::show::{OutputArgs, send_and_print};
use super::table::Column;
use crate::cli::output::{complain, print};
use crate::domain::id::WebhookId;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WebhookCommand {
    /// List the webhooks of a site
    List {
        #[command(flatten)]
        site: SiteArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a webhook
    Get(OneWebhook),
    Create(CreatedWebhook),
    /// Change the given settings of a webhook
    Update(UpdatedWebhook),
    /// Delete a webhook; its history stays
    Delete {
        /// Id of the webhook
        id: WebhookId,
        #[command(flatten)]
        site: SiteArgs,
    },
    Test(TestedWebhook),
    RotateSecret(RotatedWebhook),
    /// Print the secret, and nothing else; the audit log records it
    Secret(OneWebhook),
    Recover(RecoverArgs),
    /// Show how far a recovery has come, or cancel it
    Recovery(RecoveryArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OneWebhook {
    /// Id of the webhook
    id: WebhookId,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Settings of a webhook. Those without an argument of their own are given with --field or --body.
#[derive(Debug, Args)]
pub(in crate::cli) struct WebhookFields {
    /// URL to which notifications are sent
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Event types, with commas between them
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    events: Vec<String>,
    /// Name of the webhook
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Form of the notifications, such as json or slack
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Send notifications, or none
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    #[command(flatten)]
    body: BodyArgs,
}

/// Add a webhook to a site. The answer has its secret, which later answers mask.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreatedWebhook {
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    fields: WebhookFields,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpdatedWebhook {
    #[command(flatten)]
    one: OneWebhook,
    #[command(flatten)]
    fields: WebhookFields,
}

/// Send a sample to the endpoint now and show the outcome. Exits with 1 if it failed.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestedWebhook {
    #[command(flatten)]
    one: OneWebhook,
    /// Event type of the sample; by default the first one that the webhook subscribes to
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
}

/// Give a webhook a new secret. During the overlap requests are signed with both.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotatedWebhook {
    #[command(flatten)]
    one: OneWebhook,
    /// Seconds for which the old secret stays valid: 0 if it leaked, by default a day
    #[arg(long, value_name = "SECONDS")]
    overlap_seconds: Option<u32>,
    /// New secret; by default a random one
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// End the overlap now, and make no new secret
    #[arg(long, conflicts_with_all = ["overlap_seconds", "secret"])]
    finish: bool,
}

const COLUMNS: [Column; 5] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("STATE", "/health/state"),
    ("EVENTS", "/events"),
    ("URL", "/url"),
];

/// Runs the command.
pub(in crate::cli) async fn run(command: WebhookCommand, api: &ApiClient) -> anyhow::Result<ExitCode> {
    match command {
        WebhookCommand::List { site, output } => {
            let path = ["sites", site.site.as_str(), "webhooks"];
            list::show(api, &path, &[], &PageArgs::ALL, &COLUMNS, output).await?;
        }
        WebhookCommand::Get(one) => one.output.print(&one.read(api, &[]).await?)?,
        WebhookCommand::Create(args) => {
            let path = ["sites", args.site.site.as_str(), "webhooks"];
            send_and_print(api, Method::POST, &path, &args.fields.build()?, args.output).await?;
        }
        WebhookCommand::Update(args) => {
            let id = args.one.id.to_string();
            let path = args.one.path(&id, &[]);
            let body = args.fields.build()?;
            send_and_print(api, Method::PATCH, &path, &body, args.one.output).await?;
        }
        WebhookCommand::Delete { id, site } => {
            let path = ["sites", site.site.as_str(), "webhooks", &id.to_string()];
            api.delete(&path).await?;
        }
        WebhookCommand::Test(args) => return test(api, &args).await,
        WebhookCommand::RotateSecret(args) => rotate_secret(api, &args).await?,
        WebhookCommand::Secret(one) => show_secret(api, &one).await?,
        WebhookCommand::Recover(args) => return recover::start(api, &args).await,
        WebhookCommand::Recovery(args) => recover::show(api, &args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(api: &ApiClient, args: &TestedWebhook) -> anyhow::Result<ExitCode> {
    let id = args.one.id.to_string();
    let body = given([("event", args.event.clone().map(Value::from))]);
    let path = args.one.path(&id, &["test"]);
    let answer = api.send(Method::POST, &path, &body).await?;
    args.one.output.print(&answer)?;
    let outcome = answer.json()?;
    if outcome["status"] == "delivered" {
        return Ok(ExitCode::SUCCESS);
    }
    let why = outcome["error"].as_str().or_else(|| outcome["result"].as_str());
    complain(&format!(
        "the test failed: {}",
        why.unwrap_or("no reason is known")
    ));
    Ok(ExitCode::FAILURE)
}

async fn rotate_secret(api: &ApiClient, args: &RotatedWebhook) -> anyhow::Result<()> {
    let id = args.one.id.to_string();
    let body = given([
        ("overlap_seconds", args.overlap_seconds.map(Value::from)),
        ("secret", args.secret.clone().map(Value::from)),
        ("finish", args.finish.then(|| true.into())),
    ]);
    let path = args.one.path(&id, &["rotate-secret"]);
    send_and_print(api, Method::POST, &path, &body, args.one.output).await
}

async fn show_secret(api: &ApiClient, one: &OneWebhook) -> anyhow::Result<()> {
    let answer = one.read(api, &["secret"]).await?;
    if one.output.json {
        return one.output.print(&answer);
    }
    let secrets = answer.json()?;
    Ok(print(secrets["secret"].as_str().unwrap_or_default())?)
}

impl OneWebhook {
    fn path<'a>(&'a self, id: &'a str, below: &[&'a str]) -> Vec<&'a str> {
        [&["sites", self.site.site.as_str(), "webhooks", id], below].concat()
    }

    async fn read(&self, api: &ApiClient, below: &[&str]) -> anyhow::Result<ApiAnswer> {
        let id = self.id.to_string();
        api.get(&self.path(&id, below), &[]).await
    }
}

impl WebhookFields {
    fn build(&self) -> anyhow::Result<Map<String, Value>> {
        self.body.build(given([
            ("url", self.endpoint.clone().map(Value::from)),
            ("events", unless_empty(&self.events)),
            ("name", self.name.clone().map(Value::from)),
            ("format", self.format.clone().map(Value::from)),
            ("enabled", self.enabled.map(Value::from)),
        ]))
    }
}

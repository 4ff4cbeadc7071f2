//! `webhook list|get|create|update|delete|test|rotate-secret|secret|recover|recovery`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::arguments::SiteArgs;
use super::body::{BodyArgs, CallBody, unless_empty};
use super::client::{ApiAnswer, ApiClient};
use super::list::{self, PageArgs};
use super::recover::{self, RecoverArgs, RecoveryArgs};
use super::show::{OutputArgs, send_and_print};
use super::table::Column;
use crate::cli::exit::ExitCode;
use crate::cli::output::{check_open, complain, print};
use crate::cli::values::{secret, whole};
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::webhook::Format;

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
    /// Form of the notifications
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Format::WORDS))]
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
    #[arg(long, value_name = "TYPE", value_parser = sample_types())]
    event: Option<String>,
}

/// Give a webhook a new secret. During the overlap requests are signed with both.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotatedWebhook {
    #[command(flatten)]
    one: OneWebhook,
    /// Seconds for which the old secret stays valid: 0 if it leaked, by default a day
    #[arg(long, value_name = "SECONDS", value_parser = whole(0_u32..))]
    overlap_seconds: Option<u32>,
    /// New secret; by default a random one
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Option<Secret>,
    /// End the overlap now, and make no new secret
    #[arg(long, conflicts_with_all = ["overlap_seconds", "secret"])]
    finish: bool,
}

/// The types of which there are samples.
fn sample_types() -> PossibleValuesParser {
    let types = EventType::ALL.into_iter().filter(|one| *one != EventType::Test);
    PossibleValuesParser::new(types.map(EventType::as_str))
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
            create(api, &args).await?;
        }
        WebhookCommand::Update(args) => {
            let id = args.one.id.to_string();
            let path = args.one.path(&id, &[]);
            let body = args.fields.build()?.or_nothing_to_change()?;
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

async fn create(api: &ApiClient, args: &CreatedWebhook) -> anyhow::Result<()> {
    check_open()?;
    let site = args.site.site.as_str();
    let path = ["sites", site, "webhooks"];
    let made = api.send(Method::POST, &path, &args.fields.build()?).await?;
    made.note_warnings()?;
    args.output.print_or(&made, |made| {
        let id = made["id"].as_str().unwrap_or_default();
        format!(
            "webhook {id} was made, and nobody has seen its secret: `bellwether webhook secret {id} --site {site}` \
             prints it"
        )
    })
}

async fn test(api: &ApiClient, args: &TestedWebhook) -> anyhow::Result<ExitCode> {
    let id = args.one.id.to_string();
    let body = CallBody::of([("event", "--event", args.event.clone().map(Value::from))]);
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
    let secret = args.secret.as_ref().map(|secret| secret.reveal().into());
    let body = CallBody::of([
        (
            "overlap_seconds",
            "--overlap-seconds",
            args.overlap_seconds.map(Value::from),
        ),
        ("secret", "--secret", secret),
        ("finish", "--finish", args.finish.then(|| true.into())),
    ]);
    let path = args.one.path(&id, &["rotate-secret"]);
    check_open()?;
    let rotated = api.send(Method::POST, &path, &body).await?;
    rotated.note_warnings()?;
    args.one.output.print_or(&rotated, |_| {
        let site = &args.one.site.site;
        format!(
            "the secret of {id} was rotated, and the answer was not shown: `bellwether webhook secret {id} --site \
             {site} --json` prints the secrets"
        )
    })
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
    fn build(&self) -> anyhow::Result<CallBody> {
        self.body.build([
            ("url", "--endpoint", self.endpoint.clone().map(Value::from)),
            ("events", "--events", unless_empty(&self.events)),
            ("name", "--name", self.name.clone().map(Value::from)),
            ("format", "--format", self.format.clone().map(Value::from)),
            ("enabled", "--enabled", self.enabled.map(Value::from)),
        ])
    }
}

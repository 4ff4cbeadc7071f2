//! `site list|get|create|update|delete|status|activity`

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::body::{BodyArgs, CallBody, unless_empty};
use super::client::{ApiClient, is_not_found};
use super::list::{self, PageArgs};
use super::show::{OutputArgs, send_and_print};
use super::table::Column;
use crate::cli::values::{time, time_zone};
use crate::domain::site::SiteId;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SiteCommand {
    /// List the sites in the token's scope
    List {
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a site
    Get(OneSite),
    /// Register a site; fails if it is registered already
    Create(ChangedSite),
    /// Change the given settings of a site
    Update(ChangedSite),
    /// Erase a site with its webhooks, goals and history
    Delete {
        /// Id of the site
        site: SiteId,
    },
    /// Show current visitors, the usual ones, and the state of each trigger
    Status(OneSite),
    /// Show visitors per minute, or per hour over more than 31 days
    Activity {
        #[command(flatten)]
        site: OneSite,
        /// Start, such as 2026-02-25T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<String>,
        /// End
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OneSite {
    /// Id of the site
    site: SiteId,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ChangedSite {
    #[command(flatten)]
    one: OneSite,
    /// Name that notifications show
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// IANA time zone, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    time_zone: Option<String>,
    /// Another id that means this site; may be repeated
    #[arg(long = "alias", value_name = "SITE_ID")]
    aliases: Vec<SiteId>,
    #[command(flatten)]
    body: BodyArgs,
}

const COLUMNS: [Column; 5] = [
    ("ID", "/site_id"),
    ("NAME", "/name"),
    ("TIME ZONE", "/time_zone"),
    ("LAST EVENT", "/last_event_at"),
    ("OPEN EPISODES", "/open_episodes"),
];

/// Fields of a site's answer that a PUT does not take.
const READ_ONLY: [&str; 7] = [
    "site_id",
    "webhooks",
    "open_episodes",
    "first_event_at",
    "last_event_at",
    "inserted_at",
    "updated_at",
];

/// Runs the command.
pub(in crate::cli) async fn run(command: SiteCommand, api: &ApiClient) -> anyhow::Result<()> {
    match command {
        SiteCommand::List { page, output } => list::show(api, &["sites"], &[], &page, &COLUMNS, output).await,
        SiteCommand::Get(one) => show(api, &one, &[], &[]).await,
        SiteCommand::Create(changed) => create(api, &changed).await,
        SiteCommand::Update(changed) => update(api, &changed).await,
        SiteCommand::Delete { site } => api.delete(&["sites", site.as_str()]).await,
        SiteCommand::Status(one) => show(api, &one, &["status"], &[]).await,
        SiteCommand::Activity { site, from, to } => {
            let span = [("from", from), ("to", to)];
            let span: Vec<_> = span
                .into_iter()
                .filter_map(|(name, at)| Some((name, at?)))
                .collect();
            show(api, &site, &["activity"], &span).await
        }
    }
}

async fn show(
    api: &ApiClient,
    one: &OneSite,
    below: &[&str],
    query: &[(&str, String)],
) -> anyhow::Result<()> {
    let path = [&["sites", one.site.as_str()], below].concat();
    one.output.print(&api.get(&path, query).await?)
}

async fn create(api: &ApiClient, changed: &ChangedSite) -> anyhow::Result<()> {
    let body = changed.body()?;
    let path = ["sites", changed.one.site.as_str()];
    match api.get(&path, &[]).await {
        Ok(_) => anyhow::bail!(
            "the site {} is registered already; `bellwether site update` changes it",
            changed.one.site
        ),
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(error),
    }
    send_and_print(api, Method::PUT, &path, &body, changed.one.output).await
}

/// A PUT replaces everything, so what is not given is sent as it was.
async fn update(api: &ApiClient, changed: &ChangedSite) -> anyhow::Result<()> {
    let mut body = changed.body()?.or_nothing_to_change()?;
    let path = ["sites", changed.one.site.as_str()];
    let before = api.get(&path, &[]).await?;
    let mut fields: Map<String, Value> = serde_json::from_str(&before.text)?;
    fields.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    fields.append(&mut body.fields);
    body.fields = fields;
    send_and_print(api, Method::PUT, &path, &body, changed.one.output).await
}

impl ChangedSite {
    fn body(&self) -> anyhow::Result<CallBody> {
        self.body.build([
            ("name", "--name", self.name.clone().map(Value::from)),
            (
                "time_zone",
                "--time-zone",
                self.time_zone.clone().map(Value::from),
            ),
            ("aliases", "--alias", unless_empty(&self.aliases)),
        ])
    }
}

//! `delivery list|get|retry`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::SiteArgs;
use super::body::CallBody;
use super::client::ApiClient;
use super::follow::{DeliveryFollower, LOOK_EVERY};
use super::list::{self, PageArgs};
use super::show::{OutputArgs, send_and_print};
use super::table::{self, Column};
use crate::app::{Lifecycle, SecondSignal};
use crate::cli::output::print;
use crate::cli::values::time;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeliveryCommand {
    List(ListedDeliveries),
    /// Show a delivery with its payload and every attempt
    Get(OneDelivery),
    /// Send a delivery again now
    Retry(OneDelivery),
}

/// List the deliveries of a webhook, newest first.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListedDeliveries {
    #[command(flatten)]
    of: WebhookArgs,
    /// Statuses, with commas between them; `undelivered` is failed and cancelled
    #[arg(long, value_name = "STATUSES", value_delimiter = ',', value_parser = statuses())]
    status: Vec<String>,
    /// Event types, with commas between them
    #[arg(
        long,
        value_name = "TYPES",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(EventType::WORDS)
    )]
    event: Vec<String>,
    /// Earliest time of the notification, or of sending it again, such as 2026-02-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Then print new ones as they come, until Ctrl-C; the list is oldest first
    #[arg(long, conflicts_with = "after")]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OneDelivery {
    /// Id of the delivery
    id: DeliveryId,
    #[command(flatten)]
    of: WebhookArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Webhook whose deliveries are meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct WebhookArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// Id of the webhook
    #[arg(long, value_name = "WEBHOOK_ID")]
    webhook: WebhookId,
}

/// The statuses by which a list may be asked for.
fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(DeliveryStatus::WORDS.iter().copied().chain(["undelivered"]))
}

const COLUMNS: [Column; 7] = [
    ("CREATED", "/created_at"),
    ("ID", "/id"),
    ("EVENT", "/event_type"),
    ("STATUS", "/status"),
    ("ATTEMPTS", "/attempts"),
    ("RESPONSE", "/response_code"),
    ("REASON", "/failure_reason"),
];
/// Widths of the columns of a list that goes on, whose later rows are not known yet.
const WIDTHS: [usize; 7] = [24, 30, 23, 9, 8, 8, 6];

/// Runs the command.
pub(in crate::cli) async fn run(command: DeliveryCommand, api: &ApiClient) -> anyhow::Result<()> {
    match command {
        DeliveryCommand::List(args) if args.follow => follow(api, &args).await,
        DeliveryCommand::List(args) => {
            let webhook = args.of.webhook.to_string();
            let path = args.of.path(&webhook, &[]);
            list::show(api, &path, &args.filters(), &args.page, &COLUMNS, args.output).await
        }
        DeliveryCommand::Get(one) => {
            let (webhook, id) = (one.of.webhook.to_string(), one.id.to_string());
            one.output
                .print(&api.get(&one.of.path(&webhook, &[&id]), &[]).await?)
        }
        DeliveryCommand::Retry(one) => {
            let (webhook, id) = (one.of.webhook.to_string(), one.id.to_string());
            let path = one.of.path(&webhook, &[&id, "retry"]);
            send_and_print(api, Method::POST, &path, &CallBody::default(), one.output).await
        }
    }
}

async fn follow(api: &ApiClient, args: &ListedDeliveries) -> anyhow::Result<()> {
    let lifecycle = Lifecycle::default();
    let stop = lifecycle.stop.clone();
    tokio::select! {
        followed = print_new(api, args) => followed,
        watched = lifecycle.watch_signals(SecondSignal::IsIgnored) => watched,
        () = stop.cancelled() => Ok(()),
    }
}

/// Prints deliveries, one a line, until it is dropped.
async fn print_new(api: &ApiClient, args: &ListedDeliveries) -> anyhow::Result<()> {
    let site = &args.of.site;
    let mut follower = DeliveryFollower::new(api.clone(), site, args.of.webhook, args.filters());
    let mut new = follower.begin(args.page.limit()).await?;
    if !args.output.json {
        let titles = COLUMNS
            .iter()
            .zip(WIDTHS)
            .map(|((title, _), width)| format!("{title:width$}"));
        print(titles.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    loop {
        for row in &new {
            print(&line(row, args.output)?)?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        new = follower.next().await?;
    }
}

fn line(row: &RawValue, output: OutputArgs) -> anyhow::Result<String> {
    if output.json {
        return Ok(row.get().to_owned());
    }
    let row: Value = serde_json::from_str(row.get())?;
    Ok(table::line(&COLUMNS, &row, &WIDTHS))
}

impl ListedDeliveries {
    fn filters(&self) -> Vec<(&'static str, String)> {
        let listed = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
        let filters = [
            ("status", listed(&self.status)),
            ("event", listed(&self.event)),
            ("since", self.since.clone()),
        ];
        filters
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

impl WebhookArgs {
    fn path<'a>(&'a self, webhook: &'a str, below: &[&'a str]) -> Vec<&'a str> {
        let site = self.site.site.as_str();
        [&["sites", site, "webhooks", webhook, "deliveries"], below].concat()
    }
}

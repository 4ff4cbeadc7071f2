//! `alert list`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::arguments::SiteArgs;
use super::client::ApiClient;
use super::list::{self, PageArgs};
use super::show::OutputArgs;
use super::table::Column;
use crate::cli::values::time;
use crate::domain::event::EventType;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AlertCommand {
    List(ListedAlerts),
}

/// List the episodes of a site, newest first, also those that were suppressed.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListedAlerts {
    #[command(flatten)]
    site: SiteArgs,
    /// Event types, with commas between them
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = events())]
    event: Vec<String>,
    /// Earliest time, such as 2026-02-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The event types that an alert may have.
fn events() -> PossibleValuesParser {
    PossibleValuesParser::new(EventType::WITH_EPISODES.map(EventType::as_str))
}

const COLUMNS: [Column; 7] = [
    ("ID", "/id"),
    ("EVENT", "/event"),
    ("STARTED", "/started_at"),
    ("ENDED", "/ended_at"),
    ("PEAK", "/peak"),
    ("THRESHOLD", "/threshold"),
    ("SUPPRESSED", "/suppressed"),
];

/// Runs the command.
pub(in crate::cli) async fn run(command: AlertCommand, api: &ApiClient) -> anyhow::Result<()> {
    let AlertCommand::List(args) = command;
    let events = (!args.event.is_empty()).then(|| args.event.join(","));
    let query = [("event", events), ("since", args.since)];
    let query: Vec<_> = query
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
        .collect();
    let path = ["sites", args.site.site.as_str(), "alerts"];
    list::show(api, &path, &query, &args.page, &COLUMNS, args.output).await
}

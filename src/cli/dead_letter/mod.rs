//! `dead-letter list`: the deliveries that failed for good, as they lie in Kafka.

mod fetch;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::fetch::{DeadRecord, FetchedRecords};
use super::output::{complain, print, print_json};
use super::text::printable;
use super::values::whole;
use crate::app;
use crate::cli::exit::ExitCode;
use crate::config::Config;
use crate::dispatch::record::header;
use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;
use crate::domain::time::{from_ms, rfc3339};
use crate::kafka::rights::NeededRights;
use crate::telemetry::logs;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    List(ListArgs),
}

/// List the newest records of the dead-letter topic, newest first.
///
/// They are the deliveries that failed for good, and records of Bellwether's own topics that could
/// not be read. It reads only, joins no group and commits nothing. `webhook recover` and `delivery
/// retry` send them again.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Most records that are listed, and records to read of each partition
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = whole(1..=100_000_u32))]
    last: u32,
    /// List those of this site only
    #[arg(long, value_name = "SITE_ID")]
    site: Option<SiteId>,
    /// List those of this webhook only
    #[arg(long, value_name = "WEBHOOK_ID")]
    webhook: Option<WebhookId>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A record of the dead-letter topic. What its headers do not tell is null.
#[derive(Debug, Serialize)]
struct DeadLetter {
    at: Option<String>,
    partition: i32,
    offset: i64,
    delivery_id: Option<String>,
    notification_id: Option<String>,
    webhook_id: Option<String>,
    site_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    attempts: Option<u32>,
    last_status: Option<u16>,
    /// Place that the record was read from, as `topic/partition/offset`.
    original: Option<String>,
}

#[derive(Serialize)]
struct DeadLetterList<'a> {
    data: &'a [DeadLetter],
}

/// Reads and prints the list.
pub(super) async fn run(command: DeadLetterCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let DeadLetterCommand::List(args) = command;
    logs::start(&config.telemetry, "dead-letter", None);
    let topic = config.kafka.topic("dead-letter");
    app::reach_kafka(config, &[NeededRights::to_read(&topic)]).await?;
    let (kafka, last) = (config.kafka.clone(), args.last);
    let fetched = tokio::task::spawn_blocking(move || fetch::fetch(&kafka, &topic, last)).await??;
    let FetchedRecords { mut records, unread } = fetched;
    records.sort_by_key(|record| std::cmp::Reverse((record.at_ms, record.partition, record.offset)));
    let mut letters: Vec<DeadLetter> = records.into_iter().map(DeadLetter::from).collect();
    letters.retain(|letter| args.wants(letter));
    letters.truncate(args.last as usize);
    if args.json {
        print_json(&serde_json::to_string(&DeadLetterList { data: &letters })?)?;
    } else {
        print(&text(&letters))?;
    }
    // What was read is shown, and the reader told that it is not all.
    match unread {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            complain(&why);
            Ok(ExitCode::FAILURE)
        }
    }
}

impl ListArgs {
    fn wants(&self, letter: &DeadLetter) -> bool {
        let is_of = |wanted: Option<String>, found: &Option<String>| wanted.is_none() || wanted == *found;
        is_of(self.site.as_ref().map(ToString::to_string), &letter.site_id)
            && is_of(self.webhook.map(|id| id.to_string()), &letter.webhook_id)
    }
}

impl From<DeadRecord> for DeadLetter {
    fn from(record: DeadRecord) -> Self {
        let headers: BTreeMap<String, String> = record.headers.into_iter().collect();
        let text = |name: &str| headers.get(name).cloned();
        let original = [
            header::ORIGINAL_TOPIC,
            header::ORIGINAL_PARTITION,
            header::ORIGINAL_OFFSET,
        ];
        let original: Option<Vec<String>> = original.into_iter().map(text).collect();
        Self {
            at: record.at_ms.map(|ms| rfc3339(from_ms(ms))),
            partition: record.partition,
            offset: record.offset,
            delivery_id: text(header::DELIVERY_ID),
            notification_id: text(header::NOTIFICATION_ID),
            webhook_id: record.key,
            site_id: text(header::SITE_ID),
            event_type: text(header::EVENT_TYPE),
            reason: text(header::REASON),
            attempts: text(header::ATTEMPT).and_then(|text| text.parse().ok()),
            last_status: text(header::LAST_STATUS).and_then(|text| text.parse().ok()),
            original: original.map(|parts| parts.join("/")),
        }
    }
}

/// The list for people.
fn text(letters: &[DeadLetter]) -> String {
    let mut lines = vec![format!(
        "{:24}  {:30}  {:29}  {:16}  {:8}  {:6}  SITE",
        "AT", "DELIVERY", "WEBHOOK", "REASON", "ATTEMPTS", "STATUS"
    )];
    for letter in letters {
        let shown = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
        lines.push(format!(
            "{:24}  {:30}  {:29}  {:16}  {:8}  {:6}  {}",
            shown(&letter.at),
            shown(&letter.delivery_id),
            shown(&letter.webhook_id),
            shown(&letter.reason),
            letter
                .attempts
                .map_or("-".to_owned(), |attempts| attempts.to_string()),
            letter
                .last_status
                .map_or("-".to_owned(), |status| status.to_string()),
            shown(&letter.site_id),
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&str, &str)]) -> DeadLetter {
        DeadLetter::from(DeadRecord {
            partition: 3,
            offset: 7,
            at_ms: Some(0),
            key: Some("wh_\u{1b}".to_owned()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
    }

    #[test]
    fn a_record_that_is_no_delivery_is_listed_with_its_place() {
        let odd = letter(&[
            ("bw-reason", "bad_key"),
            ("bw-original-topic", "bellwether.deliveries"),
            ("bw-original-partition", "3"),
            ("bw-original-offset", "12"),
        ]);
        assert_eq!(odd.original.as_deref(), Some("bellwether.deliveries/3/12"));
        assert_eq!((odd.delivery_id.as_deref(), odd.attempts), (None, None));
        let shown = text(&[odd]);
        assert!(shown.contains("bad_key") && !shown.contains('\u{1b}'), "{shown}");
    }
}

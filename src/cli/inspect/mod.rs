//! `sources inspect`: the records of a source as the detector understands them, and the reasons why
//! nothing comes of them.

mod sample;
mod fetch;
mod sites;
mod fields;
mod refused_value;
mod copies;
mod event_part;
mod record;
mod findings;
mod report;
mod text;
mod words;

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::copies::mark_copies;
use self::fetch::SampleRequest;
use self::findings::{Facts, Severity, find};
use self::record::{ReadSettings, inspect, site_of};
use self::report::{InspectReport, InspectedSource};
use self::sample::Sample;
use self::sites::IndexedSites;
use self::text::text_of;
use self::words::variants;
use super::output::{print, print_json};
use super::values::whole;
use crate::app::{self, ProcessRole};
use crate::cli::exit::ExitCode;
use crate::clock;
use crate::config::{Config, Source};
use crate::ingest::formats::RecordReader;
use crate::kafka::rights::NeededRights;
use crate::record::{connect, known, pool};
use crate::telemetry::logs;

#[derive(Debug, Subcommand)]
pub(super) enum SourcesCommand {
    Inspect(InspectArgs),
}

/// Read the last records of the source topics and say how each is understood, or why not.
///
/// The answer to "I connected my topic and nothing happens": it ends with what stands between the
/// events and the webhooks, the likeliest cause first, and what to do about each. It reads only,
/// joins no group and never prints who a visitor was. Postgres may be away; then it cannot say
/// which sites are registered. Exits with 1 if anything keeps events from their webhooks.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A topic; by default every source of the configuration
    topic: Option<String>,
    /// Records to read of each partition
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = whole(1..=100_000_u32))]
    last: u32,
    /// Print every record that was read, not only the newest
    #[arg(long)]
    all: bool,
    /// Print one JSON document, with every record
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: SourcesCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let SourcesCommand::Inspect(args) = command;
    logs::start(&config.telemetry, "sources", None);
    let wanted = wanted(&args, config);
    let needed = wanted
        .iter()
        .map(|(source, _)| NeededRights::to_read(&source.topic));
    app::reach_kafka(config, &needed.collect::<Vec<_>>()).await?;
    let mut samples = Vec::new();
    // All samples are held at once.
    let max_bytes = MAX_BYTES / wanted.len().max(1);
    for (source, is_source) in wanted {
        let kafka = config.kafka.clone();
        let request = SampleRequest {
            topic: source.topic.clone(),
            last: args.last,
            max_bytes,
            reader: match source.is_keyed() {
                true => ProcessRole::Detect,
                false => ProcessRole::Route,
            },
        };
        let sampling = move || fetch::take_sample(&kafka, &request);
        let sample = tokio::task::spawn_blocking(sampling).await??;
        samples.push((source, is_source, sample));
    }
    let sites = registered_sites(config, &samples).await;
    let known = sites.as_ref().ok();
    let sources: Vec<InspectedSource> = samples
        .into_iter()
        .map(|(source, is_source, sample)| inspected(config, &source, is_source, sample, &sites))
        .collect();
    if args.json {
        let sources = sources.iter().map(|source| source.report(known)).collect();
        print_json(&serde_json::to_string_pretty(&InspectReport { sources })?)?;
    } else {
        let texts: Vec<String> = sources.iter().map(|one| text_of(one, known, args.all)).collect();
        print(texts.join("\n\n").trim_end())?;
    }
    let mut findings = sources.iter().flat_map(|source| &source.findings);
    Ok(if findings.any(|one| one.severity == Severity::Problem) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The sources to look at; true beside each that the configuration has.
fn wanted(args: &InspectArgs, config: &Config) -> Vec<(Source, bool)> {
    let sources = &config.sources.0;
    match &args.topic {
        None => sources.iter().map(|source| (source.clone(), true)).collect(),
        Some(topic) => {
            let own = sources.iter().find(|source| source.topic == *topic);
            let source = own.cloned().unwrap_or_else(|| Source {
                topic: topic.clone(),
                ..Source::default()
            });
            vec![(source, own.is_some())]
        }
    }
}

/// The registered sites among those in the records and those that may be meant by them, or the
/// reason why Postgres could not be asked.
async fn registered_sites(
    config: &Config,
    samples: &[(Source, bool, Sample)],
) -> Result<IndexedSites, String> {
    let mut ids = BTreeSet::new();
    for (source, _, sample) in samples {
        let reader = RecordReader::of(source);
        for id in sample
            .records
            .iter()
            .filter_map(|record| site_of(record, &reader))
        {
            ids.extend(variants(&id));
            ids.insert(id);
        }
    }
    let ids: Vec<String> = ids.into_iter().collect();
    // One connection and not a pool, which would hide why it gets none.
    let options = pool::connect_options(&app::pool_settings(config)).map_err(|error| error.to_string())?;
    let connected = connect::connect(&options).await;
    let mut connection = connected.map_err(|error| error.to_string())?;
    match tokio::time::timeout(POSTGRES_TIMEOUT, known::sites(&mut connection, &ids)).await {
        Ok(Ok(sites)) => Ok(IndexedSites::new(sites)),
        Ok(Err(error))
            if error
                .as_database_error()
                .is_some_and(|error| error.code().as_deref() == Some(NO_SUCH_TABLE)) =>
        {
            Err("its schema is not there (`bellwether migrate` makes it)".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Most bytes of records that are kept, of all sources together.
const MAX_BYTES: usize = 256 << 20;
/// Time within which Postgres has to answer.
const POSTGRES_TIMEOUT: Duration = Duration::from_secs(5);
/// `undefined_table`, from PostgreSQL's list of error codes.
const NO_SUCH_TABLE: &str = "42P01";

fn inspected(
    config: &Config,
    source: &Source,
    is_source: bool,
    sample: Sample,
    sites: &Result<IndexedSites, String>,
) -> InspectedSource {
    let now_ms = clock::now_ms();
    let reader = RecordReader::of(source);
    let settings = ReadSettings {
        reader: &reader,
        is_keyed: source.is_keyed(),
        clock: source.clock,
        partitions: i32::try_from(sample.offsets.len()).unwrap_or(i32::MAX),
        now_ms,
        stale_after_ms: i64::try_from(config.detect.stale_after.as_millis()).unwrap_or(i64::MAX),
    };
    let hasher = RandomState::new();
    let mut records = inspect(&sample.records, settings, sites.as_ref().ok(), &hasher);
    mark_copies(&mut records);
    let findings = find(&Facts {
        topic: &source.topic,
        is_source,
        is_keyed: source.is_keyed(),
        brokers: &config.kafka.brokers,
        partitions: config.kafka.partitions,
        sample: &sample,
        records: &records,
        sites: sites.as_ref().map_err(String::as_str),
        now_ms,
    });
    InspectedSource {
        topic: source.topic.clone(),
        format: source.format.to_string(),
        clock: source.clock.to_string(),
        is_keyed: source.is_keyed(),
        sample,
        records,
        findings,
        now_ms,
    }
}

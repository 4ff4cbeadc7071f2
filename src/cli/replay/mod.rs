//! `replay`: publishes a file of events to a source topic, at their original pace or faster.
//!
//! In comes a file, plain or gzip, or stdin; out go records keyed by site, in the order of the
//! lines. Timestamps stay as they are unless `--now` moves them, but for those in another unit,
//! which become milliseconds. Kafka's own record time is the present, so a source with
//! `clock = "live"` gets no events of another time: it would count them at the wrong time, or
//! notify nobody.

mod answers;
mod input;
mod pace;
mod progress;
mod publish;
mod times;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use self::answers::Answers;
use self::input::{FirstLines, Input};
use self::pace::Pace;
use self::progress::Progress;
use self::publish::EventPublisher;
use self::times::Times;
use super::exit::UsageError;
use super::output::print;
use super::text::counted;
use crate::app::{Lifecycle, SecondSignal};
use crate::clock;
use crate::config::{Config, Source, SourceFormat};
use crate::domain::event::SourceClock;
use crate::domain::site::SiteId;
use crate::ingest::formats::retimed;
use crate::ingest::replay_file::{Parsed, ReplayLineReader, Skips};
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::own_name;
use crate::telemetry::logs;
use crate::telemetry::metrics::{Labels, Metrics};

/// Time in which a replay that was stopped should have ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The file, plain or gzip, or `-` for stdin: events as JSON lines, or an access log in common
    /// or combined format
    file: PathBuf,
    /// The site an access log belongs to
    #[arg(long, value_name = "SITE_ID")]
    site: Option<SiteId>,
    /// Kind of the file's lines
    #[arg(long, value_enum, default_value_t = FileFormat::Auto, requires_if("access-log", "site"))]
    format: FileFormat,
    /// The source to publish to, or with --now any other topic; by default the first source
    #[arg(long)]
    topic: Option<String>,
    /// Times faster than the timestamps say; 0 means as fast as possible
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Publish the events as if the first happened now and the others after it, at the pace of
    /// --speed
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// `access-log` when --site is given, else `events`
    Auto,
    /// Native events, one JSON object a line
    Events,
    /// Common or combined log format
    AccessLog,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("allowed: 0 or a positive number".into()),
    }
}

pub(super) async fn run(args: ReplayArgs, config: Config) -> anyhow::Result<()> {
    logs::start(&config.telemetry, "replay", None);
    let lifecycle = Lifecycle::default();
    let (stop, answers) = (lifecycle.stop.clone(), Arc::<Answers>::default());
    let (noted, brokers) = (Arc::clone(&answers), config.kafka.brokers.clone());
    // The file is read and the pace is kept on a thread that may block.
    let replayed = tokio::task::spawn_blocking(move || replay(&args, &config, &stop, noted));
    let stalled = async {
        answers.stall(&brokers).await;
        lifecycle.stop.cancel();
        std::future::pending::<()>().await;
    };
    let published = tokio::select! {
        replayed = replayed => replayed??,
        watched = lifecycle.clone().watch_signals(SecondSignal::Exits) => return watched,
        () = stalled => return Ok(()),
        () = overdue(&lifecycle.stop) => {
            answers.check_stalled()?;
            bail!(
                "stopped by a signal; events acknowledged by then: {}",
                answers.acknowledged()
            )
        }
    };
    Ok(print(&published)?)
}

/// Returns when a replay that was stopped should have ended: its input or the brokers keep it
/// waiting.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
}

/// Publishes the file, until `stop` is cancelled; returns the sentence about it.
fn replay(
    args: &ReplayArgs,
    config: &Config,
    stop: &CancellationToken,
    answers: Arc<Answers>,
) -> anyhow::Result<String> {
    let mut input = Input::open(&args.file)?;
    let (topic, source) = target(args, config)?;
    let reader = line_reader(args, &mut input, source.and_then(|source| source.site.as_deref()))?;
    let is_live = source.is_some_and(|source| source.clock == SourceClock::Live);
    let stale_after = is_live.then_some(config.detect.stale_after);
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    let client_events = ClientEvents::new(metrics).with_principal(&config.kafka);
    let publisher = EventPublisher::connect(config, &topic, client_events, answers)?;
    let mut replay = Replay {
        pace: Pace::new(args.speed),
        times: Times::new(args.now, args.speed, stale_after),
        progress: Progress::new(input.size()),
        skips: Skips::default(),
        publisher,
        handed_over: 0,
        stop,
    };
    let read = replay.run(&mut input, &reader);
    replay.progress.finish();
    let answers = replay.publisher.answers();
    // It says itself how many were.
    answers.check_stalled()?;
    let published = answers.acknowledged();
    let lines = read.map_err(|error| anyhow!("{error:#} (events published before: {published})"))?;
    let skipped = replay.skips.summary();
    if stop.is_cancelled() {
        bail!(
            "stopped by a signal after line {lines} of {}: {} published to {topic}{skipped}",
            input.name(),
            counted(published, "event")
        );
    }
    if published == 0 {
        let wanted = match reader {
            ReplayLineReader::Events(_) => "an event",
            ReplayLineReader::AccessLog { .. } => "a page view of an access log",
        };
        bail!(
            "nothing was published: no line of {} is {wanted}{skipped}",
            input.name()
        );
    }
    Ok(format!(
        "published {} to {topic}{skipped}",
        counted(published, "event")
    ))
}

/// A replay under way.
struct Replay<'a> {
    pace: Pace,
    times: Times,
    progress: Progress,
    skips: Skips,
    publisher: EventPublisher,
    /// Bytes of the file whose events were handed over.
    handed_over: u64,
    stop: &'a CancellationToken,
}

impl Replay<'_> {
    /// Publishes the events of all lines, or of those read until the replay is stopped. Returns the
    /// number of lines read.
    fn run(&mut self, input: &mut Input, reader: &ReplayLineReader) -> anyhow::Result<u64> {
        let read = self.publish_lines(input, reader);
        // After an error, too: what was handed over is published, and counted.
        let progress = &self.progress;
        let finished = self.publisher.finish(|waiting| {
            progress.say(&match waiting {
                1 => "waiting for 1 acknowledgement".to_owned(),
                _ => format!("waiting for {waiting} acknowledgements"),
            });
        });
        let lines = read?;
        finished?;
        Ok(lines)
    }

    fn publish_lines(&mut self, input: &mut Input, reader: &ReplayLineReader) -> anyhow::Result<u64> {
        let mut line = Vec::new();
        let mut number = 0_u64;
        while !self.stop.is_cancelled() && input.read_line(&mut line)? {
            number += 1;
            self.progress
                .set(self.handed_over, self.publisher.answers(), clock::monotonic());
            match reader.read(line.trim_ascii_end()) {
                Parsed::Blank => {}
                Parsed::Skipped(reason) => {
                    if let Some(text) = self.skips.count(number, reason) {
                        self.progress.say(&text);
                    }
                }
                Parsed::Event { key, value, at_ms } => {
                    let event = self.event(&key, value, at_ms);
                    if !event.with_context(|| format!("line {number} of {}", input.name()))? {
                        number -= 1;
                    }
                }
            }
            self.handed_over = input.position();
        }
        Ok(number)
    }

    /// Publishes an event when it is due. Returns false if the replay was stopped before.
    fn event(&mut self, key: &str, mut value: Vec<u8>, at_ms: Option<i64>) -> anyhow::Result<bool> {
        // An event without a time happens when it is published.
        if let Some(at_ms) = at_ms {
            self.pace.wait_for(at_ms, self.stop, || {
                let answers = self.publisher.answers();
                self.progress.set(self.handed_over, answers, clock::monotonic());
            });
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let moved_ms = self.times.at(at_ms, clock::now_ms()).map_err(|old| {
                let topic = self.publisher.topic();
                anyhow!("{topic} has clock = \"live\", and {old}")
            })?;
            if moved_ms != at_ms {
                value = retimed::with_timestamp(&value, moved_ms)?;
            }
        }
        self.publisher.publish(key, &value)?;
        Ok(true)
    }
}

/// Refuses a source whose records are not read as the native events that are published.
fn check_format(source: &Source) -> anyhow::Result<()> {
    let is_native = matches!(source.format, SourceFormat::Native | SourceFormat::Cloudevents);
    anyhow::ensure!(
        is_native,
        "{} is read as {}, and `replay` publishes native events: name a source with format = \"native\" by --topic",
        source.topic,
        source.format
    );
    Ok(())
}

/// The topic to publish to, and its source if it is one's.
fn target<'c>(args: &ReplayArgs, config: &'c Config) -> anyhow::Result<(String, Option<&'c Source>)> {
    let sources = &config.sources.0;
    match &args.topic {
        Some(topic) => {
            let source = sources.iter().find(|source| source.topic == *topic);
            source.map_or(Ok(()), check_format)?;
            anyhow::ensure!(
                source.is_some() || own_name(&config.kafka.topic_prefix, topic).is_none(),
                "{topic} is one of Bellwether's own topics: `replay` publishes to the topic of a source"
            );
            // Its clock is unknown: another process may read it as live, as with `--now` it may.
            if source.is_none() && !args.now {
                let names: Vec<&str> = sources.iter().map(|source| source.topic.as_str()).collect();
                return Err(usage(&format!(
                    "{topic} is no source of the configuration, so nobody knows if it takes events of the past: name \
                     one of its sources ({}), or publish the events as if they happened now, with --now",
                    names.join(", ")
                )));
            }
            Ok((topic.clone(), source))
        }
        None => {
            let source = sources.first().context("no source is configured")?;
            check_format(source)?;
            Ok((source.topic.clone(), Some(source)))
        }
    }
}

/// The reader of the file's lines. An event that names no site is of `default_site`.
fn line_reader(
    args: &ReplayArgs,
    input: &mut Input,
    default_site: Option<&str>,
) -> anyhow::Result<ReplayLineReader> {
    let is_access_log = match args.format {
        FileFormat::Auto => args.site.is_some(),
        FileFormat::Events => false,
        FileFormat::AccessLog => true,
    };
    match (&args.site, is_access_log) {
        (Some(site), true) => Ok(ReplayLineReader::access_log(site.clone(), crate::chance::bytes())),
        (Some(_), false) => Err(usage(
            "--site is for access logs; events name their site themselves",
        )),
        (None, true) => Err(usage("an access log needs --site: the site its lines belong to")),
        (None, false) => match input.first_lines()? {
            FirstLines::AccessLog if args.format == FileFormat::Auto => Err(usage(&format!(
                "{} is an access log: say with --site SITE_ID which site its lines belong to",
                input.name()
            ))),
            _ => Ok(ReplayLineReader::events(default_site)),
        },
    }
}

fn usage(text: &str) -> anyhow::Error {
    UsageError(text.to_owned()).into()
}

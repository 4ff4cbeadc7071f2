//! `replay`: publishes a file of events to a source topic, at their original pace or faster.
//!
//! Timestamps stay as they are in the file, and so does the order of its lines; only the pace changes. Kafka's own record
//! time is the present, so such a topic is read with `clock = "log"`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print;
use crate::app;
use crate::clock;
use crate::config::Config;
use crate::domain::site::SiteId;
use crate::ingest::replay_file::{Parsed, ReplayLineReader, Skips};
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::{Outgoing, Publisher};
use crate::telemetry::metrics::{Labels, Metrics};

/// Longest line read.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// How often a line is logged where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The file: events as JSON lines, or an access log in common or combined format
    file: PathBuf,
    /// The site an access log belongs to
    #[arg(long, value_name = "SITE_ID")]
    site: Option<SiteId>,
    /// What the file's lines are
    #[arg(long, value_enum, default_value_t = FileFormat::Auto)]
    format: FileFormat,
    /// The topic to publish to; by default the first source
    #[arg(long)]
    topic: Option<String>,
    /// How many times faster than the timestamps say; 0 means as fast as possible
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
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

pub(super) async fn run(args: ReplayArgs, config: &Config) -> anyhow::Result<()> {
    app::reach_kafka(config).await?;
    let config = config.clone();
    // The file is read and the pace is kept on a thread that may block.
    tokio::task::spawn_blocking(move || replay(&args, &config)).await?
}

fn replay(args: &ReplayArgs, config: &Config) -> anyhow::Result<()> {
    let reader = reader(args)?;
    let topic = match &args.topic {
        Some(topic) => topic.clone(),
        None => config
            .sources
            .0
            .first()
            .map(|source| source.topic.clone())
            .context("no source is configured")?,
    };
    let file =
        File::open(&args.file).with_context(|| format!("the file {} cannot be read", args.file.display()))?;
    let size = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let publisher = Publisher::new(
        &config.kafka,
        ClientEvents::new(Arc::new(Metrics::new(&Labels::default()))),
    )?;
    let failed = Arc::new(AtomicU64::new(0));
    let mut progress = Progress::new(size);
    let mut pace = Pace::new(args.speed);
    let mut skips = Skips::default();
    let mut published = 0_u64;
    let mut lines = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        number += 1;
        if read as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") {
            bail!("line {number} is longer than {MAX_LINE_BYTES} bytes");
        }
        progress.advance(read as u64, published, clock::monotonic);
        match reader.read(line.trim_ascii_end()) {
            Parsed::Blank => {}
            Parsed::Skipped(reason) => {
                if let Some(text) = skips.count(number, reason) {
                    progress.say(&text);
                }
            }
            Parsed::Event { key, value, at_ms } => {
                if let Some(at_ms) = at_ms {
                    pace.wait_for(at_ms, || progress.tick());
                }
                hand_over(&publisher, &topic, &key, &value, &failed);
                published += 1;
            }
        }
    }
    while !publisher.flush(Duration::from_secs(1)) {
        progress.say(&format!(
            "waiting for {} acknowledgements",
            publisher.unacknowledged()
        ));
    }
    progress.finish();
    let failed = failed.load(Ordering::Relaxed);
    if failed > 0 {
        bail!(
            "{failed} of {published} events were refused by {topic}; is the topic there? (`bellwether topics create`)"
        );
    }
    print(&format!(
        "published {published} events to {topic}{}",
        skips.summary()
    ));
    Ok(())
}

fn reader(args: &ReplayArgs) -> anyhow::Result<ReplayLineReader> {
    let access_log = match args.format {
        FileFormat::Auto => args.site.is_some(),
        FileFormat::Events => false,
        FileFormat::AccessLog => true,
    };
    match (&args.site, access_log) {
        (Some(site), true) => Ok(ReplayLineReader::access_log(site.clone(), crate::chance::bytes())),
        (None, true) => bail!("an access log needs --site: the site its lines belong to"),
        (Some(_), false) => bail!("--site is for access logs; events name their site themselves"),
        (None, false) => Ok(ReplayLineReader::events()),
    }
}

fn hand_over(publisher: &Publisher, topic: &str, key: &str, value: &[u8], failed: &Arc<AtomicU64>) {
    let record = Outgoing {
        topic,
        partition: None,
        key: Some(key.as_bytes()),
        value: Some(value),
        headers: &[],
        passed_on: &[],
    };
    loop {
        let failed = Arc::clone(failed);
        let done = move |result: Result<(), _>| {
            if result.is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        };
        if publisher.try_publish(record, done) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Keeps the file's pace, `speed` times faster. Lines out of order are published at once: time does not go back.
struct Pace {
    speed: f64,
    start: Option<(i64, Instant)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, start: None }
    }

    fn wait_for(&mut self, at_ms: i64, mut meanwhile: impl FnMut()) {
        if self.speed == 0.0 {
            return;
        }
        let now = clock::monotonic();
        let (first_ms, started) = *self.start.get_or_insert((at_ms, now));
        let ahead_ms = at_ms.saturating_sub(first_ms).max(0);
        let due = started + Duration::from_secs_f64((ahead_ms as f64 / 1_000.0 / self.speed).min(1e9));
        let mut now = now;
        while now < due {
            meanwhile();
            std::thread::sleep((due - now).min(Duration::from_millis(100)));
            now = clock::monotonic();
        }
    }
}

/// A bar on a terminal, log lines elsewhere.
struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    last_line: Instant,
    size: u64,
    read: u64,
}

impl Progress {
    fn new(size: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr_with_hz(10));
        let style =
            ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed} (about {eta} left)");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let on_terminal = !bar.is_hidden();
        Self {
            bar,
            on_terminal,
            last_line: clock::monotonic(),
            size,
            read: 0,
        }
    }

    fn advance(&mut self, bytes: u64, published: u64, now: impl FnOnce() -> Instant) {
        self.read += bytes;
        if self.on_terminal {
            self.bar.set_position(self.read);
            self.bar.set_message(format!("{published} events"));
        } else {
            let now = now();
            if now.duration_since(self.last_line) >= LOG_EVERY {
                self.last_line = now;
                tracing::info!(
                    published,
                    percent = self.read * 100 / self.size.max(1),
                    "replaying"
                );
            }
        }
    }

    fn tick(&self) {
        self.bar.tick();
    }

    fn say(&self, text: &str) {
        if self.on_terminal {
            self.bar.println(text)
        } else {
            tracing::warn!("{text}")
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

//! A watch over the role `route`, for detectors: their silent sites wait for what it has not passed
//! on yet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::context::AppContext;
use crate::clock;
use crate::ingest::route::progress::{RouteProgress, RoutedUntil};
use crate::kafka::error_words::in_words;
use crate::kafka::group_progress::GroupProgress;
use crate::tasks::Tasks;
use crate::telemetry::Health;
use crate::telemetry::throttle::Throttle;

/// Longest time that an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two looks: that between two commits of the router.
const PAUSE: Duration = Duration::from_millis(500);
/// Time that what was published may take to be routed without a notice, in milliseconds.
const LATE_MS: i64 = 10_000;
/// Key of the notice on `/readyz`.
const NOTICE: &str = "routed late";

struct RouteWatch {
    asker: Arc<GroupProgress>,
    progress: RouteProgress,
    until: RoutedUntil,
    /// When the watch began, in milliseconds since the Unix epoch.
    began_ms: i64,
    health: Arc<Health>,
    lines: Throttle,
}

/// Starts the watch if a source is not keyed by site, and returns what it finds out.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) -> anyhow::Result<RoutedUntil> {
    let (kafka, until) = (&app.config.kafka, RoutedUntil::default());
    let sources = app.config.sources.unkeyed().map(|source| source.topic.clone());
    let sources: Vec<String> = sources.collect();
    if sources.is_empty() {
        return Ok(until);
    }
    let asker = GroupProgress::new(kafka, &app.client_events, &kafka.topic("route"), sources);
    let watch = RouteWatch {
        asker: Arc::new(asker.context("starting the client that watches the role route")?),
        progress: RouteProgress::default(),
        until: until.clone(),
        began_ms: clock::now_ms(),
        health: Arc::clone(&app.health),
        lines: Throttle::new(),
    };
    tasks.spawn_background("route-watch", watch.run(app.lifecycle.finished.clone()));
    Ok(until)
}

impl RouteWatch {
    async fn run(mut self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                let answer = self.look().await;
                self.report(answer);
                tokio::time::sleep(PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    /// Asks, and shows detectors what is proven. The error is why nothing was answered.
    async fn look(&mut self) -> Result<(), String> {
        let (asked_ms, asker) = (clock::now_ms(), Arc::clone(&self.asker));
        let answer = tokio::task::spawn_blocking(move || asker.ask(ANSWER_TIMEOUT)).await;
        let found = answer.map_err(|error| error.to_string())?;
        self.progress
            .note(asked_ms, &found.map_err(|error| in_words(&error))?);
        self.until.set(self.progress.until_ms());
        Ok(())
    }

    /// Says on `/readyz` and in the log why silent sites wait.
    fn report(&mut self, answer: Result<(), String>) {
        let now_ms = clock::now_ms();
        let age_ms = now_ms - self.progress.until_ms().unwrap_or(self.began_ms);
        if age_ms < LATE_MS {
            return self.health.end_notice(NOTICE);
        }
        let seconds = age_ms / 1_000;
        let cause = match (answer, self.progress.behind()) {
            (Err(error), _) => format!("how far the role `route` has come is not known ({error})"),
            (Ok(()), Some(behind)) => {
                let committed = behind.committed.unwrap_or(0);
                format!(
                    "{}/{} is routed up to offset {committed} and ends at {}; is a process with the role `route` \
                     running?",
                    self.asker.topic(behind.at.topic),
                    behind.at.partition,
                    behind.end
                )
            }
            (Ok(()), None) => "the role `route` has only just caught up".to_owned(),
        };
        let text =
            format!("drops and silences wait, {seconds} s behind the sources that are routed: {cause}");
        if let Some(suppressed) = self.lines.admit(clock::monotonic()) {
            tracing::warn!(seconds, suppressed, "{text}");
        }
        self.health.notice(NOTICE, text, now_ms);
    }
}

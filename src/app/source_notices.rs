//! The state of the sources, told to the operator: one that is silent, one whose records cannot be
//! read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;

use super::context::AppContext;
use crate::clock;
use crate::domain::event::EventResult;
use crate::domain::operator::{OperatorEvent, SourceData, SourceNotification, source_notification_id};
use crate::domain::time::from_ms;
use crate::record::notices;
use crate::record::pg_monitor::PgMonitor;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::words::PostgresOp;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Span over which records are counted.
const WINDOW_MS: i64 = 15 * 60_000;
/// Least records that were rejected in it.
const LEAST_REJECTED: u64 = 10;
/// Replicas that see a state begin within this span tell of it once.
const SPAN_MS: i64 = 3_600_000;

struct SourceWatch {
    pool: PgPool,
    monitor: PgMonitor,
    metrics: Arc<Metrics>,
    sources: Vec<WatchedSource>,
}

/// A source, and what was told of it.
struct WatchedSource {
    topic: String,
    records: RecordWindow,
    is_rejecting: bool,
    is_silent: bool,
}

impl WatchedSource {
    fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            records: RecordWindow::default(),
            is_rejecting: false,
            is_silent: false,
        }
    }

    /// Returns what begins with this look, by the counts since the start and the silence of the
    /// source.
    fn news(&mut self, counts: RecordCounts, is_silent: bool, now_ms: i64) -> Vec<SourceNews> {
        let window = self.records.add(now_ms, counts);
        let began_rejecting = window.is_bad() && !self.is_rejecting;
        let fell_silent = is_silent && !self.is_silent;
        self.is_rejecting = window.is_bad();
        self.is_silent = is_silent;
        let rejecting = began_rejecting.then_some(SourceNews::Rejecting(window));
        let silent = fell_silent.then_some(SourceNews::Silent);
        rejecting.into_iter().chain(silent).collect()
    }
}

/// State of a source that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceNews {
    Rejecting(RecordCounts),
    Silent,
}

impl SourceNews {
    fn event(self) -> OperatorEvent {
        match self {
            Self::Rejecting(_) => OperatorEvent::SourceRejecting,
            Self::Silent => OperatorEvent::SourceSilent,
        }
    }

    fn data(self, source: &str) -> SourceData<'_> {
        match self {
            Self::Rejecting(window) => SourceData::Rejecting {
                source,
                records: window.all,
                rejected: window.rejected,
                window_seconds: WINDOW_MS.unsigned_abs() / 1_000,
            },
            Self::Silent => SourceData::Silent { source },
        }
    }
}

/// Counts of the records of a source over the last minutes.
#[derive(Debug, Default)]
struct RecordWindow {
    /// Time, and records and rejects since the start.
    looks: VecDeque<(i64, RecordCounts)>,
}

/// Records of a source, and those of them that could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RecordCounts {
    all: u64,
    rejected: u64,
}

impl RecordCounts {
    /// True if more than a hundredth could not be read.
    fn is_bad(self) -> bool {
        self.rejected >= LEAST_REJECTED && self.rejected.saturating_mul(100) > self.all
    }
}

impl RecordWindow {
    /// Adds the counts since the start, and returns those of the window.
    fn add(&mut self, now_ms: i64, counts: RecordCounts) -> RecordCounts {
        self.looks.push_back((now_ms, counts));
        // The last look before the window is its beginning.
        while self.looks.get(1).is_some_and(|(at, _)| now_ms - at >= WINDOW_MS) {
            self.looks.pop_front();
        }
        let first = self.looks.front().map(|(_, counts)| *counts).unwrap_or_default();
        RecordCounts {
            all: counts.all.saturating_sub(first.all),
            rejected: counts.rejected.saturating_sub(first.rejected),
        }
    }
}

/// Starts the work, if the operator has a webhook.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) {
    if app.config.operator.webhook(&app.config.webhooks).is_none() {
        return;
    }
    let sources = app
        .config
        .sources
        .0
        .iter()
        .map(|source| WatchedSource::new(&source.topic));
    let work = SourceWatch {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        metrics: Arc::clone(&app.metrics),
        sources: sources.collect(),
    };
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("source notices", async move {
        Box::pin(finished.run_until_cancelled(work.run())).await;
        Ok(())
    });
}

impl SourceWatch {
    async fn run(mut self) {
        loop {
            self.look(clock::now_ms()).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look(&mut self, now_ms: i64) {
        for index in 0..self.sources.len() {
            let topic = self.sources[index].topic.clone();
            let counts = self.counts(&topic);
            let is_silent = self.metrics.source_silent.with_label_values(&[&topic]).get() > 0;
            let news = self.sources[index].news(counts, is_silent, now_ms);
            for one in news {
                self.notify_operator(one, &topic, now_ms).await;
            }
        }
    }

    /// Counts the records that this process has read of a source.
    fn counts(&self, topic: &str) -> RecordCounts {
        let count = |result: &str| self.metrics.events.with_label_values(&[topic, result]).get();
        let replayed = EventResult::Replayed.as_str();
        let all = EventResult::WORDS.iter().filter(|word| **word != replayed);
        RecordCounts {
            all: all.map(|word| count(word)).sum(),
            rejected: count(EventResult::Rejected.as_str()),
        }
    }

    async fn notify_operator(&self, news: SourceNews, topic: &str, now_ms: i64) {
        let event = news.event();
        let notification = notification_of(news, topic, now_ms);
        let (id, body) = (notification.id, notification.to_body());
        tracing::warn!(topic, event = event.as_str(), "the operator is told of a source");
        self.monitor
            .until_done(PostgresOp::Circuits, || async {
                let mut connection = self.pool.acquire().await?;
                notices::queue_for_operator(&mut connection, id, event.as_str(), &body, from_ms(now_ms)).await
            })
            .await;
    }
}

fn notification_of(news: SourceNews, topic: &str, now_ms: i64) -> SourceNotification<'_> {
    SourceNotification {
        id: source_notification_id(news.event(), topic, now_ms, SPAN_MS),
        event: news.event(),
        timestamp: from_ms(now_ms),
        data: news.data(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_hears_of_each_silence_of_a_source_once() {
        let mut source = WatchedSource::new("analytics.events");
        let none = RecordCounts::default();
        for (minute, is_silent, wanted) in [
            (0, false, vec![]),
            (1, true, vec![SourceNews::Silent]),
            (2, true, vec![]),
            (3, false, vec![]),
            (4, true, vec![SourceNews::Silent]),
        ] {
            let news = source.news(none, is_silent, minute * 60_000);
            assert_eq!(news, wanted, "minute {minute}");
        }
    }

    #[test]
    fn what_the_operator_hears_of_sources_fits_its_schema() {
        let schema = include_str!("../../docs/operator-notification.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let window = RecordCounts {
            all: 1_200,
            rejected: 40,
        };
        for news in [SourceNews::Silent, SourceNews::Rejecting(window)] {
            let body = notification_of(news, "analytics.events", 1_771_970_400_000).to_body();
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!(validator.is_valid(&body), "{body}");
            let shown = schema["examples"].as_array().expect("examples");
            assert!(
                shown
                    .iter()
                    .any(|one| one["event"] == body["event"] && one["data"] == body["data"])
            );
        }
        for example in schema["examples"].as_array().expect("examples") {
            assert!(validator.is_valid(example), "{example}");
        }
    }

    #[test]
    fn a_source_is_rejecting_over_a_hundredth_of_15_minutes() {
        let counts = |all, rejected| RecordCounts { all, rejected };
        for (all, rejected, wanted) in [
            (0, 0, false),
            (9, 9, false),
            (10, 10, true),
            (1_000, 10, false),
            (999, 10, true),
        ] {
            assert_eq!(counts(all, rejected).is_bad(), wanted, "{rejected} of {all}");
        }
        let mut window = RecordWindow::default();
        assert_eq!(
            window.add(0, counts(100, 50)),
            counts(0, 0),
            "from before the start"
        );
        assert_eq!(window.add(60_000, counts(300, 70)), counts(200, 20));
        assert_eq!(window.add(WINDOW_MS, counts(400, 70)), counts(300, 20));
        assert_eq!(
            window.add(WINDOW_MS + 60_000, counts(400, 70)),
            counts(100, 0),
            "older ones are out"
        );
    }
}

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
    let sources = app.config.sources.0.iter().map(|source| WatchedSource {
        topic: source.topic.clone(),
        records: RecordWindow::default(),
        is_rejecting: false,
        is_silent: false,
    });
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
            let source = &mut self.sources[index];
            let window = source.records.add(now_ms, counts);
            let began_rejecting = window.is_bad() && !source.is_rejecting;
            let fell_silent = is_silent && !source.is_silent;
            source.is_rejecting = window.is_bad();
            source.is_silent = is_silent;
            if began_rejecting {
                let data = SourceData::Rejecting {
                    source: &topic,
                    records: window.all,
                    rejected: window.rejected,
                    window_seconds: WINDOW_MS.unsigned_abs() / 1_000,
                };
                self.tell(OperatorEvent::SourceRejecting, &topic, data, now_ms)
                    .await;
            }
            if fell_silent {
                let data = SourceData::Silent { source: &topic };
                self.tell(OperatorEvent::SourceSilent, &topic, data, now_ms).await;
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

    async fn tell(&self, event: OperatorEvent, topic: &str, data: SourceData<'_>, now_ms: i64) {
        let id = source_notification_id(event, topic, now_ms, SPAN_MS);
        let body = SourceNotification {
            id,
            event,
            timestamp: from_ms(now_ms),
            data,
        }
        .to_body();
        tracing::warn!(topic, event = event.as_str(), "the operator is told of a source");
        self.monitor
            .until_done("circuits", || async {
                let mut connection = self.pool.acquire().await?;
                notices::queue_for_operator(&mut connection, id, event.as_str(), &body, from_ms(now_ms)).await
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_rejecting_over_a_hundredth_of_a_quarter_of_an_hour() {
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

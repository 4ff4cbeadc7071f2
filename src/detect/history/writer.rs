//! The task that writes the rows of detector threads and answers their questions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{HistoryBatch, HistoryQuestion, HistoryQueue};
use crate::clock;
use crate::detect::usual::baseline::Usual;
use crate::detect::usual::past::{HistoryAnswer, LearnedPast};
use crate::domain::activity::HourSummary;
use crate::domain::time::from_ms;
use crate::record::pg_monitor::{PgMonitor, in_words};
use crate::record::{activity, episodes, site_now};
use crate::telemetry::throttle::SharedThrottle;
use crate::telemetry::words::PostgresOp;

/// Longest wait for a batch after all work has ended.
const LAST_BATCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for all batches after that.
const LAST_WRITES_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes what waits in the queue, and answers what is asked.
#[derive(Debug)]
pub(crate) struct HistoryWriter {
    pub(crate) queue: Arc<HistoryQueue>,
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
}

impl HistoryWriter {
    /// Runs until all work has `finished` and what is left is written: as long as batch after batch
    /// is, for 10 s at most. While Postgres is away the rows wait, and merge.
    pub(crate) async fn run(self, finished: CancellationToken) -> anyhow::Result<()> {
        let is_written = tokio::select! {
            is_written = self.work_until(&finished) => is_written,
            () = elapsed_since(&finished, LAST_WRITES_TIMEOUT) => false,
        };
        if !is_written {
            tracing::warn!("the activity of the last minutes could not be written");
        }
        Ok(())
    }

    /// False if a batch could not be written.
    async fn work_until(&self, finished: &CancellationToken) -> bool {
        loop {
            if finished.is_cancelled() {
                // Whoever asked has ended.
                self.queue.forget_questions();
            }
            let batch = self.queue.take();
            if !batch.is_empty() {
                tokio::select! {
                    () = self.work(batch) => {}
                    () = elapsed_since(finished, LAST_BATCH_TIMEOUT) => return false,
                }
            } else if finished.is_cancelled() {
                return true;
            } else {
                tokio::select! {
                    () = self.queue.filled.notified() => {}
                    () = finished.cancelled() => {}
                }
            }
        }
    }

    async fn work(&self, batch: HistoryBatch) {
        let now = clock::now();
        if !batch.hours.is_empty() {
            let written = self.monitor.until_answered(PostgresOp::Activity, || async {
                let mut connection = self.pool.acquire().await?;
                activity::merge(&mut connection, &batch.hours, now).await
            });
            log_refusal(written.await, "site_activity");
        }
        if !batch.presents.is_empty() {
            let written = self.monitor.until_answered(PostgresOp::Activity, || async {
                let mut connection = self.pool.acquire().await?;
                site_now::write(&mut connection, &batch.presents, now).await
            });
            log_refusal(written.await, "site_now");
        }
        if !batch.episodes.is_empty() {
            let written = self.monitor.until_answered(PostgresOp::Activity, || async {
                let mut connection = self.pool.acquire().await?;
                episodes::write(&mut connection, &batch.episodes, now).await
            });
            log_refusal(written.await, "episodes");
            for (row, origin) in batch.episodes.iter().zip(&batch.origins) {
                origin.report(row);
            }
        }
        if !batch.settled.is_empty() {
            let ended = self.monitor.until_answered(PostgresOp::Activity, || async {
                let mut connection = self.pool.acquire().await?;
                episodes::end_others(&mut connection, &batch.settled, now).await
            });
            log_refusal(ended.await, "episodes");
        }
        if !batch.questions.is_empty() {
            self.answer(batch).await;
        }
    }

    async fn answer(&self, batch: HistoryBatch) {
        let sites = batch.sites();
        let first = batch.questions.iter().map(HistoryQuestion::first_hour).min();
        let first = first.unwrap_or_default();
        let since = from_hour(first);
        let read = self.monitor.until_done(PostgresOp::Activity, || async {
            let mut connection = self.pool.acquire().await?;
            activity::read_summaries(&mut connection, &sites, since).await
        });
        let mut summaries: HashMap<_, Vec<(u32, HourSummary)>> = HashMap::new();
        for ((site, hour), summary) in read.await {
            summaries.entry(site).or_default().push((hour, summary));
        }
        for question in batch.questions {
            let known = summaries.get(&question.site).map_or(&[][..], Vec::as_slice);
            // The thread may be gone, and its partition with it.
            let HistoryQuestion { answer_to, .. } = &question;
            drop(answer_to.send(answer(&question, known)));
        }
    }
}

/// Waits until some time has passed with all work finished.
async fn elapsed_since(finished: &CancellationToken, time: Duration) {
    finished.cancelled().await;
    tokio::time::sleep(time).await;
}

fn answer(question: &HistoryQuestion, known: &[(u32, HourSummary)]) -> HistoryAnswer {
    let mut usual = Usual::new(question.zone);
    let before = || known.iter().filter(|(at, _)| *at != question.hour);
    let mut learned: Vec<(u32, f32)> = before()
        .filter_map(|(at, summary)| Some((*at, summary.learned_median()?)))
        .collect();
    learned.sort_unstable_by_key(|(at, _)| *at);
    for (at, median) in learned {
        usual.learn(at, median);
    }
    let counted = before().filter(|(_, summary)| question.wants_rates && summary.learned_median().is_some());
    usual.refresh_spread(question.hour);
    let earlier = known.iter().find(|(at, _)| *at == question.hour);
    HistoryAnswer {
        partition: question.partition,
        site: question.site.clone(),
        past: LearnedPast {
            usual,
            hour: question.hour,
            earlier: earlier.map(|(_, summary)| summary.clone()),
            counted: counted.cloned().collect(),
        },
    }
}

/// Lines about rows that were refused.
static REFUSED: SharedThrottle = SharedThrottle::new();

/// Logs rows that Postgres will never take: there is no point in keeping them.
fn log_refusal(written: sqlx::Result<()>, table: &str) {
    if let Err(error) = written
        && let Some(suppressed) = REFUSED.admit()
    {
        let error = in_words(&error);
        tracing::error!(
            table,
            error,
            suppressed,
            "rows of history were refused and are lost"
        );
    }
}

fn from_hour(hour: u32) -> chrono::DateTime<Utc> {
    from_ms(i64::from(hour) * 3_600_000)
}

#[cfg(test)]
mod tests;

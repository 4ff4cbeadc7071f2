//! Writes outcomes to Postgres in batches.
//!
//! While Postgres is away the outcomes are kept; the number of requests that may run at a time
//! bounds them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::mpsc;

use super::outcome_publisher::OutcomePublisher;
use super::rows::Outcome;
use crate::clock;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::DeliveryId;
use crate::record::outcomes::{self, OutcomeRow};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;
use crate::telemetry::words::PostgresOp;

/// Outcomes written in one statement.
const BATCH: usize = 500;
/// Outcomes that are written without waiting for more: under load, what is sent is soon recorded.
const ENOUGH: usize = 64;

/// Longest wait for more outcomes before a batch that is not full is written.
///
/// Each write is a commit and a wait for the disk: at a thousand outcomes a second this makes one
/// of what came in eight. Nothing else waits with it: retries are due by when they failed.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// Writes outcomes until there are no more senders.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
    pub(crate) publisher: Arc<OutcomePublisher>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Writer {
    /// Ends when all senders are gone, everything is written, and what follows is published.
    pub(crate) async fn run(self, mut outcomes: mpsc::Receiver<Outcome>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while outcomes.recv_many(&mut batch, BATCH).await > 0 {
            let more = async {
                while batch.len() < ENOUGH {
                    let room = BATCH - batch.len();
                    if outcomes.recv_many(&mut batch, room).await == 0 {
                        // All senders are gone.
                        break;
                    }
                }
            };
            // An error means that the time is over; what has come is in the batch.
            drop(tokio::time::timeout(BATCH_WAIT, more).await);
            let waiting = outcomes.len();
            for part in split_by_delivery(std::mem::take(&mut batch)) {
                self.write(part, waiting).await;
            }
        }
        self.publisher.finish().await;
        Ok(())
    }

    /// Writes a batch. A batch that Postgres refuses is halved until the outcome it refuses stands
    /// alone.
    async fn write(&self, batch: Vec<Outcome>, waiting: usize) {
        let since = clock::monotonic();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let others = waiting + parts.iter().map(Vec::len).sum::<usize>();
            let rows: Vec<OutcomeRow> = part.iter().map(|one| one.row.clone()).collect();
            let written = self.monitor.until_answered(PostgresOp::Outcomes, || {
                self.show_unwritten(rows.len() + others, since);
                async {
                    let mut connection = self.pool.acquire().await?;
                    outcomes::write(&mut connection, &rows).await
                }
            });
            match written.await {
                Ok(taken) => self.pass_on(part, &taken.into_iter().collect()),
                Err(error) if part.len() == 1 => self.write_less(part.remove(0), error).await,
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
            }
        }
        self.metrics.outcomes_unwritten.set(waiting as i64);
        self.metrics.outcomes_unwritten_seconds.set(0.0);
    }

    /// Writes an outcome that Postgres has refused without what the endpoint said; and if that is
    /// refused too, that its delivery has ended.
    async fn write_less(&self, mut outcome: Outcome, error: sqlx::Error) {
        outcome.row.strip_answer();
        let rows = [outcome.row.clone()];
        let written = self.monitor.until_answered(PostgresOp::Outcomes, || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::write(&mut connection, &rows).await
        });
        if let Ok(taken) = written.await {
            tracing::warn!(
                webhook.id = %outcome.row.facts.webhook_id, delivery.id = %outcome.row.facts.id,
                attempt = outcome.row.attempts, %error,
                "Postgres refuses what an endpoint answered; the attempt is recorded without it"
            );
            return self.pass_on(vec![outcome], &taken.into_iter().collect());
        }
        outcome.row.end_unrecordable();
        let row = outcome.row.clone();
        let ended = self.monitor.until_answered(PostgresOp::Outcomes, || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::end_unrecordable(&mut connection, &row).await
        });
        match ended.await {
            // Another owner has ended it.
            Ok(false) => self.publisher.superseded(outcome),
            ended => self.publisher.refused(outcome, &error, ended.is_ok()),
        }
    }

    /// Passes written outcomes on to the publisher; `taken` are the rows that took theirs, and
    /// their status.
    fn pass_on(&self, batch: Vec<Outcome>, taken: &HashMap<DeliveryId, DeliveryStatus>) {
        for outcome in batch {
            match taken.get(&outcome.row.facts.id) {
                // Cancelled while its request ran: the attempt is recorded, and nothing follows.
                Some(DeliveryStatus::Cancelled) if outcome.row.status != DeliveryStatus::Cancelled => {
                    self.publisher.cancelled(outcome.work);
                }
                Some(_) => self.publisher.recorded(outcome),
                None => self.publisher.superseded(outcome),
            }
        }
    }

    fn show_unwritten(&self, count: usize, since: Instant) {
        self.metrics.outcomes_unwritten.set(count as i64);
        self.metrics
            .outcomes_unwritten_seconds
            .set(clock::monotonic().duration_since(since).as_secs_f64());
    }
}

/// Splits a batch so that no part has two outcomes of one delivery, which one statement cannot
/// write; the outcomes of a delivery keep their order.
fn split_by_delivery(batch: Vec<Outcome>) -> Vec<Vec<Outcome>> {
    let mut seen: HashMap<DeliveryId, usize> = HashMap::with_capacity(batch.len());
    let mut parts: Vec<Vec<Outcome>> = Vec::with_capacity(1);
    for outcome in batch {
        let part = seen.entry(outcome.row.facts.id).or_default();
        if parts.len() <= *part {
            parts.push(Vec::new());
        }
        parts[*part].push(outcome);
        *part += 1;
    }
    parts
}

#[cfg(test)]
mod tests;

//! Writes outcomes to Postgres in batches.
//!
//! While Postgres is away the outcomes are kept: a batch, what is set aside, and in the channel as
//! many as requests may run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::mpsc;

use super::outcome_publisher::OutcomePublisher;
use super::rows::Outcome;
use crate::clock;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::DeliveryId;
use crate::record::outcomes::free::{Written, write_free};
use crate::record::outcomes::{self, OutcomeRow};
use crate::record::pg_monitor::{PgMonitor, is_lock_timeout};
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::PostgresOp;

/// Outcomes written in one statement.
const BATCH: usize = 500;
/// Outcomes that are enough to write without waiting for more: under load, what is sent is soon
/// recorded.
const ENOUGH: usize = 64;

/// Longest wait for more outcomes before a batch that is not full is written.
///
/// Each write is a commit and a wait for the disk, which all outcomes of this time share. A retry
/// is not later for it: its due time counts from the failure.
const BATCH_WAIT: Duration = Duration::from_millis(10);

/// Time between two looks at the age of what is being written.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Time for which outcomes wait for a row without a line in the log.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// Writes outcomes until there are no more senders.
///
/// Outcomes of which another session holds a row are set aside and tried again, so that no others
/// wait for it. While something is set aside, Postgres is first asked which rows of a batch are
/// free.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Connections whose statements wait for a lock for 100 ms at most.
    pool: PgPool,
    monitor: PgMonitor,
    publisher: Arc<OutcomePublisher>,
    metrics: Arc<Metrics>,
    aside: SetAside,
    throttle: Throttle,
}

/// Answer of Postgres to a write.
enum WriteAnswer<T> {
    Done(T),
    /// Postgres would refuse it every time.
    Refused(sqlx::Error),
    /// Another session holds a row that it changes.
    Locked,
}

/// Outcomes to be written in one statement.
struct WritePart {
    outcomes: Vec<Outcome>,
    /// True if its free rows are looked for first.
    asks_first: bool,
}

impl Writer {
    /// Makes a writer. A statement of the pool's connections has to end when it has waited for a
    /// lock for 100 ms.
    pub(crate) fn new(
        pool: PgPool,
        monitor: PgMonitor,
        publisher: Arc<OutcomePublisher>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            pool,
            monitor,
            publisher,
            metrics,
            aside: SetAside::default(),
            throttle: Throttle::new(),
        }
    }

    /// Writes until all senders are gone, everything is written, and what follows is published.
    pub(crate) async fn run(mut self, mut outcomes: mpsc::Receiver<Outcome>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while self.receive(&mut outcomes, &mut batch).await {
            let now = clock::monotonic();
            let new = self.aside.take_followers(std::mem::take(&mut batch), now);
            let asks_first = !self.aside.is_empty();
            let due = self.aside.take_due(now);
            let parts = split_by_delivery(new)
                .into_iter()
                .map(|outcomes| WritePart { outcomes, asks_first });
            let again = due.into_iter().map(|outcomes| WritePart {
                outcomes,
                asks_first: true,
            });
            let waiting = outcomes.len();
            let since = self.aside.since().unwrap_or(now);
            let metrics = Arc::clone(&self.metrics);
            let write = self.write(parts.chain(again).collect(), waiting);
            showing_age(&metrics, since, SHOW_EVERY, write).await;
            self.aside.tried();
            let unwritten = waiting + self.aside.len();
            self.metrics.outcomes_unwritten.set(unwritten as i64);
            show_age(&self.metrics, self.aside.since().unwrap_or_else(clock::monotonic));
            self.show_waiting();
        }
        self.publisher.finish().await;
        Ok(())
    }

    /// Receives outcomes, or waits until those that are set aside are due. False if there is
    /// nothing left to write.
    async fn receive(&self, outcomes: &mut mpsc::Receiver<Outcome>, batch: &mut Vec<Outcome>) -> bool {
        match self.aside.next_try() {
            None if outcomes.recv_many(batch, BATCH).await == 0 => return false,
            None => {}
            Some(at) if self.aside.is_full() => {
                tokio::time::sleep_until(at.into()).await;
                return true;
            }
            Some(at) => {
                let came = tokio::time::timeout_at(at.into(), outcomes.recv_many(batch, BATCH));
                if let Ok(0) = came.await {
                    tokio::time::sleep_until(at.into()).await;
                }
                if batch.is_empty() {
                    return true;
                }
            }
        }
        let more = async {
            while batch.len() < ENOUGH {
                let room = BATCH - batch.len();
                if outcomes.recv_many(batch, room).await == 0 {
                    // All senders are gone.
                    break;
                }
            }
        };
        // An error means that the time is over; what has come is in the batch.
        drop(tokio::time::timeout(BATCH_WAIT, more).await);
        true
    }

    /// Writes parts, the first one first. A part that Postgres refuses is halved until the outcome
    /// it refuses stands alone. `waiting` more outcomes have come since.
    async fn write(&mut self, mut parts: Vec<WritePart>, waiting: usize) {
        parts.reverse();
        while let Some(mut part) = parts.pop() {
            let others = waiting + parts.iter().map(|part| part.outcomes.len()).sum::<usize>();
            match self.write_part(&part, others).await {
                WriteAnswer::Done(written) => {
                    let (locked, free) = part
                        .outcomes
                        .into_iter()
                        .partition(|outcome| written.locked.contains(&outcome.row.facts.id));
                    self.set_aside(locked);
                    self.pass_on(free, &written.taken.into_iter().collect());
                }
                WriteAnswer::Locked if part.asks_first => self.set_aside(part.outcomes),
                WriteAnswer::Locked => {
                    part.asks_first = true;
                    parts.push(part);
                }
                WriteAnswer::Refused(error) if part.outcomes.len() == 1 => {
                    self.write_less(part.outcomes.remove(0), error).await;
                }
                WriteAnswer::Refused(_) => {
                    let second = part.outcomes.split_off(part.outcomes.len() / 2);
                    let second = WritePart {
                        outcomes: second,
                        ..part
                    };
                    parts.extend([second, part]);
                }
            }
        }
    }

    /// Sets outcomes aside whose rows another session holds.
    fn set_aside(&mut self, outcomes: Vec<Outcome>) {
        for outcome in &outcomes {
            self.publisher.set_aside(&outcome.work);
        }
        self.aside.add(outcomes, clock::monotonic());
    }

    async fn write_part(&self, part: &WritePart, others: usize) -> WriteAnswer<Written> {
        let rows: Vec<OutcomeRow> = part.outcomes.iter().map(|one| one.row.clone()).collect();
        let rows = &rows;
        self.answer(|| {
            let unwritten = rows.len() + others + self.aside.len();
            self.metrics.outcomes_unwritten.set(unwritten as i64);
            async move {
                let mut connection = self.pool.acquire().await?;
                if part.asks_first {
                    return write_free(&mut connection, rows).await;
                }
                let taken = outcomes::write(&mut connection, rows).await?;
                let locked = HashSet::new();
                Ok(Written { taken, locked })
            }
        })
        .await
    }

    /// Runs a statement until Postgres has answered.
    async fn answer<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        mut statement: impl FnMut() -> F,
    ) -> WriteAnswer<T> {
        let answered = self.monitor.until_answered(PostgresOp::Outcomes, || {
            let statement = statement();
            async {
                match statement.await {
                    Ok(done) => Ok(Some(done)),
                    Err(error) if is_lock_timeout(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        match answered.await {
            Ok(Some(done)) => WriteAnswer::Done(done),
            Ok(None) => WriteAnswer::Locked,
            Err(error) => WriteAnswer::Refused(error),
        }
    }

    /// Writes a refused outcome once more, without what the endpoint said. If that is refused too,
    /// writes only that the delivery has ended.
    async fn write_less(&mut self, mut outcome: Outcome, error: sqlx::Error) {
        let mut row = outcome.row.clone();
        row.strip_answer();
        let rows = std::slice::from_ref(&row);
        let written = self.answer(|| async {
            let mut connection = self.pool.acquire().await?;
            outcomes::write(&mut connection, rows).await
        });
        match written.await {
            WriteAnswer::Done(taken) => {
                tracing::warn!(
                    webhook.id = %row.facts.webhook_id, delivery.id = %row.facts.id, attempt = row.attempts, %error,
                    "Postgres refuses what an endpoint answered; the attempt is recorded without it"
                );
                outcome.row = row;
                return self.pass_on(vec![outcome], &taken.into_iter().collect());
            }
            WriteAnswer::Locked => return self.set_aside(vec![outcome]),
            WriteAnswer::Refused(_) => {}
        }
        row.end_unrecordable();
        let ended = self.answer(|| async {
            let mut connection = self.pool.acquire().await?;
            outcomes::end_unrecordable(&mut connection, &row).await
        });
        let ended = ended.await;
        if let WriteAnswer::Locked = ended {
            return self.set_aside(vec![outcome]);
        }
        outcome.row = row;
        match ended {
            // Another owner has ended it.
            WriteAnswer::Done(false) => self.publisher.superseded(outcome),
            ended => self
                .publisher
                .refused(outcome, &error, matches!(ended, WriteAnswer::Done(_))),
        }
    }

    /// Passes written outcomes on to the publisher. `taken` has the deliveries whose rows took
    /// theirs, with the status since.
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

    /// Logs outcomes that have waited for a row for more than a second.
    fn show_waiting(&mut self) {
        let now = clock::monotonic();
        let (Some(since), Some(first)) = (self.aside.since(), self.aside.first()) else {
            return;
        };
        if now.duration_since(since) < QUIET_WAIT {
            return;
        }
        let facts = &first.row.facts;
        if let Some(suppressed) = self.throttle.admit(now) {
            tracing::warn!(
                webhook.id = %facts.webhook_id, delivery.id = %facts.id, waiting = self.aside.len(), suppressed,
                "outcomes of deliveries wait to be recorded: another session of Postgres holds rows that they change"
            );
        }
    }
}

/// Shows the age of the oldest outcome, which came at `since`, until `write` has ended: a statement
/// may hang.
async fn showing_age<T>(
    metrics: &Metrics,
    since: Instant,
    every: Duration,
    write: impl Future<Output = T>,
) -> T {
    let mut write = std::pin::pin!(write);
    loop {
        show_age(metrics, since);
        if let Ok(done) = tokio::time::timeout(every, &mut write).await {
            return done;
        }
    }
}

fn show_age(metrics: &Metrics, since: Instant) {
    let age = clock::monotonic().saturating_duration_since(since);
    metrics.outcomes_unwritten_seconds.set(age.as_secs_f64());
}

mod split;
mod set_aside;
use set_aside::SetAside;
use split::split_by_delivery;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Labels;

    #[tokio::test]
    async fn the_age_of_what_is_being_written_is_shown() {
        let metrics = Metrics::new(&Labels::default());
        let shown = || metrics.outcomes_unwritten_seconds.get();
        let since = clock::monotonic();
        let hangs = async {
            while shown() == 0.0 {
                tokio::task::yield_now().await;
            }
            let first = shown();
            while shown() == first {
                tokio::task::yield_now().await;
            }
        };
        showing_age(&metrics, since, Duration::from_millis(5), hangs).await;
        let age = clock::monotonic().duration_since(since).as_secs_f64();
        assert!(shown() > 0.0 && shown() <= age, "{} {age}", shown());
    }
}

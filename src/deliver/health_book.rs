//! The health of webhooks on its way to Postgres: at once when a state changes, else once a second,
//! because a row that is written with every delivery would be a hot spot.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::lanes::health::EndpointHealth;
use crate::clock;
use crate::domain::health::HealthState;
use crate::domain::id::WebhookId;
use crate::domain::time::from_ms;
use crate::record::health::{self, HealthRow};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::words::PostgresOp;

const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Most tries to write at the end what somebody has locked, and the time between two.
const LAST_TRIES: usize = 10;
const LAST_TRY_WAIT: Duration = Duration::from_millis(50);

/// Health that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct HealthBook {
    unwritten: Mutex<HashMap<WebhookId, UnwrittenHealth>>,
    hurry: Notify,
}

impl HealthBook {
    /// Notes the health of a webhook. `is_urgent`: its state has changed.
    pub(crate) fn note(&self, webhook: WebhookId, health: &EndpointHealth, is_urgent: bool) {
        let row = row_of(webhook, health, clock::now());
        self.lock().entry(webhook).or_default().note(row);
        if is_urgent {
            self.hurry.notify_one();
        }
    }

    /// True if what Postgres has of a webhook is older than what is noted here.
    pub(crate) fn has(&self, webhook: WebhookId) -> bool {
        self.lock().contains_key(&webhook)
    }

    /// Writes until `stop` is cancelled, and once more then.
    pub(crate) async fn run(
        &self,
        pool: PgPool,
        monitor: PgMonitor,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => false,
                () = self.hurry.notified() => false,
                () = stop.cancelled() => true,
            };
            if stopping {
                self.finish(&pool, &monitor).await;
                return Ok(());
            }
            while self.write(&pool, &monitor).await {}
        }
    }

    /// Writes the rest. What was locked is tried again for a moment: there is no later round. While
    /// Postgres is away nothing is waited for: the next owner finds out itself.
    async fn finish(&self, pool: &PgPool, monitor: &PgMonitor) {
        for tries in 0..=LAST_TRIES {
            let is_there = monitor.is_answering(clock::monotonic());
            let unwritten = self.lock().len();
            if unwritten == 0 || !is_there {
                if unwritten > 0 {
                    tracing::warn!(
                        webhooks = unwritten,
                        "the health of endpoints is not written: Postgres is away"
                    );
                }
                return;
            }
            if tries > 0 {
                tokio::time::sleep(LAST_TRY_WAIT).await;
            }
            while self.write(pool, monitor).await {}
        }
    }

    /// Writes the next row of each webhook; false if no more are left, or Postgres did not take
    /// them.
    async fn write(&self, pool: &PgPool, monitor: &PgMonitor) -> bool {
        let rows: Vec<HealthRow> = self.lock().values().filter_map(UnwrittenHealth::next).collect();
        if rows.is_empty() {
            return false;
        }
        let written = monitor.once(PostgresOp::Circuits, async {
            let mut connection = pool.acquire().await?;
            health::write(&mut connection, &rows).await
        });
        // After an error everything is kept for the next round, and so are rows that another
        // session has locked.
        match written.await {
            Ok(done) => {
                let done: HashSet<WebhookId> = done.into_iter().collect();
                let written = rows.into_iter().filter(|row| done.contains(&row.webhook_id));
                self.take_written(&written.collect::<Vec<_>>())
            }
            Err(_) => false,
        }
    }

    /// Removes rows that were written. True if a webhook has rows that have waited for them.
    fn take_written(&self, rows: &[HealthRow]) -> bool {
        let mut unwritten = self.lock();
        let mut has_more = false;
        for row in rows {
            if let Some(one) = unwritten.get_mut(&row.webhook_id) {
                let was_removed = one.take_written(row);
                match one.0.is_empty() {
                    true => drop(unwritten.remove(&row.webhook_id)),
                    false => has_more |= was_removed,
                }
            }
        }
        has_more
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, UnwrittenHealth>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows of one webhook, oldest first. The database tells of every opening and closing of a circuit
/// that it sees, so each has a row of its own; what lies between two of them has none.
#[derive(Debug, Default)]
struct UnwrittenHealth(VecDeque<HealthRow>);

impl UnwrittenHealth {
    fn note(&mut self, row: HealthRow) {
        let is_open = |row: &HealthRow| row.state == HealthState::Open;
        // An unwritten row that says the same, open or not, is replaced.
        let is_same = |last: &HealthRow| is_open(last) == is_open(&row);
        if self.0.back().is_some_and(is_same) {
            self.0.pop_back();
        }
        self.0.push_back(row);
    }

    fn next(&self) -> Option<HealthRow> {
        self.0.front().cloned()
    }

    /// Removes a row that was written. False if it was replaced meanwhile.
    fn take_written(&mut self, row: &HealthRow) -> bool {
        let is_there = self.0.front() == Some(row);
        if is_there {
            self.0.pop_front();
        }
        is_there
    }
}

fn row_of(webhook_id: WebhookId, health: &EndpointHealth, updated_at: DateTime<Utc>) -> HealthRow {
    let to_int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    HealthRow {
        webhook_id,
        state: health.state,
        reason: health.reason,
        since: from_ms(health.since_ms),
        consecutive_failures: to_int(health.failed),
        unanswered: to_int(health.unanswered),
        last_success_at: health.last_success_ms.map(from_ms),
        next_probe_at: health.next_probe_ms().map(from_ms),
        probes_failed: to_int(health.probes_failed),
        url_changed_at: health.url_changed_at,
        updated_at,
    }
}

/// Reads the health of a row.
pub(crate) fn health_of(row: &HealthRow) -> EndpointHealth {
    EndpointHealth {
        state: row.state,
        reason: row.reason,
        since_ms: row.since.timestamp_millis(),
        unanswered: row.unanswered.unsigned_abs(),
        failed: row.consecutive_failures.unsigned_abs(),
        probe_at_ms: row.next_probe_at.map_or(0, |at| at.timestamp_millis()),
        probes_failed: row.probes_failed.unsigned_abs(),
        url_changed_at: row.url_changed_at,
        last_success_ms: row.last_success_at.map(|at| at.timestamp_millis()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::deliver::lanes::health::{AttemptEnd, Ending};

    #[test]
    fn each_opening_and_closing_is_written_between_two_writes() {
        let (webhook, mut health) = (WebhookId::from_uuid(Uuid::from_u128(1)), EndpointHealth::new(0));
        let book = HealthBook::default();
        let written = |book: &HealthBook| {
            let rows: Vec<HealthRow> = book.lock().values().filter_map(UnwrittenHealth::next).collect();
            let states: Vec<HealthState> = rows.iter().map(|row| row.state).collect();
            (states, book.take_written(&rows))
        };
        // Opened twice, with a success in between. A change between ok and careful replaces the row
        // before it.
        for (state, since_ms) in [
            (HealthState::Careful, 1),
            (HealthState::Open, 2),
            (HealthState::Open, 2),
            (HealthState::Ok, 3),
            (HealthState::Careful, 4),
            (HealthState::Open, 5),
        ] {
            health.state = state;
            health.since_ms = since_ms;
            book.note(webhook, &health, true);
        }
        assert_eq!(written(&book), (vec![HealthState::Careful], true));
        assert_eq!(written(&book), (vec![HealthState::Open], true));
        assert_eq!(written(&book), (vec![HealthState::Careful], true));
        assert!(book.has(webhook));
        assert_eq!(written(&book), (vec![HealthState::Open], false));
        assert!(!book.has(webhook));
    }

    #[test]
    fn health_is_read_back_as_it_was_written() {
        let mut health = EndpointHealth::new(1_000);
        let end = AttemptEnd {
            ending: Ending::Unanswered,
            is_gone: false,
            is_final_failure: true,
            is_probe: false,
            url_changed_at: Some(from_ms(500)),
        };
        health.url_changed_at = end.url_changed_at;
        for ending in [Ending::Success, Ending::Unanswered, Ending::Unanswered] {
            health.record(AttemptEnd { ending, ..end }, 2, 2_000);
            let row = row_of(WebhookId::from_uuid(Uuid::from_u128(1)), &health, from_ms(3_000));
            assert_eq!(health_of(&row), health);
        }
        assert!(health.next_probe_ms().is_some());
    }
}

//! Gathers the health of webhooks and writes it once a second: written with every delivery, a
//! webhook's row would be a hot spot.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::domain::attempt::Fault;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::WebhookId;
use crate::record::outcomes::{self, HealthNote};
use crate::record::pg_monitor::PgMonitor;

const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Successes and failures since the last write.
#[derive(Debug, Default)]
pub(crate) struct HealthNotes(Mutex<HashMap<WebhookId, HealthNote>>);

impl HealthNotes {
    /// Notes the end of an attempt: the delivery's status after it, its time, and whose fault it
    /// was. A delivery that ended unsent says nothing about the endpoint and is not noted.
    pub(crate) fn add(
        &self,
        webhook: WebhookId,
        status: DeliveryStatus,
        ended_at: DateTime<Utc>,
        fault: Fault,
    ) {
        match status {
            DeliveryStatus::Delivered => {
                let mut notes = self.lock();
                let note = notes.entry(webhook).or_default();
                note.last_success_at = note.last_success_at.max(Some(ended_at));
                note.failures = 0;
            }
            // A fault of our own never counts against an endpoint.
            DeliveryStatus::Failed if fault != Fault::Own => {
                self.lock().entry(webhook).or_default().failures += 1;
            }
            _ => {}
        }
    }

    /// Writes once a second until `stop` is cancelled, and once more then.
    pub(crate) async fn run(
        &self,
        pool: PgPool,
        monitor: PgMonitor,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => false,
                () = stop.cancelled() => true,
            };
            self.write(&pool, &monitor).await;
            if stopping {
                return Ok(());
            }
        }
    }

    async fn write(&self, pool: &PgPool, monitor: &PgMonitor) {
        let notes: Vec<(WebhookId, HealthNote)> = self.lock().drain().collect();
        if notes.is_empty() {
            return;
        }
        let written = monitor.once("outcomes", async {
            let mut connection = pool.acquire().await?;
            outcomes::note_health(&mut connection, &notes).await
        });
        if written.await.is_err() {
            // Kept for the next time; what has been noted since is newer.
            let mut now = self.lock();
            for (webhook, old) in notes {
                let note = now.entry(webhook).or_default();
                if note.last_success_at.is_none() {
                    note.last_success_at = old.last_success_at;
                    note.failures += old.failures;
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WebhookId, HealthNote>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

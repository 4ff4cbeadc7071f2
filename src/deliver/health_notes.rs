//! How webhooks do, gathered and written once a second: a row a delivery would be a hot row.

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

/// What has happened since the last write.
#[derive(Debug, Default)]
pub(crate) struct HealthNotes(Mutex<HashMap<WebhookId, HealthNote>>);

impl HealthNotes {
    /// Notes how a delivery stands after its last attempt, when that ended, and whose fault the end was. One that ended
    /// unsent says nothing about the endpoint and is not noted.
    pub(crate) fn add(
        &self,
        webhook: WebhookId,
        status: DeliveryStatus,
        ended_at: DateTime<Utc>,
        fault: &str,
    ) {
        match status {
            DeliveryStatus::Delivered => {
                let mut notes = self.lock();
                let note = notes.entry(webhook).or_default();
                note.last_success_at = note.last_success_at.max(Some(ended_at));
                note.failures = 0;
            }
            // Ours never counts against an endpoint.
            DeliveryStatus::Failed if fault != Fault::Own.as_str() => {
                self.lock().entry(webhook).or_default().failures += 1;
            }
            _ => {}
        }
    }

    /// Writes until it is told to stop, and once more then.
    pub(crate) async fn run(
        &self,
        pool: PgPool,
        probe: PgMonitor,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => false,
                () = stop.cancelled() => true,
            };
            self.write(&pool, &probe).await;
            if stopping {
                return Ok(());
            }
        }
    }

    async fn write(&self, pool: &PgPool, probe: &PgMonitor) {
        let notes: Vec<(WebhookId, HealthNote)> = self.lock().drain().collect();
        if notes.is_empty() {
            return;
        }
        let written = probe.once("outcomes", async {
            let mut connection = pool.acquire().await?;
            outcomes::note_health(&mut connection, &notes).await
        });
        if written.await.is_err() {
            // Retained for the next time; what has been noted since is newer.
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
mod tests {
    use super::*;

    #[test]
    fn what_the_endpoint_did_not_do_does_not_count_against_it() {
        let notes = HealthNotes::default();
        let webhook = WebhookId::new_v7(1, [1; 10]);
        let add = |status, fault| notes.add(webhook, status, DateTime::UNIX_EPOCH, Fault::as_str(fault));
        let failures = || notes.lock().get(&webhook).map_or(0, |note| note.failures);
        add(DeliveryStatus::Failed, Fault::Endpoint);
        add(DeliveryStatus::Retrying, Fault::Endpoint);
        add(DeliveryStatus::Cancelled, Fault::Endpoint);
        add(DeliveryStatus::Failed, Fault::Own);
        assert_eq!(failures(), 1);
        add(DeliveryStatus::Delivered, Fault::None);
        assert_eq!(failures(), 0);
    }
}

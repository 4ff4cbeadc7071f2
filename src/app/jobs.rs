//! Work that calls begin and no request waits for: overlaps of secrets that end, sites that are
//! erased, deliveries that are sent again.
//!
//! Every process with the api role looks each second. Rows are taken with a lock, so two of them
//! never do the same; what one leaves undone, another one takes up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::TimeDelta;
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::context::AppContext;
use super::error_words::in_words;
use super::recovery;
use crate::clock;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::id::WebhookId;
use crate::record::jobs::{self, JobKind, JobStatus, TakenJob};
use crate::record::keyring::Keyring;
use crate::record::pg_monitor::PgMonitor;
use crate::record::secrets::SecretError;
use crate::record::{cancelling, erasure, secrets, webhooks};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::PostgresOp;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks for what records in Kafka have brought of an erased site.
const ERASE_AGAIN_EVERY: TimeDelta = TimeDelta::hours(1);
/// Time in which requests under way when a site was erased end.
const FIRST_LOOKS: TimeDelta = TimeDelta::minutes(2);
/// Time between two looks for what they have brought.
const FIRST_LOOKS_EVERY: TimeDelta = TimeDelta::seconds(10);
/// Age of an erased site from which no record of it is left in a topic: their retention of seven
/// days, and a day more.
const ERASE_UNTIL: TimeDelta = TimeDelta::days(8);

/// Pause before rows are looked at again that somebody held.
const HELD_PAUSE: TimeDelta = TimeDelta::milliseconds(500);

/// Time after which an overlap that could not be ended is tried again.
const OVERLAP_AGAIN: Duration = Duration::from_secs(60);

struct Jobs {
    pool: PgPool,
    monitor: PgMonitor,
    keyring: Arc<Keyring>,
    metrics: Arc<Metrics>,
    /// Partitions of each topic of deliveries.
    partitions: i32,
    /// Webhooks whose overlap cannot be ended, as a key is missing. They are passed over for a
    /// while, so that they are in nobody's way.
    unendable: BTreeSet<WebhookId>,
    unendable_since: Instant,
    overlap_failures: Throttle,
}

/// Starts the work. A failure is logged and tried again; none of it stops the process.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) {
    let mut work = Jobs {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        keyring: Arc::clone(&app.keyring),
        metrics: Arc::clone(&app.metrics),
        partitions: app.config.kafka.partitions,
        unendable: BTreeSet::new(),
        unendable_since: clock::monotonic(),
        overlap_failures: Throttle::default(),
    };
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("jobs", async move {
        Box::pin(finished.run_until_cancelled(work.run())).await;
        Ok(())
    });
}

impl Jobs {
    async fn run(&mut self) {
        let mut failures = Throttle::default();
        loop {
            let begun = clock::monotonic();
            match self.look().await {
                // More may be due.
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    self.report(&error, begun, &mut failures);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Counts a failure as one of Postgres, and logs it: as the monitor does if Postgres is away.
    fn report(&self, error: &anyhow::Error, begun: Instant, failures: &mut Throttle) {
        if let Some(cause) = error.downcast_ref::<sqlx::Error>() {
            self.monitor.failed(PostgresOp::Jobs, begun, cause);
        }
        let now = clock::monotonic();
        if self.monitor.is_answering(now)
            && let Some(suppressed) = failures.admit(now)
        {
            tracing::warn!(
                error = in_words(error),
                suppressed,
                "a job could not go on; it is tried again"
            );
        }
    }

    /// Does what is due; false if nothing was.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let mut connection = self.pool.acquire().await?;
        self.end_overlaps(&mut connection)
            .await
            .context("ending overlaps of secrets")?;
        let Some(job) = jobs::take(&mut connection, clock::now()).await? else {
            return Ok(false);
        };
        match job.kind.parse() {
            Ok(JobKind::Erase) => erase(&mut connection, &job).await.context("erasing a site")?,
            Ok(JobKind::Recover) => recovery::go_on(&mut connection, &job, self.partitions)
                .await
                .context("sending again what a webhook has missed")?,
            Ok(JobKind::Withdraw) => recovery::withdraw(&mut connection, &job)
                .await
                .context("cancelling a recovery")?,
            Ok(JobKind::Cancel) => cancel(&mut connection, &job, &self.metrics)
                .await
                .context("cancelling what is open of a webhook")?,
            // A newer version's job is left to it.
            Err(_) => {
                let later = clock::now() + ERASE_AGAIN_EVERY;
                jobs::put_off(&mut connection, job.id, Some(later), clock::now()).await?;
            }
        }
        Ok(true)
    }

    async fn end_overlaps(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let instant = clock::monotonic();
        if instant.duration_since(self.unendable_since) >= OVERLAP_AGAIN {
            self.unendable.clear();
            self.unendable_since = instant;
        }
        for id in secrets::ended_overlaps(connection, clock::now(), &self.unendable).await? {
            let mut tx = connection.begin().await?;
            if webhooks::lock_by_id(&mut tx, id).await? {
                match secrets::finish(&mut tx, &self.keyring, id).await {
                    Ok(_) => tx.commit().await?,
                    Err(SecretError::Postgres(error)) => return Err(error.into()),
                    Err(error) => {
                        self.unendable.insert(id);
                        if let Some(suppressed) = self.overlap_failures.admit(instant) {
                            tracing::error!(
                                webhook.id = %id, %error, suppressed,
                                "the overlap of a secret cannot be ended; it is tried again in a minute"
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Cancels the next part of what is open of a webhook, and counts it.
async fn cancel(connection: &mut PgConnection, job: &TakenJob, metrics: &Metrics) -> anyhow::Result<()> {
    let webhook = job.webhook.context("the webhook")?;
    let reason = job.progress.get("reason").cloned().unwrap_or_default();
    let reason: FailureReason = serde_json::from_value(reason).context("the reason")?;
    let batch = cancelling::cancel_batch(connection, webhook, reason, job.inserted_at).await?;
    for (event, count) in &batch.events {
        let labels = [event.as_str(), DeliveryStatus::Cancelled.as_str()];
        metrics.deliveries.with_label_values(&labels).inc_by(*count);
        let failures = metrics.delivery_failures.with_label_values(&[reason.as_str()]);
        failures.inc_by(*count);
    }
    let now = clock::now();
    if !batch.has_more {
        jobs::end(connection, job.id, JobStatus::Finished, now).await?;
    } else {
        // What somebody holds is looked at again after a while.
        let pause = if batch.events.is_empty() {
            HELD_PAUSE
        } else {
            TimeDelta::zero()
        };
        jobs::put_off(connection, job.id, Some(now + pause), now).await?;
    }
    Ok(())
}

/// Erases the next part of what is there of a site now, and in the end looks again later: records
/// of it that lie in Kafka may still become rows.
async fn erase(connection: &mut PgConnection, job: &TakenJob) -> anyhow::Result<()> {
    let listed = job.progress.get("webhooks").cloned().unwrap_or_default();
    let webhooks: Vec<Uuid> = serde_json::from_value(listed).context("the list of webhooks")?;
    // One part at a time: jobs of others have their turn in between.
    if erasure::erase_history(connection, &webhooks).await?
        || erasure::erase_past(connection, &job.site_id, job.inserted_at).await?
    {
        let now = clock::now();
        jobs::put_off(connection, job.id, Some(now), now).await?;
        return Ok(());
    }
    erasure::erase_health(connection, &webhooks).await?;
    erasure::erase_site_rows(connection, &job.site_id, job.inserted_at).await?;
    let now = clock::now();
    let age = now - job.inserted_at;
    if age >= ERASE_UNTIL {
        jobs::end_erasure(connection, job.id).await?;
    } else {
        let pause = if age < FIRST_LOOKS {
            FIRST_LOOKS_EVERY
        } else {
            ERASE_AGAIN_EVERY
        };
        jobs::put_off(connection, job.id, Some(now + pause), now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

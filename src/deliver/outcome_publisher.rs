//! Does what follows a recorded outcome: publishes the retry or the dead letter, then completes the
//! offset of the record that was worked on.
//!
//! In this order, so that a crash anywhere loses nothing: exchange, outcome in Postgres, next
//! record acknowledged, offset complete.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use super::health_notes::HealthNotes;
use super::in_flight::InFlight;
use super::intake::work::Work;
use super::outcome::Next;
use super::progress::ProgressReader;
use super::resume::{DeliveryProgress, NextRecord, Resume, resume};
use super::rows::{self, Outcome};
use crate::clock;
use crate::dispatch::record::DeliveryRecord;
use crate::dispatch::schedule::Schedules;
use crate::dispatch::tier::Tier;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::kafka::producer::{Outgoing, Publisher};
use crate::record::outcomes::{self, OutcomeRow};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;

/// The reason of a dead letter whose outcome Postgres refuses.
const UNRECORDABLE: &str = "unrecordable";

/// Does what follows a recorded outcome.
#[derive(Debug)]
pub(crate) struct OutcomePublisher {
    pub(crate) publisher: Publisher,
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
    pub(crate) progress: ProgressReader,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) health_notes: Arc<HealthNotes>,
    pub(crate) metrics: Arc<Metrics>,
    /// Beginning of the retry topics' names, the dot included.
    pub(crate) retry_prefix: String,
    pub(crate) dead_letter_topic: String,
    /// Publications that follow what the writer has written.
    pub(crate) tasks: TaskTracker,
}

impl OutcomePublisher {
    /// Counts an outcome that is in Postgres, publishes what follows it, and completes its record.
    pub(crate) fn recorded(self: &Arc<Self>, outcome: Outcome) {
        self.count(&outcome);
        let Outcome { work, row, next } = outcome;
        match next {
            None | Some(Next::Delivered) => self.complete(work),
            Some(Next::Retry {
                attempt,
                due_at_ms,
                tier,
            }) => {
                let retry = rows::retry_after(&work.record, &row, attempt, due_at_ms);
                let this = Arc::clone(self);
                self.tasks.spawn(async move {
                    this.publish_retry(&retry, tier).await;
                    this.complete(work);
                });
            }
            Some(Next::Failed { reason }) => {
                let letter = rows::dead_letter_after(&work.record, &row, reason.as_str());
                let this = Arc::clone(self);
                self.tasks.spawn(async move {
                    this.publish_final_failure(&work, reason, &letter).await;
                    this.complete(work);
                });
            }
        }
    }

    /// Goes on with a record whose outcome was not written because another owner had recorded this
    /// attempt, or a later one: what is recorded holds, and its publish is redone.
    pub(crate) fn superseded(self: &Arc<Self>, work: Work) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let id = work.record.delivery_id;
            let known = this.progress.read(&[id]).await;
            let progress = known.get(&id);
            match resume(work.record.attempt, progress, clock::now_ms()) {
                Resume::Republish(next) => this.republish(work, next, progress).await,
                Resume::Complete => this.complete(work),
                Resume::Hold { .. } | Resume::Send { .. } => this.in_flight.requeue(work),
            }
        });
    }

    /// Puts a delivery aside whose outcome Postgres refuses, whatever is tried. Its record leaves
    /// the stream for the dead-letter topic, where it can be seen, and is not sent again at
    /// every restart.
    pub(crate) fn refused(self: &Arc<Self>, outcome: Outcome, error: sqlx::Error) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let Outcome { work, row, .. } = outcome;
            let record = &work.record;
            tracing::error!(
                site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id,
                attempt = record.attempt, topic = work.read_from.topic, partition = work.read_from.partition,
                offset = work.read_from.offset, error = %error,
                "Postgres refuses an outcome; the delivery goes to the dead-letter topic and is not recorded"
            );
            let letter = rows::dead_letter_after(record, &row, UNRECORDABLE);
            this.publish_dead_letter(&work, &letter).await;
            this.complete(work);
        });
    }

    /// Publishes the record that follows a recorded attempt once more, and completes `work`.
    pub(crate) async fn republish(&self, work: Work, next: NextRecord, progress: Option<&DeliveryProgress>) {
        match next {
            NextRecord::Retry { attempt, due_at_ms } => {
                let retry = rows::retry_again(&work.record, progress, attempt, due_at_ms);
                // Some of the delay is over; the tier is chosen by what remains of it.
                match self.schedules.tiers().for_remaining(due_at_ms - clock::now_ms()) {
                    Some(tier) => self.publish_retry(&retry, tier).await,
                    None => tracing::error!(
                        delivery.id = %retry.delivery_id,
                        "no tier is configured for a recorded retry; it stays as it is"
                    ),
                }
            }
            NextRecord::DeadLetter { reason } => {
                let letter = rows::dead_letter_again(&work.record, progress, reason);
                self.publish_final_failure(&work, reason, &letter).await;
            }
        }
        self.complete(work);
    }

    /// Completes a record for which nothing remains to be done.
    pub(crate) fn complete(&self, work: Work) {
        self.in_flight.complete(work);
    }

    /// Waits until everything that follows the writer's outcomes is published.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn count(&self, Outcome { work, row, .. }: &Outcome) {
        let record = &work.record;
        if row.status.is_finished() {
            self.metrics
                .deliveries
                .with_label_values(&[record.event_type.as_str(), row.status.as_str()])
                .inc();
        }
        if let Some(reason) = row.failure_reason {
            self.metrics
                .delivery_failures
                .with_label_values(&[reason.as_str()])
                .inc();
        }
        if let Some(attempt) = &row.attempt {
            self.health_notes
                .add(record.webhook_id, row.status, attempt.ended_at, attempt.fault);
        }
        if row.status == DeliveryStatus::Failed {
            log_final_failure(record, row);
        }
    }

    async fn publish_retry(&self, record: &DeliveryRecord, tier: Tier) {
        let tier = tier.to_string();
        let topic = format!("{}{tier}", self.retry_prefix);
        self.publish(&topic, record, record.headers()).await;
        self.metrics.retries_published.with_label_values(&[&tier]).inc();
    }

    async fn publish_final_failure(&self, work: &Work, reason: FailureReason, letter: &DeliveryRecord) {
        if reason == FailureReason::Gone {
            self.disable_webhook(work).await;
        }
        self.publish_dead_letter(work, letter).await;
    }

    /// Disables a webhook whose endpoint said that it is gone for good. After a crash in between it
    /// is redone together with the dead letter.
    async fn disable_webhook(&self, work: &Work) {
        let (webhook, delivery) = (work.record.webhook_id, work.record.delivery_id);
        let disabled = self.monitor.until_done("outcomes", || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::disable_gone(&mut connection, webhook, delivery).await
        });
        if disabled.await {
            self.metrics.webhooks_disabled.with_label_values(&["gone"]).inc();
            tracing::warn!(
                site.id = %work.record.site_id, webhook.id = %webhook, delivery.id = %delivery,
                "the endpoint answered 410 Gone; the webhook was disabled"
            );
        }
    }

    async fn publish_dead_letter(&self, work: &Work, letter: &DeliveryRecord) {
        let mut headers = letter.headers();
        headers.extend(work.read_from.headers());
        self.publish(&self.dead_letter_topic, letter, headers).await;
        self.metrics.dead_letters.inc();
    }

    async fn publish(&self, topic: &str, record: &DeliveryRecord, headers: Vec<(&'static str, String)>) {
        let key = record.key();
        let out = Outgoing {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(&record.body),
            headers: &headers,
            passed_on: &[],
        };
        self.publisher.publish(out).await;
    }
}

fn log_final_failure(record: &DeliveryRecord, row: &OutcomeRow) {
    tracing::info!(
        site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id,
        notification.id = %record.notification_id, attempt = row.attempts,
        outcome = row.failure_reason.map(FailureReason::as_str),
        error = row.attempt.as_ref().and_then(|attempt| attempt.error.as_deref()),
        "a delivery failed for good"
    );
}

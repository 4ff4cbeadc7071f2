//! Does what follows a recorded outcome: publishes the retry or the dead letter, then completes the
//! offset of the record that was worked on.
//!
//! In this order, so that a crash anywhere loses nothing: exchange, outcome in Postgres, next
//! record acknowledged, offset complete.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::events::LaneEvent;
use super::in_flight::InFlight;
use super::intake::dead_letters::publish_dead_letter;
use super::intake::work::Work;
use super::outcome::Next;
use super::own_retries::OwnRetries;
use super::progress::ProgressReader;
use super::resume::{DeliveryProgress, NextRecord, Resume, resume};
use super::rows::{self, Outcome};
use crate::clock;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::dispatch::schedule::Schedules;
use crate::dispatch::tier::Tier;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::webhook::DisableReason;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::Outgoing;
use crate::record::outcomes::OutcomeRow;
use crate::record::parked::GivenBackRow;
use crate::record::pg_monitor::PgMonitor;
use crate::record::{health, parked};
use crate::telemetry::Metrics;
use crate::telemetry::words::PostgresOp;

/// Does what follows a recorded outcome.
#[derive(Debug)]
pub(crate) struct OutcomePublisher {
    pub(crate) publisher: Publisher,
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
    pub(crate) progress: ProgressReader,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) own_retries: Arc<OwnRetries>,
    pub(crate) events: mpsc::UnboundedSender<LaneEvent>,
    pub(crate) metrics: Arc<Metrics>,
    /// Beginning of the retry topics' names, the dot included.
    pub(crate) retry_prefix: String,
    pub(crate) dead_letter_topic: String,
    /// Publications that follow what the writer has written.
    pub(crate) tasks: TaskTracker,
}

/// End of an attempt, and the webhook's `url_changed_at` when its request was made.
#[derive(Debug, Clone, Copy)]
struct Answered {
    at: DateTime<Utc>,
    url_changed_at: Option<DateTime<Utc>>,
}

impl OutcomePublisher {
    /// Counts an outcome that is in Postgres, publishes what follows it, and completes its record.
    pub(crate) fn recorded(self: &Arc<Self>, outcome: Outcome) {
        self.report_request(&outcome.work);
        self.count(&outcome);
        self.report_row(&outcome);
        let Outcome {
            work,
            row,
            next,
            url_changed_at,
        } = outcome;
        match next {
            None | Some(Next::Delivered | Next::Park(..)) => self.complete(work),
            Some(Next::Retry(following, tier)) => {
                let retry = rows::retry_record(&work.record, &row, following);
                self.own_retries
                    .note(retry.delivery_id, retry.attempt, work.assignment());
                let this = Arc::clone(self);
                self.tasks.spawn(async move {
                    this.publish_retry(&retry, tier).await;
                    this.complete(work);
                });
            }
            Some(Next::Failed { reason }) => {
                let letter = rows::dead_letter_record(&work.record, &row, reason.as_str());
                let answered = row.attempt.map(|attempt| Answered {
                    at: attempt.ended_at,
                    url_changed_at,
                });
                let this = Arc::clone(self);
                self.tasks.spawn(async move {
                    this.publish_final_failure(&work, reason, &letter, answered).await;
                    this.finish_failed(work).await;
                });
            }
        }
    }

    /// Completes a failed delivery whose dead letter is published. Its row, if it has one, was kept
    /// until now.
    async fn finish_failed(&self, work: Work) {
        if work.parked().is_some() {
            let id = work.record.delivery_id;
            let removed = self.monitor.until_done(PostgresOp::Unpark, || async {
                let mut connection = self.pool.acquire().await?;
                parked::remove(&mut connection, &[id]).await
            });
            removed.await;
            self.report(LaneEvent::Unparked(work.record.webhook_id));
        }
        self.complete(work);
    }

    /// Reports that the outcome of a request, if it was one, waits for a row that another session
    /// holds.
    pub(super) fn set_aside(&self, work: &Work) {
        if let Some(request) = work.request {
            self.report(LaneEvent::SetAside(request));
        }
    }

    /// Reports that the outcome of a request, if it was one, is in Postgres.
    fn report_request(&self, work: &Work) {
        if let Some(request) = work.request {
            self.report(LaneEvent::Recorded(request));
        }
    }

    /// Reports that the outcome has added or removed a row of `parked`.
    fn report_row(&self, Outcome { work, row, .. }: &Outcome) {
        let webhook = work.record.webhook_id;
        match (work.parked().is_some(), &row.parked) {
            (was_row, Some(parked)) => self.report(LaneEvent::Parked {
                webhook,
                reason: parked.reason,
                is_new: !was_row,
            }),
            (true, None) => self.report(LaneEvent::Unparked(webhook)),
            (false, None) => {}
        }
    }

    fn report(&self, event: LaneEvent) {
        // The deliverer's loop is gone once the process is stopping.
        drop(self.events.send(event));
    }

    /// Goes on with a record whose outcome was not written because another owner had recorded this
    /// attempt, or a later one: what is recorded holds, and its publish is redone.
    pub(crate) fn superseded(self: &Arc<Self>, outcome: Outcome) {
        let Outcome { work, row, .. } = outcome;
        let is_erased = row.failure_reason == Some(FailureReason::Deleted);
        if work.parked().is_none() && row.parked.is_some() {
            self.report(LaneEvent::NotParked(work.record.webhook_id));
        }
        self.report_request(&work);
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let id = work.record.delivery_id;
            let known = this.progress.read(&[id]).await;
            let progress = known.by_delivery.get(&id);
            if known.newer.contains(&id) {
                // It is looked up again, and held back there.
                return this.in_flight.requeue(work);
            }
            let is_row = work.parked().is_some();
            match resume(work.record.attempt, is_row, progress, clock::now_ms()) {
                Resume::Republish(next) => this.republish(work, next, progress).await,
                Resume::Complete => this.finish_superseded(work, progress).await,
                // Its site is erased, and leaves no row behind: to look again would find the same.
                Resume::Hold { .. } | Resume::Send { .. } if is_erased => this.finish_failed(work).await,
                Resume::Hold { .. } | Resume::Send { .. } => this.in_flight.requeue(work),
            }
        });
    }

    /// Completes a delivery that has ended, or is carried on by another record. A row of it that is
    /// left has no more use, unless it is the way on.
    pub(crate) async fn finish_superseded(&self, work: Work, progress: Option<&DeliveryProgress>) {
        match progress {
            Some(known) if known.status.is_finished() => self.finish_failed(work).await,
            _ => {
                // The row is for a later attempt by now, and nobody has to wait for this claim.
                if let Some(row) = work.given_back() {
                    let row = GivenBackRow {
                        suspect: false,
                        ..row
                    };
                    let released = self.monitor.until_done(PostgresOp::Unpark, || async {
                        let mut connection = self.pool.acquire().await?;
                        parked::release(&mut connection, &[row]).await
                    });
                    released.await;
                }
                self.complete(work);
            }
        }
    }

    /// Ends a delivery whose outcome Postgres refuses, whatever is tried; `is_recorded` tells if it
    /// took at least the end. Its record leaves the stream, and is not sent again at every restart.
    /// Unless it has arrived and that is recorded, it goes to the dead-letter topic, where
    /// it can be seen.
    pub(crate) fn refused(self: &Arc<Self>, outcome: Outcome, error: &sqlx::Error, is_recorded: bool) {
        self.report_request(&outcome.work);
        let record = &outcome.work.record;
        let place = outcome.work.read_from();
        tracing::error!(
            site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id,
            attempt = record.attempt, topic = place.map(|place| place.topic.as_str()),
            partition = outcome.work.partition, offset = place.map(|place| place.offset), %error,
            is_recorded, status = outcome.row.status.as_str(),
            "Postgres refuses an outcome; its delivery ends here"
        );
        if is_recorded {
            self.count(&outcome);
        } else {
            let reason = FailureReason::Unrecordable.as_str();
            self.metrics.delivery_failures.with_label_values(&[reason]).inc();
        }
        if outcome.work.parked().is_none() && outcome.row.parked.is_some() {
            self.report(LaneEvent::NotParked(record.webhook_id));
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let Outcome { work, row, .. } = outcome;
            if !is_recorded || row.status == DeliveryStatus::Failed {
                let letter =
                    rows::dead_letter_record(&work.record, &row, FailureReason::Unrecordable.as_str());
                this.publish_dead_letter(&work, &letter).await;
            }
            this.finish_failed(work).await;
        });
    }

    /// Publishes the record that follows a recorded attempt once more, and completes `work`.
    pub(crate) async fn republish(&self, work: Work, next: NextRecord, progress: Option<&DeliveryProgress>) {
        match next {
            NextRecord::Retry(following) => {
                let retry = rows::retry_again(&work.record, progress, following);
                // Some of the delay is over; the tier is chosen by what remains of it. What is due
                // later than any tier holds is parked by whoever reads it.
                let tiers = self.schedules.tiers();
                let remaining_ms = following.due_at_ms - clock::now_ms();
                match tiers.fitting(remaining_ms).or(tiers.longest()) {
                    Some(tier) => self.publish_retry(&retry, tier).await,
                    None => tracing::error!(
                        delivery.id = %retry.delivery_id,
                        "no tier is configured for a recorded retry; it stays as it is"
                    ),
                }
                self.complete(work);
            }
            NextRecord::DeadLetter { reason } => {
                let letter = rows::dead_letter_again(&work.record, progress, reason);
                self.publish_final_failure(&work, reason, &letter, None).await;
                self.finish_failed(work).await;
            }
        }
    }

    /// Completes a record whose delivery was cancelled while its request ran.
    pub(crate) fn cancelled(&self, work: Work) {
        self.report_request(&work);
        if work.parked().is_some() {
            self.report(LaneEvent::Unparked(work.record.webhook_id));
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

    /// `answered`: the attempt of this process after which the delivery failed.
    async fn publish_final_failure(
        &self,
        work: &Work,
        reason: FailureReason,
        letter: &DeliveryRecord,
        answered: Option<Answered>,
    ) {
        if reason == FailureReason::Gone {
            self.disable_webhook(work, answered).await;
        }
        self.publish_dead_letter(work, letter).await;
    }

    /// Disables a webhook whose endpoint said that it is gone for good. After a crash in between it
    /// is redone together with the dead letter.
    async fn disable_webhook(&self, work: &Work, answered: Option<Answered>) {
        let (webhook, delivery) = (work.record.webhook_id, work.record.delivery_id);
        let disabled = self.monitor.until_done(PostgresOp::Outcomes, || async {
            let mut connection = self.pool.acquire().await?;
            match answered {
                Some(Answered { at, url_changed_at }) => {
                    let reason = DisableReason::Gone;
                    health::disable(&mut connection, webhook, reason, at, url_changed_at).await
                }
                None => health::disable_gone(&mut connection, webhook, delivery).await,
            }
        });
        if disabled.await {
            self.metrics
                .webhooks_disabled
                .with_label_values(&[DisableReason::Gone.as_str()])
                .inc();
            tracing::warn!(
                site.id = %work.record.site_id, webhook.id = %webhook, delivery.id = %delivery,
                reason = DisableReason::Gone.as_str(),
                "the endpoint answered 410 Gone; the webhook was disabled"
            );
        }
    }

    async fn publish_dead_letter(&self, work: &Work, letter: &DeliveryRecord) {
        let mut headers = letter.headers();
        headers.extend(work.read_from().into_iter().flat_map(Coordinates::headers));
        let key = letter.key();
        let out = outgoing(&self.dead_letter_topic, &key, letter, &headers);
        if publish_dead_letter(&self.publisher, out).await {
            self.metrics.dead_letters.inc();
        }
    }

    async fn publish(&self, topic: &str, record: &DeliveryRecord, headers: Vec<(&'static str, String)>) {
        let key = record.key();
        let out = outgoing(topic, &key, record, &headers);
        self.publisher.publish(out).await;
    }
}

fn outgoing<'a>(
    topic: &'a str,
    key: &'a str,
    record: &'a DeliveryRecord,
    headers: &'a [(&'static str, String)],
) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: None,
        key: Some(key.as_bytes()),
        value: Some(&record.body),
        headers,
        passed_on: &[],
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

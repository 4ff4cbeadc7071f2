//! Writes outcomes to Postgres in batches, then does what follows: the tier or dead-letter record, the word that an offset
//! is complete.
//!
//! In this order, so that a crash anywhere loses nothing: exchange, outcome in Postgres, next record acknowledged, offset
//! complete. While Postgres is away the outcomes are kept; there are never more than requests may be under way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::health_notes::HealthNotes;
use super::outcome::Next;
use super::resume::{Following, Known, Resume, resume};
use super::task::known_of;
use super::under_way::UnderWay;
use super::work::Work;
use crate::clock;
use crate::dispatch::record::DeliveryRecord;
use crate::dispatch::schedules::Schedules;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::id::DeliveryId;
use crate::kafka::producer::{Outgoing, Publisher};
use crate::record::outcomes::{self, OutcomeRow};
use crate::record::probe::Probe;
use crate::telemetry::Metrics;

/// Outcomes written in one statement.
const BATCH: usize = 500;

/// What came of a record.
#[derive(Debug)]
pub struct Outcome {
    pub work: Work,
    pub row: OutcomeRow,
    /// `None`: cancelled, nothing follows.
    pub next: Option<Next>,
}

/// Does what follows an outcome. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Follower {
    pub publisher: Publisher,
    pub schedules: Arc<Schedules>,
    pub under_way: Arc<UnderWay>,
    pub again: mpsc::UnboundedSender<Work>,
    pub metrics: Arc<Metrics>,
    /// What the retry topics' names begin with, the dot included.
    pub retry_prefix: Arc<str>,
    pub dead_letter_topic: Arc<str>,
}

impl Follower {
    /// Nothing remains to be done for a record.
    pub fn settle(&self, work: Work) {
        let again = self.under_way.finish(work.record.delivery_id, true);
        work.token.complete();
        self.look_again(again);
    }

    fn look_again(&self, works: Vec<Work>) {
        for work in works {
            // Nobody listens once the process is stopping; the next owner reads the record again.
            drop(self.again.send(work));
        }
    }

    /// A recorded attempt redoes its publish, never its send.
    pub async fn republish(&self, work: Work, following: Following, known: Option<&Known>) {
        let last_status = known.and_then(|known| known.last_status);
        let first_attempt_at_ms = known.and_then(|known| known.first_attempt_at_ms);
        match following {
            Following::Retry { attempt, due_at_ms } => {
                let next = work
                    .record
                    .retry(attempt, due_at_ms, first_attempt_at_ms, last_status);
                self.publish_retry(&next).await;
            }
            Following::DeadLetter { reason } => self.publish_dead_letter(&work, reason, last_status).await,
        }
        self.settle(work);
    }

    async fn publish_retry(&self, record: &DeliveryRecord) {
        let remaining_ms = record.due_at_ms.unwrap_or(0) - clock::now_ms();
        let Some(tier) = self.schedules.tiers().for_remaining(remaining_ms) else {
            // A schedule with a delay has a tier; without tiers there are no retries.
            tracing::error!(delivery.id = %record.delivery_id, "there is no tier for a retry");
            return;
        };
        let tier = tier.to_string();
        let topic = format!("{}{tier}", self.retry_prefix);
        self.publish(&topic, record, record.headers()).await;
        self.metrics.retries_published.with_label_values(&[&tier]).inc();
    }

    async fn publish_dead_letter(&self, work: &Work, reason: FailureReason, last_status: Option<u16>) {
        let record = work.record.dead_letter(reason, last_status);
        let mut headers = record.headers();
        headers.extend(work.read_from.headers());
        self.publish(&self.dead_letter_topic, &record, headers).await;
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
        };
        self.publisher.publish(out).await;
    }
}

/// Writes outcomes until there are no more senders.
#[derive(Debug)]
pub struct Writer {
    pub pool: PgPool,
    pub probe: Probe,
    pub follower: Follower,
    pub notes: Arc<HealthNotes>,
    pub metrics: Arc<Metrics>,
    pub tasks: TaskTracker,
}

impl Writer {
    /// Ends when all senders are gone and everything is written and followed up.
    pub async fn run(self, mut outcomes: mpsc::Receiver<Outcome>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while outcomes.recv_many(&mut batch, BATCH).await > 0 {
            let waiting = outcomes.len();
            for part in distinct(std::mem::take(&mut batch)) {
                self.write(part, waiting).await;
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    async fn write(&self, batch: Vec<Outcome>, waiting: usize) {
        let since = clock::monotonic();
        let rows: Vec<OutcomeRow> = batch.iter().map(|one| one.row.clone()).collect();
        let written = self.probe.until_done("outcomes", || {
            self.show_unwritten(batch.len() + waiting, since);
            async {
                let mut connection = self.pool.acquire().await?;
                outcomes::write(&mut connection, &rows).await
            }
        });
        let taken: HashSet<DeliveryId> = written.await.into_iter().collect();
        self.metrics.outcomes_unwritten.set(waiting as i64);
        self.metrics.outcomes_unwritten_seconds.set(0.0);
        for outcome in batch {
            if taken.contains(&outcome.row.facts.id) {
                self.recorded(outcome);
            } else {
                self.reconsider(outcome.work);
            }
        }
    }

    fn show_unwritten(&self, count: usize, since: Instant) {
        self.metrics.outcomes_unwritten.set(count as i64);
        self.metrics
            .outcomes_unwritten_seconds
            .set(clock::monotonic().duration_since(since).as_secs_f64());
    }

    fn recorded(&self, outcome: Outcome) {
        let Outcome { work, row, next } = outcome;
        let event = work.record.event_type.as_str();
        if row.status.is_finished() {
            self.metrics
                .deliveries
                .with_label_values(&[event, row.status.as_str()])
                .inc();
        }
        if let Some(reason) = row.failure_reason {
            self.metrics
                .delivery_failures
                .with_label_values(&[reason.as_str()])
                .inc();
        }
        self.notes.add(
            work.record.webhook_id,
            row.status,
            row.attempt.as_ref().map(|attempt| attempt.ended_at),
        );
        if row.status == DeliveryStatus::Failed {
            tracing::info!(
                site.id = %work.record.site_id, webhook.id = %work.record.webhook_id, delivery.id = %work.record.delivery_id,
                notification.id = %work.record.notification_id, attempt = row.attempts,
                outcome = row.failure_reason.map(FailureReason::as_str),
                error = row.attempt.as_ref().and_then(|attempt| attempt.error.as_deref()), "a delivery failed for good"
            );
        }
        let last_status = row.response_code.and_then(|code| u16::try_from(code).ok());
        match next {
            None | Some(Next::Delivered) => self.follower.settle(work),
            Some(Next::Retry {
                attempt, due_at_ms, ..
            }) => {
                let follower = self.follower.clone();
                let first_ms = row.first_attempt_at.map(|at| at.timestamp_millis());
                self.tasks.spawn(async move {
                    follower
                        .publish_retry(&work.record.retry(attempt, due_at_ms, first_ms, last_status))
                        .await;
                    follower.settle(work);
                });
            }
            Some(Next::Failed {
                reason,
                disable_webhook,
            }) => {
                let (follower, pool, probe, metrics) = (
                    self.follower.clone(),
                    self.pool.clone(),
                    self.probe.clone(),
                    Arc::clone(&self.metrics),
                );
                self.tasks.spawn(async move {
                    if disable_webhook {
                        disable(&pool, &probe, &metrics, &work).await;
                    }
                    follower.publish_dead_letter(&work, reason, last_status).await;
                    follower.settle(work);
                });
            }
        }
    }

    /// Another owner recorded this attempt, or a later one, first: what is recorded holds, and its publish is redone.
    fn reconsider(&self, work: Work) {
        let (follower, pool, probe) = (self.follower.clone(), self.pool.clone(), self.probe.clone());
        self.tasks.spawn(async move {
            let id = work.record.delivery_id;
            let known = probe.until_done("known", || async {
                let mut connection = pool.acquire().await?;
                outcomes::known(&mut connection, &[id]).await
            });
            let known = known.await.first().map(known_of);
            match resume(work.record.attempt, known.as_ref(), clock::now_ms()) {
                Resume::Republish(following) => follower.republish(work, following, known.as_ref()).await,
                Resume::Complete => follower.settle(work),
                Resume::Hold { .. } | Resume::Send { .. } => {
                    let again = follower.under_way.finish(id, false);
                    follower.look_again(again.into_iter().chain([work]).collect());
                }
            }
        });
    }
}

/// The endpoint said that it is gone for good.
async fn disable(pool: &PgPool, probe: &Probe, metrics: &Metrics, work: &Work) {
    let webhook = work.record.webhook_id;
    let disabled = probe.until_done("outcomes", || async {
        let mut connection = pool.acquire().await?;
        outcomes::disable_gone(&mut connection, webhook).await
    });
    if disabled.await {
        metrics.webhooks_disabled.with_label_values(&["gone"]).inc();
        tracing::warn!(site.id = %work.record.site_id, webhook.id = %webhook, delivery.id = %work.record.delivery_id, "the endpoint answered 410 Gone; the webhook was disabled");
    }
}

/// One statement cannot write a row twice: outcomes of one delivery go to different parts, in order.
fn distinct(batch: Vec<Outcome>) -> Vec<Vec<Outcome>> {
    let mut seen: HashMap<DeliveryId, usize> = HashMap::with_capacity(batch.len());
    let mut parts: Vec<Vec<Outcome>> = Vec::with_capacity(1);
    for outcome in batch {
        let place = seen.entry(outcome.row.facts.id).or_default();
        if parts.len() <= *place {
            parts.push(Vec::new());
        }
        parts[*place].push(outcome);
        *place += 1;
    }
    parts
}

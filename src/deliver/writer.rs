//! Writes outcomes to Postgres in batches, then does what follows: the tier or dead-letter record, the word that an offset
//! is complete.
//!
//! In this order, so that a crash anywhere loses nothing: exchange, outcome in Postgres, next record acknowledged, offset
//! complete. While Postgres is away the outcomes are kept; there are never more than requests may be under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::deliverer::known_of;
use super::health_notes::HealthNotes;
use super::in_flight::InFlight;
use super::intake::work::Work;
use super::outcome::Next;
use super::resume::{Following, Known, Resume, resume};
use crate::clock;
use crate::dispatch::record::DeliveryRecord;
use crate::dispatch::schedule::Tier;
use crate::dispatch::schedules::Schedules;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::id::DeliveryId;
use crate::kafka::producer::{Outgoing, Publisher};
use crate::record::outcomes::{self, OutcomeRow};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;

/// Outcomes written in one statement.
const BATCH: usize = 500;

/// How long a batch that is not full waits for more. Each write is a commit and a wait for the disk: at a thousand outcomes a
/// second this makes one of what came in eight. Nothing else waits with it: retries are due by when they failed.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// The reason of a dead letter whose outcome Postgres refuses.
const UNRECORDABLE: &str = "unrecordable";

/// What came of a record.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) work: Work,
    pub(crate) row: OutcomeRow,
    /// `None`: cancelled, nothing follows.
    pub(crate) next: Option<Next>,
}

/// Does what follows an outcome. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OutcomePublisher {
    pub(crate) publisher: Publisher,
    pub(crate) pool: PgPool,
    pub(crate) probe: PgMonitor,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) again: mpsc::UnboundedSender<Work>,
    pub(crate) metrics: Arc<Metrics>,
    /// What the retry topics' names begin with, the dot included.
    pub(crate) retry_prefix: Arc<str>,
    pub(crate) dead_letter_topic: Arc<str>,
}

impl OutcomePublisher {
    /// Nothing remains to be done for a record.
    pub(crate) fn settle(&self, work: Work) {
        let again = self.in_flight.finish(work.record.delivery_id, true);
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
    pub(crate) async fn republish(&self, work: Work, following: Following, known: Option<&Known>) {
        let last_status = known.and_then(|known| known.last_status);
        let first_attempt_at_ms = known.and_then(|known| known.first_attempt_at_ms);
        match following {
            Following::Retry { attempt, due_at_ms } => {
                let next = work
                    .record
                    .retry(attempt, due_at_ms, first_attempt_at_ms, last_status);
                // Some of the delay is over; where the record waits is chosen by what remains of it.
                match self.schedules.tiers().for_remaining(due_at_ms - clock::now_ms()) {
                    Some(tier) => self.publish_retry(&next, tier).await,
                    None => {
                        tracing::error!(delivery.id = %next.delivery_id, "no tier is configured for a recorded retry; it stays as it is");
                    }
                }
            }
            Following::DeadLetter { reason } => {
                // Unknown is impossible: what is recorded says so.
                let attempts = known.map_or(work.record.attempt, |known| known.attempts);
                let letter =
                    work.record
                        .dead_letter(reason.as_str(), attempts, first_attempt_at_ms, last_status);
                self.publish_dead_letter(&work, reason, letter).await;
            }
        }
        self.settle(work);
    }

    async fn publish_retry(&self, record: &DeliveryRecord, tier: Tier) {
        let tier = tier.to_string();
        let topic = format!("{}{tier}", self.retry_prefix);
        self.publish(&topic, record, record.headers()).await;
        self.metrics.retries_published.with_label_values(&[&tier]).inc();
    }

    async fn publish_dead_letter(&self, work: &Work, reason: FailureReason, letter: DeliveryRecord) {
        if reason == FailureReason::Gone {
            self.disable(work).await;
        }
        self.publish_letter(work, letter).await;
    }

    async fn publish_letter(&self, work: &Work, letter: DeliveryRecord) {
        let mut headers = letter.headers();
        headers.extend(work.read_from.headers());
        self.publish(&self.dead_letter_topic, &letter, headers).await;
        self.metrics.dead_letters.inc();
    }

    /// The endpoint said that it is gone for good. Part of what follows a recorded outcome, so that a crash in between loses
    /// it no more than the dead letter.
    async fn disable(&self, work: &Work) {
        let (webhook, delivery) = (work.record.webhook_id, work.record.delivery_id);
        let disabled = self.probe.until_done("outcomes", || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::disable_gone(&mut connection, webhook, delivery).await
        });
        if disabled.await {
            self.metrics.webhooks_disabled.with_label_values(&["gone"]).inc();
            tracing::warn!(site.id = %work.record.site_id, webhook.id = %webhook, delivery.id = %delivery, "the endpoint answered 410 Gone; the webhook was disabled");
        }
    }

    /// What was sent and cannot be recorded, whatever is tried: it leaves the stream, where everybody can see it, and is
    /// not sent again at every restart.
    async fn put_aside(&self, work: Work, row: &OutcomeRow, error: sqlx::Error) {
        let record = &work.record;
        tracing::error!(
            site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id, attempt = record.attempt,
            topic = work.read_from.topic, partition = work.read_from.partition, offset = work.read_from.offset, error = %error,
            "Postgres refuses an outcome; the delivery goes to the dead-letter topic and is not recorded"
        );
        let letter = letter(record, UNRECORDABLE, row);
        self.publish_letter(&work, letter).await;
        self.settle(work);
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

/// Writes outcomes until there are no more senders.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) follower: OutcomePublisher,
    pub(crate) notes: Arc<HealthNotes>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
}

impl Writer {
    /// Ends when all senders are gone and everything is written and followed up.
    pub(crate) async fn run(self, mut outcomes: mpsc::Receiver<Outcome>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while outcomes.recv_many(&mut batch, BATCH).await > 0 {
            let more = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    // Nobody is left to wait for.
                    if outcomes.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            // An error means that the time is over, and what has come is in the batch.
            drop(tokio::time::timeout(BATCH_WAIT, more).await);
            let waiting = outcomes.len();
            for part in distinct(std::mem::take(&mut batch)) {
                self.write(part, waiting).await;
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    /// Writes a batch. Of one that Postgres refuses, halves are tried, until what it is about stands alone.
    async fn write(&self, batch: Vec<Outcome>, waiting: usize) {
        let since = clock::monotonic();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let others = waiting + parts.iter().map(Vec::len).sum::<usize>();
            let rows: Vec<OutcomeRow> = part.iter().map(|one| one.row.clone()).collect();
            let written = self.follower.probe.until_answered("outcomes", || {
                self.show_unwritten(rows.len() + others, since);
                async {
                    let mut connection = self.follower.pool.acquire().await?;
                    outcomes::write(&mut connection, &rows).await
                }
            });
            match written.await {
                Ok(taken) => self.written(part, &taken.into_iter().collect()),
                Err(error) if part.len() == 1 => {
                    let follower = self.follower.clone();
                    let Outcome { work, row, .. } = part.remove(0);
                    self.tasks
                        .spawn(async move { follower.put_aside(work, &row, error).await });
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
            }
        }
        self.metrics.outcomes_unwritten.set(waiting as i64);
        self.metrics.outcomes_unwritten_seconds.set(0.0);
    }

    fn written(&self, batch: Vec<Outcome>, taken: &HashMap<DeliveryId, DeliveryStatus>) {
        for outcome in batch {
            match taken.get(&outcome.row.facts.id) {
                // Cancelled while it was under way: what came of it is recorded, and nothing follows.
                Some(DeliveryStatus::Cancelled) if outcome.row.status != DeliveryStatus::Cancelled => {
                    self.follower.settle(outcome.work);
                }
                Some(_) => self.recorded(outcome),
                None => self.reconsider(outcome.work),
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
        if let Some(attempt) = &row.attempt {
            self.notes.add(
                work.record.webhook_id,
                row.status,
                attempt.ended_at,
                attempt.fault,
            );
        }
        if row.status == DeliveryStatus::Failed {
            tracing::info!(
                site.id = %work.record.site_id, webhook.id = %work.record.webhook_id, delivery.id = %work.record.delivery_id,
                notification.id = %work.record.notification_id, attempt = row.attempts,
                outcome = row.failure_reason.map(FailureReason::as_str),
                error = row.attempt.as_ref().and_then(|attempt| attempt.error.as_deref()), "a delivery failed for good"
            );
        }
        match next {
            None | Some(Next::Delivered) => self.follower.settle(work),
            Some(Next::Retry {
                attempt,
                due_at_ms,
                tier,
            }) => {
                let follower = self.follower.clone();
                let first_ms = row.first_attempt_at.map(|at| at.timestamp_millis());
                let last_status = last_status(&row);
                self.tasks.spawn(async move {
                    follower
                        .publish_retry(
                            &work.record.retry(attempt, due_at_ms, first_ms, last_status),
                            tier,
                        )
                        .await;
                    follower.settle(work);
                });
            }
            Some(Next::Failed { reason, .. }) => {
                let follower = self.follower.clone();
                let letter = letter(&work.record, reason.as_str(), &row);
                self.tasks.spawn(async move {
                    follower.publish_dead_letter(&work, reason, letter).await;
                    follower.settle(work);
                });
            }
        }
    }

    /// Another owner recorded this attempt, or a later one, first: what is recorded holds, and its publish is redone.
    fn reconsider(&self, work: Work) {
        let follower = self.follower.clone();
        self.tasks.spawn(async move {
            let id = work.record.delivery_id;
            let known = follower.probe.until_done("known", || async {
                let mut connection = follower.pool.acquire().await?;
                outcomes::known(&mut connection, &[id]).await
            });
            let known = known.await.first().map(known_of);
            match resume(work.record.attempt, known.as_ref(), clock::now_ms()) {
                Resume::Republish(following) => follower.republish(work, following, known.as_ref()).await,
                Resume::Complete => follower.settle(work),
                Resume::Hold { .. } | Resume::Send { .. } => {
                    let again = follower.in_flight.finish(id, false);
                    follower.look_again(again.into_iter().chain([work]).collect());
                }
            }
        });
    }
}

/// The dead letter of a delivery of which `row` is the last outcome.
fn letter(record: &DeliveryRecord, reason: &str, row: &OutcomeRow) -> DeliveryRecord {
    let attempts = u32::try_from(row.attempts).unwrap_or(0);
    let first_ms = row.first_attempt_at.map(|at| at.timestamp_millis());
    record.dead_letter(reason, attempts, first_ms, last_status(row))
}

fn last_status(row: &OutcomeRow) -> Option<u16> {
    row.response_code.and_then(|code| u16::try_from(code).ok())
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

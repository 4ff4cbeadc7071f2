//! Brings records to an outcome: asks what is known, sends what may be sent, hands the outcome to the writer.
//!
//! Before the first byte is sent, Postgres has answered; so while it is away nothing is sent that could not be recorded. Every
//! wait is bounded by `give_up`, which ends the grace period.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Gate, gate};
use super::http::client::{Exchange, WebhookClient};
use super::http::phases::Phases;
use super::in_flight::{Begin, InFlight, facts_of};
use super::intake::work::Work;
use super::outcome::{self, Ended, Next};
use super::request::{AttemptFacts, WebhookRequest};
use super::resume::{Claim, Known, Resume, resume};
use super::writer::{Outcome, OutcomePublisher};
use crate::clock;
use crate::dispatch::schedules::Schedules;
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::id::DeliveryId;
use crate::domain::registry::Registry;
use crate::domain::time::from_ms;
use crate::domain::webhook::Webhook;
use crate::record::outcomes::{self, AttemptRow, OutcomeRow};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;

/// Records looked up in one query.
const BATCH: usize = 256;
/// How long what Postgres knows of a delivery may be acted on: what waited longer than this for a place asks again.
const KNOWN_HOLDS: Duration = Duration::from_secs(1);
/// How often a held record looks whether the former owner's outcome is there.
const HOLD_LOOK: Duration = Duration::from_millis(200);
/// How often a record that its webhook does not seem to want looks whether the registry has been read since.
const REGISTRY_LOOK: Duration = Duration::from_millis(100);
/// How far the clocks of two replicas may be apart before somebody is told.
const CLOCK_SLACK_MS: i64 = 500;
/// Beyond a request's own deadline: until its outcome is surely written or given up.
const CLAIM_SLACK_MS: i64 = 5_000;

/// What the deliverer is connected to.
#[derive(Debug)]
pub(crate) struct Deliverer {
    pub(crate) pool: PgPool,
    pub(crate) probe: PgMonitor,
    pub(crate) registry: watch::Receiver<Arc<Registry>>,
    /// When the registry was last read, in milliseconds since the Unix epoch.
    pub(crate) registry_read_at: Arc<AtomicI64>,
    pub(crate) client: WebhookClient,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) follower: OutcomePublisher,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    pub(crate) again: mpsc::UnboundedSender<Work>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled at the end of the grace period.
    pub(crate) give_up: CancellationToken,
}

impl Deliverer {
    /// Runs until the intake threads are gone, then until what is under way has ended or the grace period has.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut work: mpsc::Receiver<Work>,
        mut again: mpsc::UnboundedReceiver<Work>,
    ) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                // What is held is looked at over and over, and may be much: half a batch is left for what is new.
                Some(one) = again.recv() => {
                    batch.push(one);
                    while batch.len() < BATCH / 2 && let Ok(one) = again.try_recv() {
                        batch.push(one);
                    }
                }
                read = work.recv_many(&mut batch, BATCH) => if read == 0 { break },
            }
            while batch.len() < BATCH
                && let Ok(one) = work.try_recv()
            {
                batch.push(one);
            }
            self.resolve(std::mem::take(&mut batch)).await;
        }
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => tracing::info!("every request under way has ended"),
            () = self.give_up.cancelled() => tracing::warn!(requests = self.tasks.len(), "requests still under way were given up at the end of the grace period"),
        }
        Ok(())
    }

    async fn resolve(self: &Arc<Self>, batch: Vec<Work>) {
        let mut mine: VecDeque<Box<Work>> = batch
            .into_iter()
            .filter_map(|work| match self.in_flight.begin(Box::new(work)) {
                Begin::Alone(work) => Some(work),
                Begin::Waits | Begin::Revoked => None,
            })
            .collect();
        while !mine.is_empty() {
            let ids: Vec<DeliveryId> = mine.iter().map(|work| work.record.delivery_id).collect();
            let Some(known) = self.ask(&ids).await else { return };
            let asked_at = clock::monotonic();
            while let Some(work) = mine.pop_front() {
                let known = known.get(&work.record.delivery_id);
                match resume(work.record.attempt, known, clock::now_ms()) {
                    Resume::Complete => self.follower.settle(*work),
                    Resume::Republish(following) => {
                        let (follower, known) = (self.follower.clone(), known.copied());
                        self.tasks.spawn(async move {
                            follower.republish(*work, following, known.as_ref()).await;
                        });
                    }
                    Resume::Hold { until_ms } => self.hold(work, until_ms),
                    Resume::Send { possible_repeat } => {
                        let Some(place) = self.place().await else { return };
                        if clock::monotonic().duration_since(asked_at) > KNOWN_HOLDS {
                            mine.push_front(work);
                            break;
                        }
                        self.send(work, place, possible_repeat).await;
                    }
                }
            }
        }
    }

    /// Waits for a place among the requests under way; `None` when the process ends first.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let waited_from = clock::monotonic();
        let place = tokio::select! {
            biased;
            () = self.give_up.cancelled() => None,
            place = Arc::clone(&self.places).acquire_owned() => place.ok(),
        };
        let waited = clock::monotonic().duration_since(waited_from);
        self.metrics
            .queue_wait
            .with_label_values(&["process"])
            .observe(waited.as_secs_f64());
        place
    }

    /// What Postgres knows of these deliveries. Waits for as long as Postgres is away; `None` when the process ends first.
    async fn ask(&self, ids: &[DeliveryId]) -> Option<HashMap<DeliveryId, Known>> {
        let answer = self.probe.until_done("known", || async {
            let mut connection = self.pool.acquire().await?;
            outcomes::known(&mut connection, ids).await
        });
        tokio::select! {
            rows = answer => Some(rows.into_iter().map(|row| (row.id, known_of(&row))).collect()),
            () = self.give_up.cancelled() => None,
        }
    }

    /// A former owner's request may still be under way: look again a little later.
    fn hold(self: &Arc<Self>, work: Box<Work>, until_ms: i64) {
        let remaining = Duration::from_millis(u64::try_from(until_ms - clock::now_ms()).unwrap_or(0));
        self.later(work, HOLD_LOOK.min(remaining));
    }

    fn later(self: &Arc<Self>, work: Box<Work>, pause: Duration) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            this.look_again(*work);
        });
    }

    fn look_again(&self, work: Work) {
        for one in self
            .in_flight
            .finish(work.record.delivery_id, false)
            .into_iter()
            .chain([work])
        {
            // Nobody listens once the process is stopping; the next owner reads the record again.
            drop(self.again.send(one));
        }
    }

    /// Sends in a task of its own, unless the webhook as it is now does not want it. There is a place already: what was
    /// read before a wait for one might be about a webhook that has changed since.
    async fn send(self: &Arc<Self>, work: Box<Work>, place: OwnedSemaphorePermit, possible_repeat: bool) {
        // Read before the registry is looked at: what was published by then is in it.
        let read_at_ms = self.registry_read_at.load(Ordering::Acquire);
        let webhook = self
            .registry
            .borrow()
            .webhooks
            .get(&work.record.webhook_id)
            .cloned();
        let gate = gate(
            webhook.as_deref(),
            work.record.event_type,
            work.record.origin,
            work.record.created_at_ms,
            clock::now_ms(),
        );
        // It was published for a webhook that was there and enabled; that may be news to us. (Not for longer than our own
        // clock says, should the record's time lie in the future.)
        let published_ms = work.record_ms.min(work.due_at_ms);
        if matches!(gate, Gate::Cancel(_)) && read_at_ms <= published_ms + CLOCK_SLACK_MS {
            return self.later(work, REGISTRY_LOOK);
        }
        let (status, reason) = match (gate, webhook) {
            (Gate::Open, Some(webhook)) => return self.start(work, webhook, place, possible_repeat),
            (Gate::Open | Gate::Cancel(_), None) => (DeliveryStatus::Cancelled, FailureReason::Deleted),
            (Gate::Cancel(reason), Some(_)) => (DeliveryStatus::Cancelled, reason),
            (Gate::Fail(reason), _) => (DeliveryStatus::Failed, reason),
        };
        // Nobody else needs to wait while this one does for the writer.
        drop(place);
        self.end_unsent(work, status, reason).await;
    }

    fn start(
        self: &Arc<Self>,
        work: Box<Work>,
        webhook: Arc<Webhook>,
        place: OwnedSemaphorePermit,
        possible_repeat: bool,
    ) {
        let deadline_ms =
            clock::now_ms() + i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX) + CLAIM_SLACK_MS;
        if !self.in_flight.sending(&work.record, deadline_ms) {
            // Its partition was given back while it waited.
            return self.look_again(*work);
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                outcome = this.attempt(work, &webhook, possible_repeat) => {
                    // The place is kept until the writer has room: what is unwritten is bounded too.
                    drop(this.outcomes.send(outcome).await);
                }
                () = this.give_up.cancelled() => {}
            }
            drop(place);
        });
    }

    async fn attempt(&self, work: Box<Work>, webhook: &Webhook, possible_repeat: bool) -> Outcome {
        let record = &work.record;
        let possible_repeat = possible_repeat || work.suspect;
        let in_flight = self.metrics.in_flight.with_label_values(&["healthy"]);
        in_flight.inc();
        let started_ms = clock::now_ms();
        let facts = AttemptFacts {
            delivery_id: record.delivery_id,
            notification_id: record.notification_id,
            event: record.event_type,
            attempt: record.attempt,
            now_ms: started_ms,
            body: record.body.clone(),
        };
        let exchange = AssertUnwindSafe(async {
            self.client
                .exchange(&WebhookRequest::build(webhook, &facts))
                .await
        });
        // A panic is our fault and this attempt's outcome: passed on, it would take the record's token with it.
        let exchange = exchange
            .catch_unwind()
            .await
            .unwrap_or_else(|_| panicked(started_ms));
        in_flight.dec();
        self.count(&work, &exchange, started_ms, possible_repeat);
        let ended = Ended {
            attempt: record.attempt,
            result: exchange.result,
            retry_after: exchange.retry_after.as_deref(),
            ended_at_ms: exchange.ended_at_ms,
        };
        let next = outcome::next(
            &ended,
            self.schedules.get(&webhook.retry_schedule),
            self.schedules.tiers(),
            crate::chance::fraction(),
        );
        tracing::debug!(
            site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id,
            notification.id = %record.notification_id, attempt = record.attempt, outcome = exchange.result.as_str(),
            fault = exchange.fault().as_str(), duration_ms = exchange.ended_at_ms - exchange.started_at_ms,
            error = exchange.error.as_deref(), "attempted"
        );
        let row = row_of(&work, webhook, exchange, &next, possible_repeat);
        Outcome {
            work: *work,
            row,
            next: Some(next),
        }
    }

    fn count(&self, work: &Work, exchange: &Exchange, started_ms: i64, possible_repeat: bool) {
        let metrics = &self.metrics;
        let kind = if work.record.attempt == 1 {
            "first"
        } else {
            "retry"
        };
        metrics
            .attempts
            .with_label_values(&[exchange.result.as_str(), exchange.fault().as_str(), kind])
            .inc();
        let phases = &exchange.phases;
        for (phase, duration) in [
            ("dns", phases.dns),
            ("connect", phases.connect),
            ("tls", phases.tls),
            ("response", phases.response),
            ("total", phases.total),
        ] {
            if let Some(duration) = duration {
                metrics
                    .attempt_phases
                    .with_label_values(&[phase])
                    .observe(duration.as_secs_f64());
            }
        }
        if possible_repeat {
            metrics.possible_repeats.inc();
        }
        if work.record.attempt == 1 {
            let start = (started_ms - work.record_ms).max(0) as f64 / 1_000.0;
            metrics.delivery_start.with_label_values(&["no"]).observe(start);
        }
        if let Some(tier) = work.tier {
            let late = (started_ms - work.due_at_ms).max(0) as f64 / 1_000.0;
            metrics
                .retry_lateness
                .with_label_values(&[&tier.to_string()])
                .observe(late);
        }
    }

    /// Ends a delivery without a request.
    async fn end_unsent(&self, work: Box<Work>, status: DeliveryStatus, reason: FailureReason) {
        let attempts = i32::try_from(work.record.attempt - 1).unwrap_or(i32::MAX);
        let row = OutcomeRow {
            facts: facts_of(&work.record),
            status,
            attempts,
            response_code: work.record.last_status.map(i32::from),
            failure_reason: Some(reason),
            next_retry_at: None,
            first_attempt_at: work.record.first_attempt_at_ms.map(from_ms),
            attempt: None,
        };
        let next = (status == DeliveryStatus::Failed).then_some(Next::Failed {
            reason,
            disable_webhook: false,
        });
        drop(
            self.outcomes
                .send(Outcome {
                    work: *work,
                    row,
                    next,
                })
                .await,
        );
    }
}

/// The exchange of an attempt in which our own code failed.
fn panicked(started_at_ms: i64) -> Exchange {
    Exchange {
        started_at_ms,
        headers_at_ms: None,
        ended_at_ms: clock::now_ms(),
        result: AttemptResult::Internal,
        status: None,
        response: None,
        error: Some("our own code failed".to_owned()),
        phases: Phases::default(),
        remote: None,
        retry_after: None,
    }
}

fn row_of(
    work: &Work,
    webhook: &Webhook,
    exchange: Exchange,
    next: &Next,
    possible_repeat: bool,
) -> OutcomeRow {
    let (status, failure_reason, next_retry_at) = match next {
        Next::Delivered => (DeliveryStatus::Delivered, None, None),
        Next::Retry { due_at_ms, .. } => (DeliveryStatus::Retrying, None, Some(from_ms(*due_at_ms))),
        Next::Failed { reason, .. } => (DeliveryStatus::Failed, Some(*reason), None),
    };
    let started_at = from_ms(exchange.started_at_ms);
    let millis =
        |duration: Option<Duration>| duration.map(|one| i32::try_from(one.as_millis()).unwrap_or(i32::MAX));
    let status_code = exchange.status.map(i32::from);
    OutcomeRow {
        facts: facts_of(&work.record),
        status,
        attempts: i32::try_from(work.record.attempt).unwrap_or(i32::MAX),
        response_code: status_code,
        failure_reason,
        next_retry_at,
        first_attempt_at: Some(work.record.first_attempt_at_ms.map_or(started_at, from_ms)),
        attempt: Some(AttemptRow {
            due_at: from_ms(work.due_at_ms),
            started_at,
            headers_at: exchange.headers_at_ms.map(from_ms),
            ended_at: from_ms(exchange.ended_at_ms),
            status_code,
            result: exchange.result.as_str(),
            fault: exchange.fault().as_str(),
            error: exchange.error,
            response: exchange.response,
            remote_address: exchange.remote.map(|address| address.to_string()),
            url_masked: webhook.url.masked(),
            possible_repeat,
            dns_ms: millis(exchange.phases.dns),
            connect_ms: millis(exchange.phases.connect),
            tls_ms: millis(exchange.phases.tls),
            response_ms: millis(exchange.phases.response),
            total_ms: millis(exchange.phases.total),
        }),
    }
}

/// What is known, in the words of the resume rule.
pub(crate) fn known_of(row: &outcomes::KnownDelivery) -> Known {
    Known {
        status: row.status,
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        next_retry_at_ms: row.next_retry_at.map(|at| at.timestamp_millis()),
        failure_reason: row.failure_reason,
        last_status: row.response_code.and_then(|code| u16::try_from(code).ok()),
        first_attempt_at_ms: row.first_attempt_at.map(|at| at.timestamp_millis()),
        claim: row.claim.map(|(attempt, until)| Claim {
            attempt: u32::try_from(attempt).unwrap_or(0),
            until_ms: until.timestamp_millis(),
        }),
    }
}

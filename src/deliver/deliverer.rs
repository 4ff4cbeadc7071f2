//! The loop over batches of records: asks Postgres about a batch, decides on each record, and sends
//! what may be sent.
//!
//! Before the first byte is sent, Postgres has answered; so while it is away nothing is sent that
//! could not be recorded. Every wait is bounded by `give_up`, which ends the grace period.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::decide::{Action, WebhookSnapshot, decide};
use super::in_flight::InFlight;
use super::intake::work::Work;
use super::outcome_publisher::OutcomePublisher;
use super::progress::ProgressReader;
use super::resume::DeliveryProgress;
use super::rows::{self, Outcome};
use super::send::AttemptSender;
use crate::clock;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::registry::Registry;
use crate::telemetry::Metrics;

/// Records looked up in one query.
const BATCH: usize = 256;
/// Longest time for which an answer of Postgres is acted on: a record that waited longer for a
/// permit is asked about again.
const PROGRESS_TTL: Duration = Duration::from_secs(1);
/// Pause before a held record is looked at again, to see if the former owner's outcome is there.
const HOLD_POLL: Duration = Duration::from_millis(200);

/// Brings records to an outcome.
#[derive(Debug)]
pub(crate) struct Deliverer {
    pub(crate) progress: ProgressReader,
    pub(crate) registry: watch::Receiver<Arc<Registry>>,
    /// Time of the last read of the registry, in milliseconds since the Unix epoch.
    pub(crate) registry_read_at: Arc<AtomicI64>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) attempts: Arc<AttemptSender>,
    pub(crate) publisher: Arc<OutcomePublisher>,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    /// One for each request that may run at a time.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    /// Attempts, republications and waiting records.
    pub(crate) tasks: TaskTracker,
    /// Cancelled at the end of the grace period.
    pub(crate) give_up: CancellationToken,
}

impl Deliverer {
    /// Runs until the intake threads are gone, then until every attempt has ended or the grace
    /// period has.
    pub(crate) async fn run(
        self,
        mut work: mpsc::Receiver<Work>,
        mut requeued: mpsc::UnboundedReceiver<Work>,
    ) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                // Held records come back over and over, and may be many: half a batch is left for
                // new ones.
                Some(one) = requeued.recv() => {
                    batch.push(one);
                    while batch.len() < BATCH / 2 && let Ok(one) = requeued.try_recv() {
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
            self.deliver(std::mem::take(&mut batch)).await;
        }
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => tracing::info!("every request has ended"),
            () = self.give_up.cancelled() => tracing::warn!(
                requests = self.tasks.len(),
                "requests that still ran were given up at the end of the grace period"
            ),
        }
        Ok(())
    }

    /// Handles a batch. Returns early, with records left over, when the process ends.
    async fn deliver(&self, batch: Vec<Work>) {
        let mut admitted: VecDeque<Box<Work>> = batch
            .into_iter()
            .filter_map(|work| self.in_flight.admit(Box::new(work)))
            .collect();
        while !admitted.is_empty() {
            let ids: Vec<DeliveryId> = admitted.iter().map(|work| work.record.delivery_id).collect();
            let Some(known) = self.read_progress(&ids).await else {
                return;
            };
            let known_at = clock::monotonic();
            while let Some(work) = admitted.pop_front() {
                let progress = known.get(&work.record.delivery_id);
                let mut action = self.decide(&work, progress);
                let mut permit = None;
                if action.needs_permit() {
                    permit = self.acquire_permit().await;
                    if permit.is_none() {
                        return;
                    }
                    if clock::monotonic().duration_since(known_at) > PROGRESS_TTL {
                        admitted.push_front(work);
                        break;
                    }
                    // The webhook may have changed during the wait.
                    action = self.decide(&work, progress);
                }
                self.act(work, action, progress, permit).await;
            }
        }
    }

    /// Reads the state of these deliveries; `None` when the process ends first.
    async fn read_progress(&self, ids: &[DeliveryId]) -> Option<HashMap<DeliveryId, DeliveryProgress>> {
        tokio::select! {
            known = self.progress.read(ids) => Some(known),
            () = self.give_up.cancelled() => None,
        }
    }

    fn decide(&self, work: &Work, progress: Option<&DeliveryProgress>) -> Action {
        let snapshot = self.snapshot(work.record.webhook_id);
        decide(work, progress, &snapshot, clock::now_ms())
    }

    fn snapshot(&self, webhook: WebhookId) -> WebhookSnapshot {
        // Read before the registry: a registry that is published in between is newer than the time
        // says.
        let read_at_ms = self.registry_read_at.load(Ordering::Acquire);
        let webhook = self.registry.borrow().webhooks.get(&webhook).cloned();
        WebhookSnapshot { webhook, read_at_ms }
    }

    /// Waits until one more request may run; `None` when the process ends first.
    async fn acquire_permit(&self) -> Option<OwnedSemaphorePermit> {
        let waited_from = clock::monotonic();
        let permit = tokio::select! {
            biased;
            () = self.give_up.cancelled() => None,
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
        };
        let waited = clock::monotonic().duration_since(waited_from);
        self.metrics
            .queue_wait
            .with_label_values(&["process"])
            .observe(waited.as_secs_f64());
        permit
    }

    async fn act(
        &self,
        work: Box<Work>,
        action: Action,
        progress: Option<&DeliveryProgress>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        match action {
            Action::Complete => self.publisher.complete(*work),
            Action::Republish(next) => {
                let (publisher, progress) = (Arc::clone(&self.publisher), progress.copied());
                self.tasks
                    .spawn(async move { publisher.republish(*work, next, progress.as_ref()).await });
            }
            Action::HoldUntil { until_ms } => {
                let remaining_ms = u64::try_from(until_ms - clock::now_ms()).unwrap_or(0);
                self.requeue_after(work, HOLD_POLL.min(Duration::from_millis(remaining_ms)));
            }
            Action::RequeueAfter(pause) => self.requeue_after(work, pause),
            Action::EndUnsent { status, reason } => {
                // No other delivery needs to wait while this one waits for the writer.
                drop(permit);
                // Refused once the writer is gone; the next owner reads the record again.
                drop(self.outcomes.send(rows::unsent(*work, status, reason)).await);
            }
            Action::Send {
                webhook,
                possible_repeat,
            } => self.attempts.start(work, webhook, possible_repeat, permit),
        }
    }

    fn requeue_after(&self, work: Box<Work>, pause: Duration) {
        let in_flight = Arc::clone(&self.in_flight);
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            in_flight.requeue(*work);
        });
    }
}

//! Publishes what a detector thread decided, and says which offsets may be committed.
//!
//! Guaranteed: a batch is settled only when every record it led to is acknowledged; the deliveries of an episode are
//! published only after its state is. States are handed over in order, so a site's later state is never overtaken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::delivery::Origin;
use crate::domain::id::DeliveryId;
use crate::domain::site::SiteId;
use crate::kafka::backlog::Portion;
use crate::kafka::producer::{Outgoing, PublishError, Publisher};

/// How long the thread waits before it offers a record to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// The topics a detector writes.
#[derive(Debug, Clone)]
pub(crate) struct OutboxTopics {
    pub(crate) deliveries: Arc<str>,
    pub(crate) detector_state: Arc<str>,
    pub(crate) rejected: Arc<str>,
}

/// An episode whose deliveries are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) partition: i32,
    pub(crate) site_id: SiteId,
    pub(crate) episode: Uuid,
}

/// The way from a detector thread to Kafka. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) publisher: Publisher,
    pub(crate) topics: OutboxTopics,
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) confirmed: Sender<Confirmed>,
}

/// How many records of a batch are not acknowledged yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self) {
        // Whoever sees zero also sees what was written before.
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Whether all are acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// A record that outlives the call that made it.
#[derive(Debug, Clone)]
pub(crate) struct OwnedRecord {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<bytes::Bytes>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl OwnedRecord {
    fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            passed_on: &[],
        }
    }
}

impl Outbox {
    /// Publishes a record that nothing waits for but its batch.
    pub(crate) fn publish(&self, record: OwnedRecord, pending: &Pending) {
        pending.add();
        let portion = self.publisher.backlog().add(1, record.as_outgoing().bytes());
        // Shared by the tries to hand it over, of which one succeeds.
        let record = Arc::new((record, portion));
        loop {
            let (again, outbox, pending) = (Arc::clone(&record), self.clone(), pending.clone());
            let done = move |result: Result<(), PublishError>| match result {
                Ok(()) => pending.done(),
                // Refused, not lost: offered again until it is taken, and until then nothing after it is committed.
                Err(error) => {
                    let publisher = outbox.publisher.clone();
                    error.log(publisher.client_events());
                    outbox.tasks.spawn_on(
                        async move {
                            publisher.publish(again.0.as_outgoing()).await;
                            pending.done();
                        },
                        &outbox.runtime,
                    );
                }
            };
            if self.publisher.try_publish(record.0.as_outgoing(), done) {
                return;
            }
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    /// Publishes the deliveries of a decision that rests on no state.
    pub(crate) fn publish_decision(&self, decision: &Decision, pending: &Pending) {
        for record in self.deliveries(decision) {
            self.publish(record, pending);
        }
    }

    /// Publishes a site's state, and after its acknowledgement the deliveries of what was decided with it.
    pub(crate) fn publish_state(&self, partition: i32, state: StateRecord, pending: &Pending) {
        pending.add();
        let record = OwnedRecord {
            topic: Arc::clone(&self.topics.detector_state),
            partition: Some(partition),
            key: Some(state.site_id.as_str().as_bytes().to_vec()),
            value: state.bytes.map(Into::into),
            headers: Vec::new(),
        };
        let portion = self.carry(&state.decisions, Some(&record));
        let acknowledged = self.hand_over(&record);
        let (outbox, pending) = (self.clone(), pending.clone());
        self.tasks.spawn_on(
            async move {
                let _until_done = portion;
                if !matches!(acknowledged.await, Ok(Ok(()))) {
                    outbox.publisher.publish(record.as_outgoing()).await;
                }
                outbox.publish_episodes(partition, state.decisions).await;
                pending.done();
            },
            &self.runtime,
        );
    }

    /// Publishes again what was decided and stored by an earlier owner, and not confirmed.
    pub(crate) fn publish_unconfirmed(&self, partition: i32, decisions: Vec<Decision>, pending: &Pending) {
        if decisions.is_empty() {
            return;
        }
        pending.add();
        let portion = self.carry(&decisions, None);
        let (outbox, pending) = (self.clone(), pending.clone());
        self.tasks.spawn_on(
            async move {
                let _until_done = portion;
                outbox.publish_episodes(partition, decisions).await;
                pending.done();
            },
            &self.runtime,
        );
    }

    /// Counts a state and the deliveries that are to follow it.
    fn carry(&self, decisions: &[Decision], state: Option<&OwnedRecord>) -> Portion {
        let deliveries: usize = decisions.iter().map(|decision| decision.webhooks.len()).sum();
        let bodies = decisions
            .iter()
            .map(|decision| decision.webhooks.len() * decision.body.len());
        let bytes = bodies.sum::<usize>() + state.map_or(0, |state| state.as_outgoing().bytes());
        self.publisher
            .backlog()
            .add(deliveries + usize::from(state.is_some()), bytes)
    }

    async fn publish_episodes(&self, partition: i32, decisions: Vec<Decision>) {
        for decision in decisions {
            for record in self.deliveries(&decision) {
                self.publisher.publish(record.as_outgoing()).await;
            }
            if let Some(episode) = decision.episode {
                // After the thread has ended nobody needs to know.
                drop(self.confirmed.send(Confirmed {
                    partition,
                    site_id: decision.site_id,
                    episode,
                }));
            }
        }
    }

    /// Hands a record over in the order of the calls.
    fn hand_over(&self, record: &OwnedRecord) -> tokio::sync::oneshot::Receiver<Result<(), PublishError>> {
        loop {
            let (done, acknowledged) = tokio::sync::oneshot::channel();
            if self
                .publisher
                .try_publish(record.as_outgoing(), move |result| drop(done.send(result)))
            {
                return acknowledged;
            }
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    /// One record for each webhook.
    fn deliveries<'a>(&'a self, decision: &'a Decision) -> impl Iterator<Item = OwnedRecord> + 'a {
        decision.webhooks.iter().map(|webhook| {
            let record = DeliveryRecord {
                delivery_id: DeliveryId::derive(decision.id, *webhook),
                notification_id: decision.id,
                webhook_id: *webhook,
                site_id: decision.site_id.clone(),
                event_type: decision.event,
                created_at_ms: decision.created_at_ms,
                origin: Origin::Event,
                attempt: 1,
                due_at_ms: None,
                first_attempt_at_ms: None,
                reason: None,
                last_status: None,
                body: decision.body.clone(),
            };
            OwnedRecord {
                topic: Arc::clone(&self.topics.deliveries),
                partition: None,
                key: Some(record.key().into_bytes()),
                headers: record.headers(),
                value: Some(record.body),
            }
        })
    }
}

/// Positions that may be committed once everything before them is acknowledged.
#[derive(Debug)]
pub(crate) struct Settling<P> {
    batches: VecDeque<(P, Pending)>,
    settled: Option<P>,
}

impl<P> Default for Settling<P> {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            settled: None,
        }
    }
}

impl<P> Settling<P> {
    /// A batch ended at `position`.
    pub(crate) fn push(&mut self, position: P, pending: Pending) {
        if pending.is_settled() && self.batches.is_empty() {
            self.settled = Some(position);
        } else {
            self.batches.push_back((position, pending));
        }
    }

    /// The latest position before which everything is acknowledged, if it is a new one.
    pub(crate) fn take(&mut self) -> Option<P> {
        while self
            .batches
            .front()
            .is_some_and(|(_, pending)| pending.is_settled())
        {
            self.settled = self.batches.pop_front().map(|(position, _)| position);
        }
        self.settled.take()
    }

    /// Whether everything pushed is acknowledged.
    pub(crate) fn all_settled(&self) -> bool {
        self.batches.iter().all(|(_, pending)| pending.is_settled())
    }

    /// Batches not yet settled.
    pub(crate) fn open(&self) -> usize {
        self.batches.len()
    }
}

#[cfg(test)]
pub(crate) mod tests;

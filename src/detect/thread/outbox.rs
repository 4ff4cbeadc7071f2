//! Publishing of a detector thread's records.
//!
//! Guaranteed: a record counts as unacknowledged in its batch until the brokers have acknowledged
//! it and what follows from it; the deliveries of an episode are published only after its state is
//! acknowledged, and only if the partition was not lost in doubt by then: its next owner may have
//! decided without that state. States are handed over in order, so a site's later state is never
//! overtaken.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::oneshot;

use super::open_batches::Unacknowledged;
use super::state_log::PendingState;
use super::turns::ThreadTurns;
use crate::clock;
use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::delivery::Origin;
use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::site::SiteId;
use crate::ingest::reject_publisher::RejectPublisher;
use crate::ingest::reject_record::RejectRecord;
use crate::kafka::backlog::Portion;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::OwnedRecord;
use crate::kafka::producer::receipt::PublishAnswer;
use crate::kafka::retrying_publisher::RetryingPublisher;

/// Pause between two looks whether a thread in doubt still owns its partitions.
const DOUBT_PAUSE: Duration = Duration::from_millis(10);

/// Topics that a detector writes to.
#[derive(Debug, Clone)]
pub(crate) struct OutboxTopics {
    pub(crate) deliveries: Arc<str>,
    pub(crate) detector_state: Arc<str>,
}

/// An episode's notification whose deliveries are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) partition: i32,
    pub(crate) site_id: SiteId,
    pub(crate) notification: NotificationId,
}

/// Publisher of a detector thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) records: RetryingPublisher,
    pub(crate) rejects: RejectPublisher,
    pub(crate) topics: OutboxTopics,
    pub(crate) confirmed: Sender<Confirmed>,
    pub(crate) turns: ThreadTurns,
}

impl Outbox {
    /// Publishes a record of a batch.
    pub(crate) fn publish(&self, record: OwnedRecord, batch: &Unacknowledged) {
        batch.add();
        let batch = batch.clone();
        self.records.publish(record, move || batch.remove());
    }

    /// Publishes a record to the rejected topic.
    pub(crate) fn publish_reject(&self, rejected: RejectRecord, batch: &Unacknowledged) {
        batch.add();
        let batch = batch.clone();
        self.rejects.publish(rejected, move || batch.remove());
    }

    /// Publishes the deliveries of a decision that depends on no state.
    pub(crate) fn publish_decision(&self, decision: &Decision, batch: &Unacknowledged) {
        for record in self.deliveries(decision) {
            self.publish(record, batch);
        }
    }

    /// Publishes a site's state, and after its acknowledgement the deliveries of the decisions made
    /// with it. `pending` learns its offset.
    pub(crate) fn publish_state(
        &self,
        partition: i32,
        state: StateRecord,
        batch: &Unacknowledged,
        pending: PendingState,
    ) {
        batch.add();
        let record = OwnedRecord {
            topic: Arc::clone(&self.topics.detector_state),
            partition: Some(partition),
            key: Some(state.key().into_bytes()),
            value: state.bytes.map(Into::into),
            headers: Vec::new(),
        };
        let portion = self.add_to_backlog(&state.decisions, Some(&record));
        let acknowledged = self.hand_over(&record);
        let (outbox, batch) = (self.clone(), batch.clone());
        let losses = self.turns.losses();
        self.records.runtime.spawn(async move {
            let _until_done = portion;
            let offset = match acknowledged.await {
                Ok(Ok(offset)) => offset,
                _ => outbox.publisher().publish(record.as_outgoing()).await,
            };
            pending.acknowledge(offset);
            if outbox.are_owned(losses).await {
                outbox.publish_episodes(partition, state.decisions).await;
                batch.remove();
            }
        });
    }

    /// Publishes the deliveries of decisions that an earlier owner stored and did not confirm.
    pub(crate) fn publish_unconfirmed(
        &self,
        partition: i32,
        decisions: Vec<Decision>,
        batch: &Unacknowledged,
    ) {
        if decisions.is_empty() {
            return;
        }
        batch.add();
        let portion = self.add_to_backlog(&decisions, None);
        let (outbox, batch) = (self.clone(), batch.clone());
        self.records.runtime.spawn(async move {
            let _until_done = portion;
            outbox.publish_episodes(partition, decisions).await;
            batch.remove();
        });
    }

    /// True if the partitions that were owned at `losses` still are. Waits while that is in doubt.
    async fn are_owned(&self, losses: u64) -> bool {
        loop {
            let (now, now_ms) = (clock::monotonic(), clock::now_ms());
            if let Some(are_owned) = self.turns.are_owned(losses, now, now_ms) {
                return are_owned;
            }
            tokio::time::sleep(DOUBT_PAUSE).await;
        }
    }

    /// Adds a state and the deliveries that will follow it to the backlog.
    fn add_to_backlog(&self, decisions: &[Decision], state: Option<&OwnedRecord>) -> Portion {
        let deliveries: usize = decisions.iter().map(|decision| decision.webhooks.len()).sum();
        let bodies = decisions
            .iter()
            .map(|decision| decision.webhooks.len() * decision.body.len());
        let bytes = bodies.sum::<usize>() + state.map_or(0, |state| state.as_outgoing().bytes());
        self.publisher()
            .backlog()
            .add(deliveries + usize::from(state.is_some()), bytes)
    }

    /// Publishes the deliveries of episodes: all are handed over together, and then awaited
    /// together, so that a notification to a thousand webhooks takes as long as one to a few.
    async fn publish_episodes(&self, partition: i32, decisions: Vec<Decision>) {
        let mut handed_over = Vec::new();
        for decision in &decisions {
            let mut answers = Vec::with_capacity(decision.webhooks.len());
            for record in self.deliveries(decision) {
                answers.push((self.publisher().hand_over(record.as_outgoing()).await, record));
            }
            handed_over.push(answers);
        }
        for (decision, answers) in decisions.into_iter().zip(handed_over) {
            for (answer, record) in answers {
                if !matches!(answer.await, Ok(Ok(_))) {
                    self.publisher().publish(record.as_outgoing()).await;
                }
            }
            if decision.episode.is_some() {
                // Fails when the thread has ended, which needs no confirmation.
                drop(self.confirmed.send(Confirmed {
                    partition,
                    site_id: decision.site_id,
                    notification: decision.id,
                }));
            }
        }
    }

    /// Hands a record over; records keep the order of the calls.
    fn hand_over(&self, record: &OwnedRecord) -> oneshot::Receiver<PublishAnswer> {
        let (done, acknowledged) = oneshot::channel();
        let done = move |result| drop(done.send(result));
        self.publisher().publish_when_room(record.as_outgoing(), done);
        acknowledged
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.records.publisher
    }

    /// Delivery records of a decision, one for each webhook.
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
                resend_of: None,
                attempt: 1,
                step: 0,
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

#[cfg(test)]
pub(crate) mod tests;

//! Publishing of a detector thread's records.
//!
//! Guaranteed: a record counts as unacknowledged in its batch until the brokers have acknowledged
//! it and what follows from it; the deliveries of an episode are published only after its state is
//! acknowledged. States are handed over in order, so a site's later state is never overtaken.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::open_batches::Unacknowledged;
use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::delivery::Origin;
use crate::domain::id::DeliveryId;
use crate::domain::site::SiteId;
use crate::ingest::reject_record::RejectRecord;
use crate::kafka::backlog::Portion;
use crate::kafka::producer::{Outgoing, PublishError, Publisher};

/// Pause before a record is offered to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Topics that a detector writes to.
#[derive(Debug, Clone)]
pub(crate) struct OutboxTopics {
    pub(crate) deliveries: Arc<str>,
    pub(crate) detector_state: Arc<str>,
    pub(crate) rejected: Arc<str>,
}

/// An episode whose deliveries are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) partition: i32,
    pub(crate) site_id: SiteId,
    pub(crate) episode: Uuid,
}

/// Publisher of a detector thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) publisher: Publisher,
    pub(crate) topics: OutboxTopics,
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) confirmed: Sender<Confirmed>,
}

/// A record that owns its bytes.
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
    /// Publishes a record of a batch.
    pub(crate) fn publish(&self, record: OwnedRecord, batch: &Unacknowledged) {
        batch.add();
        let portion = self.publisher.backlog().add(1, record.as_outgoing().bytes());
        // Shared by the attempts to hand it over, of which one succeeds.
        let record = Arc::new((record, portion));
        loop {
            let (again, outbox, batch) = (Arc::clone(&record), self.clone(), batch.clone());
            let done = move |result: Result<(), PublishError>| match result {
                Ok(()) => batch.remove(),
                // Refused, not lost: it is offered again until it is accepted, and no later
                // position is committed before.
                Err(error) => {
                    let publisher = outbox.publisher.clone();
                    error.log(publisher.client_events());
                    outbox.tasks.spawn_on(
                        async move {
                            publisher.publish(again.0.as_outgoing()).await;
                            batch.remove();
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

    /// Publishes a record to the rejected topic. One that the topic will never take, since its
    /// messages must be smaller, is cut further, and dropped if nothing is left to cut: it must not
    /// hold up the commit.
    pub(crate) fn publish_reject(&self, rejected: RejectRecord, batch: &Unacknowledged) {
        batch.add();
        let bytes = rejected.value.len();
        let portion = self.publisher.backlog().add(1, bytes);
        let record = self.rejected_record(&rejected);
        let handed_over = self.hand_over(&record);
        let (outbox, batch) = (self.clone(), batch.clone());
        self.tasks.spawn_on(
            async move {
                let _until_done = portion;
                match handed_over.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) if error.is_too_large() => outbox.publish_cut(rejected).await,
                    _ => outbox.publisher.publish(record.as_outgoing()).await,
                }
                batch.remove();
            },
            &self.runtime,
        );
    }

    /// Publishes a reject that is too large, with ever less of it.
    async fn publish_cut(&self, mut rejected: RejectRecord) {
        while rejected.cut() {
            let record = self.rejected_record(&rejected);
            match self.publisher.hand_over(record.as_outgoing()).await.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) if error.is_too_large() => {}
                _ => return self.publisher.publish(record.as_outgoing()).await,
            }
        }
        let client_events = self.publisher.client_events();
        client_events.metrics().rejects_dropped.inc();
        if let Some(suppressed) = client_events.admit(Some(RDKafkaErrorCode::MessageSizeTooLarge)) {
            tracing::error!(
                topic = &*self.topics.rejected,
                suppressed,
                "a rejected record is dropped: the topic takes not even its headers; raise its max.message.bytes"
            );
        }
    }

    fn rejected_record(&self, rejected: &RejectRecord) -> OwnedRecord {
        OwnedRecord {
            topic: Arc::clone(&self.topics.rejected),
            partition: None,
            key: rejected.key.clone(),
            value: Some(rejected.value.clone()),
            headers: rejected.headers.clone(),
        }
    }

    /// Publishes the deliveries of a decision that depends on no state.
    pub(crate) fn publish_decision(&self, decision: &Decision, batch: &Unacknowledged) {
        for record in self.deliveries(decision) {
            self.publish(record, batch);
        }
    }

    /// Publishes a site's state, and after its acknowledgement the deliveries of the decisions made
    /// with it.
    pub(crate) fn publish_state(&self, partition: i32, state: StateRecord, batch: &Unacknowledged) {
        batch.add();
        let record = OwnedRecord {
            topic: Arc::clone(&self.topics.detector_state),
            partition: Some(partition),
            key: Some(state.site_id.as_str().as_bytes().to_vec()),
            value: state.bytes.map(Into::into),
            headers: Vec::new(),
        };
        let portion = self.add_to_backlog(&state.decisions, Some(&record));
        let acknowledged = self.hand_over(&record);
        let (outbox, batch) = (self.clone(), batch.clone());
        self.tasks.spawn_on(
            async move {
                let _until_done = portion;
                if !matches!(acknowledged.await, Ok(Ok(()))) {
                    outbox.publisher.publish(record.as_outgoing()).await;
                }
                outbox.publish_episodes(partition, state.decisions).await;
                batch.remove();
            },
            &self.runtime,
        );
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
        self.tasks.spawn_on(
            async move {
                let _until_done = portion;
                outbox.publish_episodes(partition, decisions).await;
                batch.remove();
            },
            &self.runtime,
        );
    }

    /// Adds a state and the deliveries that will follow it to the backlog.
    fn add_to_backlog(&self, decisions: &[Decision], state: Option<&OwnedRecord>) -> Portion {
        let deliveries: usize = decisions.iter().map(|decision| decision.webhooks.len()).sum();
        let bodies = decisions
            .iter()
            .map(|decision| decision.webhooks.len() * decision.body.len());
        let bytes = bodies.sum::<usize>() + state.map_or(0, |state| state.as_outgoing().bytes());
        self.publisher
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
                answers.push((self.publisher.hand_over(record.as_outgoing()).await, record));
            }
            handed_over.push(answers);
        }
        for (decision, answers) in decisions.into_iter().zip(handed_over) {
            for (answer, record) in answers {
                if !matches!(answer.await, Ok(Ok(()))) {
                    self.publisher.publish(record.as_outgoing()).await;
                }
            }
            if let Some(episode) = decision.episode {
                // Fails when the thread has ended, which needs no confirmation.
                drop(self.confirmed.send(Confirmed {
                    partition,
                    site_id: decision.site_id,
                    episode,
                }));
            }
        }
    }

    /// Hands a record over; records keep the order of the calls.
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

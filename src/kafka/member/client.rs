//! The client behind a member: librdkafka's callbacks and its main queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::kafka::client::ClientEvents;
use crate::kafka::error_words::in_words;
use crate::kafka::rights::AclOperation;

/// Consumer type behind a member.
pub(crate) type MemberConsumer = BaseConsumer<MemberContext>;

/// librdkafka's callbacks for one member.
#[derive(Debug)]
pub(crate) struct MemberContext {
    client_events: ClientEvents,
    group: &'static str,
    /// Name of the group in Kafka.
    group_id: String,
    events: Mutex<VecDeque<RawEvent>>,
    /// The right on the group that is missing, until somebody asks for it.
    refusal: Mutex<Option<String>>,
    closing: AtomicBool,
}

/// Event queued by the rebalance callback.
#[derive(Debug)]
pub(super) enum RawEvent {
    Assigned(Vec<(String, i32)>),
    Revoked { lost: bool },
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.client_events.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client_events.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // Nobody polls for events any more, and closing waits for this answer.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(error = in_words(&error), "unassigning while leaving");
            }
            return;
        }
        let event = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            RawEvent::Assigned(
                list.elements()
                    .iter()
                    .map(|one| (one.topic().to_owned(), one.partition()))
                    .collect(),
            )
        } else {
            RawEvent::Revoked {
                lost: consumer.assignment_lost(),
            }
        };
        self.lock().push_back(event);
    }
}

impl MemberContext {
    pub(super) fn new(group: &'static str, config: &ClientConfig, client_events: ClientEvents) -> Self {
        Self {
            client_events,
            group,
            group_id: config.get("group.id").unwrap_or(group).to_owned(),
            events: Mutex::default(),
            refusal: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// Answers every rebalance from now on at once, by giving all partitions back.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn next_event(&self) -> Option<RawEvent> {
        self.lock().pop_front()
    }

    pub(super) fn has_event(&self) -> bool {
        !self.lock().is_empty()
    }

    /// The right on the group that was missing since the last call.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note_refusal(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            *refusal = Some(self.in_words(error));
        }
    }

    /// Name of the group in logs and metrics.
    pub(in crate::kafka) fn group(&self) -> &'static str {
        self.group
    }

    pub(in crate::kafka) fn client_events(&self) -> &ClientEvents {
        &self.client_events
    }

    pub(in crate::kafka) fn count_failed_commit(&self) {
        let errors = &self.client_events.metrics().commit_errors;
        errors.with_label_values(&[self.group]).inc();
    }

    /// An error of the group's, or the right on it whose absence that is.
    pub(in crate::kafka) fn in_words(&self, error: &KafkaError) -> String {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => self
                .client_events
                .missing_right(AclOperation::Read, "group", &self.group_id)
                .to_string(),
            _ => in_words(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RawEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a client's events. Records come through other queues.
pub(super) fn serve(consumer: &MemberConsumer, timeout: Duration) {
    match consumer.poll(timeout) {
        Some(Err(KafkaError::PartitionEOF(_))) | None => {}
        Some(Err(error)) => {
            let context = consumer.context();
            let code = error.rdkafka_error_code();
            context.client_events.note(code);
            context.note_refusal(&error);
            if let Some(suppressed) = context.client_events.admit(code) {
                tracing::warn!(
                    group = context.group,
                    error = context.in_words(&error),
                    suppressed,
                    "the consumer reports an error; it recovers by itself"
                );
            }
        }
        // Partition queues are split off before an assignment takes effect, so no record can come
        // this way.
        Some(Ok(_)) => {
            tracing::error!(
                "a record came through a client's main queue; it is read again after the next rebalance"
            );
        }
    }
}

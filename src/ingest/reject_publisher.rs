//! Publishing to the rejected topic.

use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Handle;

use super::reject_record::RejectRecord;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::OwnedRecord;
use crate::kafka::retrying_publisher::RetryingPublisher;

/// Publisher of a consumer thread's rejects. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RejectPublisher {
    records: RetryingPublisher,
    topic: Arc<str>,
}

impl RejectPublisher {
    /// `topic` is the rejected topic. What is refused waits in tasks of `runtime`.
    pub(crate) fn new(publisher: Publisher, runtime: Handle, topic: &str) -> Self {
        Self {
            records: RetryingPublisher { publisher, runtime },
            topic: topic.into(),
        }
    }

    /// Publishes a reject, or what its topic takes of it, and then calls `done`.
    pub(crate) fn publish(&self, rejected: RejectRecord, done: impl FnOnce() + Send + Sync + 'static) {
        let record = self.record(&rejected);
        let this = self.clone();
        let if_too_large = |_| async move { this.publish_what_fits(rejected).await };
        self.records.publish_or_else(record, done, if_too_large);
    }

    /// Publishes a reject with ever less of it while it is too large for its topic. It is dropped
    /// if nothing is left to cut: it must not hold up what comes after it.
    pub(crate) async fn publish_what_fits(&self, mut rejected: RejectRecord) {
        let publisher = &self.records.publisher;
        while !publisher
            .publish_if_it_fits(self.record(&rejected).as_outgoing())
            .await
        {
            if !rejected.cut() {
                self.report_dropped();
                return;
            }
        }
    }

    fn report_dropped(&self) {
        let client_events = self.records.publisher.client_events();
        client_events.metrics().rejects_dropped.inc();
        if let Some(suppressed) = client_events.admit(Some(RDKafkaErrorCode::MessageSizeTooLarge)) {
            tracing::error!(
                topic = &*self.topic,
                suppressed,
                "a rejected record is dropped: the topic takes not even its headers; raise its max.message.bytes"
            );
        }
    }

    fn record(&self, rejected: &RejectRecord) -> OwnedRecord {
        OwnedRecord {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: rejected.key.clone(),
            value: Some(rejected.value.clone()),
            headers: rejected.headers.clone(),
        }
    }
}

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
    retrying: RetryingPublisher,
    topic: Arc<str>,
}

impl RejectPublisher {
    /// `topic` is the rejected topic. Rejects that the brokers refuse are offered again by tasks of
    /// `runtime`.
    pub(crate) fn new(publisher: Publisher, runtime: Handle, topic: &str) -> Self {
        Self {
            retrying: RetryingPublisher { publisher, runtime },
            topic: topic.into(),
        }
    }

    /// Publishes a reject, shortened if its topic does not take all of it. Calls `done` once it is
    /// published or dropped: a commit must not wait for it for ever.
    pub(crate) fn publish(&self, rejected: RejectRecord, done: impl FnOnce() + Send + Sync + 'static) {
        let record = self.record(&rejected);
        let this = self.clone();
        let if_too_large = |_whole| async move { this.publish_cut(rejected).await };
        self.retrying.publish_or_else(record, done, if_too_large);
    }

    /// Publishes a reject, shortened until its topic takes it.
    pub(crate) async fn publish_what_fits(&self, rejected: RejectRecord) {
        if !self.fits(&rejected).await {
            self.publish_cut(rejected).await;
        }
    }

    /// Shortens a reject that is too large until its topic takes it. If it does not fit even
    /// without key and value, it is dropped: it must not hold up what comes after it.
    async fn publish_cut(&self, mut rejected: RejectRecord) {
        while rejected.cut() {
            if self.fits(&rejected).await {
                return;
            }
        }
        self.report_dropped();
    }

    /// Publishes a reject; false if it is too large.
    async fn fits(&self, rejected: &RejectRecord) -> bool {
        let record = self.record(rejected);
        let published = self.retrying.publisher.publish_if_it_fits(record.as_outgoing());
        published.await.is_ok()
    }

    fn report_dropped(&self) {
        let client_events = self.retrying.publisher.client_events();
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

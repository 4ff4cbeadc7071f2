//! Publishing from a consumer thread, which commits nothing that follows from a record before it is
//! published.
//!
//! Guaranteed: records are handed to the client in the order of the calls; what the brokers refuse
//! is offered again until they accept it; `accepted` is called once, and never before that.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::producer::outgoing::OwnedRecord;
use super::producer::{PublishError, Publisher};

/// Publisher of a consumer thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RetryingPublisher {
    pub(crate) publisher: Publisher,
    /// Runs what waits to be offered again.
    pub(crate) runtime: Handle,
}

impl RetryingPublisher {
    /// Publishes a record.
    pub(crate) fn publish(&self, record: OwnedRecord, accepted: impl FnOnce() + Send + Sync + 'static) {
        let publisher = self.publisher.clone();
        let go_on = |record: Arc<OwnedRecord>| async move { publisher.publish(record.as_outgoing()).await };
        self.publish_or_else(record, accepted, go_on);
    }

    /// Publishes a record, and if its topic never takes it, since the topic's messages must be
    /// smaller, runs `if_too_large` instead.
    pub(crate) fn publish_or_else<F>(
        &self,
        record: OwnedRecord,
        accepted: impl FnOnce() + Send + Sync + 'static,
        if_too_large: impl FnOnce(Arc<OwnedRecord>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let portion = self.publisher.backlog().add(1, record.as_outgoing().bytes());
        let record = Arc::new(record);
        let (again, this) = (Arc::clone(&record), self.clone());
        let answered = move |result: Result<(), PublishError>| match result {
            Ok(()) => {
                accepted();
                drop(portion);
            }
            Err(error) => {
                error.log(this.publisher.client_events());
                this.runtime.spawn(async move {
                    if !this.publisher.publish_if_it_fits(again.as_outgoing()).await {
                        if_too_large(again).await;
                    }
                    accepted();
                    drop(portion);
                });
            }
        };
        self.publisher.publish_when_room(record.as_outgoing(), answered);
    }
}

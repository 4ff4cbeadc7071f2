//! Publishing from a consumer thread, which commits an offset only when everything that follows
//! from its record is published.
//!
//! Guaranteed: records are first handed to the client in the order of the calls; one that is
//! refused is offered again, and may then come after later ones. `done` is called once: after the
//! brokers have acknowledged the record, or after `if_too_large` has ended.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::producer::Publisher;
use super::producer::outgoing::OwnedRecord;
use super::producer::receipt::PublishAnswer;

/// Publisher of a consumer thread, which blocks the thread while the client's queue is full. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(crate) struct RetryingPublisher {
    pub(crate) publisher: Publisher,
    /// Runs the tasks that offer refused records again.
    pub(crate) runtime: Handle,
}

impl RetryingPublisher {
    /// Publishes a record, and offers it again until it is acknowledged, even if it is too large
    /// for its topic: somebody has to raise the limit. `done` may run on the client's thread.
    pub(crate) fn publish(&self, record: OwnedRecord, done: impl FnOnce() + Send + Sync + 'static) {
        let publisher = self.publisher.clone();
        let keep_trying = |record: Arc<OwnedRecord>| async move {
            publisher.publish(record.as_outgoing()).await;
        };
        self.publish_or_else(record, done, keep_trying);
    }

    /// Publishes a record as [`publish`](Self::publish) does. If it is too large for the client or
    /// its topic even in a batch of its own, runs `if_too_large` instead of trying for ever.
    pub(crate) fn publish_or_else<F>(
        &self,
        record: OwnedRecord,
        done: impl FnOnce() + Send + Sync + 'static,
        if_too_large: impl FnOnce(Arc<OwnedRecord>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let portion = self.publisher.backlog().add(1, record.as_outgoing().bytes());
        let record = Arc::new(record);
        let (refused, this) = (Arc::clone(&record), self.clone());
        let on_answer = move |answer: PublishAnswer| match answer {
            Ok(_) => {
                done();
                drop(portion);
            }
            Err(error) => {
                // What is too large may fit without its neighbours.
                if !error.is_too_large() {
                    error.log(this.publisher.client_events());
                }
                this.runtime.spawn(async move {
                    let published = this.publisher.publish_if_it_fits(refused.as_outgoing()).await;
                    if published.is_err() {
                        if_too_large(refused).await;
                    }
                    done();
                    drop(portion);
                });
            }
        };
        self.publisher.publish_when_room(record.as_outgoing(), on_answer);
    }
}

//! Records that are published for a source's records: keyed events, rejects, and notes of rejects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Done, Router};
use crate::clock;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult};
use crate::domain::reject::Reject;
use crate::ingest::reject_record::reject_record;
use crate::ingest::route::record::{Original, RoutedRecord, reject_note, routed_record};
use crate::kafka::backlog::Portion;
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::producer::{Outgoing, PublishError};
use crate::kafka::topic_partition::TopicPartition;

/// Pause before a record is offered to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// A record on its way to a topic of ours.
pub(super) struct OutgoingRecord {
    topic: Arc<str>,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl OutgoingRecord {
    fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            partition: None,
            key: self.key.as_deref(),
            value: Some(&self.value),
            headers: &self.headers,
            passed_on: &[],
        }
    }
}

impl Router {
    fn read_from(&self, at: TopicPartition, record: &BatchRecord<'_>) -> Coordinates {
        Coordinates {
            topic: self.settings.sources[at.topic].topic.clone(),
            partition: at.partition,
            offset: record.offset(),
        }
    }

    /// The event under its site's id.
    pub(super) fn forward(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        event: &Event<'_>,
    ) -> (EventResult, Vec<OutgoingRecord>) {
        let read_from = self.read_from(at, record);
        let site = self.aliases.resolve(&event.site_id);
        let original = self.original(at, record, &read_from);
        let routed = match routed_record(event, site.id, original, &self.hasher) {
            Ok(routed) => routed,
            Err(error) => {
                let reject = Reject::unwritable(&event.site_id, &error);
                return (EventResult::Rejected, self.reject(at, record, &reject));
            }
        };
        let result = match site.is_registered {
            true => EventResult::Counted,
            false => EventResult::Unregistered,
        };
        (result, vec![self.keyed(routed)])
    }

    fn original<'a>(
        &self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        read_from: &'a Coordinates,
    ) -> Original<'a> {
        Original {
            read_from,
            record_ms: record.timestamp_ms(),
            clock: self.settings.sources[at.topic].clock,
        }
    }

    fn keyed(&self, routed: RoutedRecord) -> OutgoingRecord {
        OutgoingRecord {
            topic: Arc::clone(&self.events_topic),
            key: Some(routed.key),
            value: routed.value,
            headers: routed.headers,
        }
    }

    /// The record as it goes to the rejected topic, and a note of it for the detector of its site,
    /// which reads only what is keyed.
    pub(super) fn reject(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        reject: &Reject,
    ) -> Vec<OutgoingRecord> {
        let read_from = self.read_from(at, record);
        let labels = [read_from.topic.as_str(), reject.reason.as_str()];
        self.links
            .metrics
            .rejected_records
            .with_label_values(&labels)
            .inc();
        if let Some(suppressed) = self.rejects.admit(clock::monotonic()) {
            tracing::warn!(
                topic = read_from.topic,
                partition = read_from.partition,
                offset = read_from.offset,
                outcome = reject.reason.as_str(),
                error = reject.detail,
                suppressed,
                "a source record was rejected"
            );
        }
        let rejected = reject_record(reject, &read_from, record.key(), record.value());
        let mut outgoing = vec![OutgoingRecord {
            topic: Arc::clone(&self.rejected_topic),
            key: rejected.key,
            value: rejected.value.into(),
            headers: rejected.headers,
        }];
        let site = reject.site_id.as_deref().map(|id| self.aliases.resolve(id));
        if let Some(site) = site.filter(|site| site.is_registered) {
            let original = self.original(at, record, &read_from);
            outgoing.push(self.keyed(reject_note(reject.reason, site.id, original)));
        }
        outgoing
    }

    /// Publishes a record; its original is done when all that it led to, of which so many are
    /// `left`, is acknowledged.
    pub(super) fn publish(&self, record: OutgoingRecord, done: Done, left: &Arc<AtomicUsize>) {
        let portion: Portion = self
            .links
            .publisher
            .backlog()
            .add(1, record.as_outgoing().bytes());
        // Shared by the attempts to hand it over, of which one succeeds.
        let record = Arc::new((record, portion));
        loop {
            let (again, publisher) = (Arc::clone(&record), self.links.publisher.clone());
            let (refused, runtime) = (self.refused.clone(), self.links.runtime.clone());
            let (sender, left) = (self.done.clone(), Arc::clone(left));
            let acknowledge = move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // Fails when the thread has ended, and then nobody commits.
                    _ = sender.send(done);
                }
            };
            let answered = move |result: Result<(), PublishError>| match result {
                Ok(()) => acknowledge(),
                // Refused, not lost: it is offered again until it is accepted, and no later
                // position is committed before.
                Err(error) => {
                    error.log(publisher.client_events());
                    refused.spawn_on(
                        async move {
                            publisher.publish(again.0.as_outgoing()).await;
                            acknowledge();
                        },
                        &runtime,
                    );
                }
            };
            if self.links.publisher.try_publish(record.0.as_outgoing(), answered) {
                return;
            }
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }
}

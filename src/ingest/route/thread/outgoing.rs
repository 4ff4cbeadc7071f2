//! Records that are published for a source's records: keyed events, rejects, and notes of rejects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::error::RDKafkaErrorCode;

use super::{Done, Router};
use crate::clock;
use crate::dispatch::record::Coordinates;
use crate::domain::event::{Event, EventResult};
use crate::domain::reject::Reject;
use crate::ingest::reject_publisher::RejectPublisher;
use crate::ingest::reject_record::{RejectRecord, reject_record};
use crate::ingest::route::record::{Original, RoutedRecord, reject_note, routed_record};
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::OwnedRecord;
use crate::kafka::topic_partition::TopicPartition;

/// A record that another one leads to.
pub(super) enum OutgoingRecord {
    /// The event under its site's id.
    Event(Box<PassedOn>),
    /// The record as it goes to the rejected topic.
    Reject(RejectRecord),
    /// Note of a reject, for the detector of its site.
    Note(RoutedRecord),
}

/// An event that is passed on.
pub(super) struct PassedOn {
    routed: RoutedRecord,
    original: Original,
    is_registered: bool,
}

impl Router {
    fn original(&self, at: TopicPartition, record: &BatchRecord<'_>) -> Original {
        let source = &self.settings.sources[at.topic];
        Original {
            read_from: Coordinates {
                topic: source.topic.clone(),
                partition: at.partition,
                offset: record.offset(),
            },
            record_ms: record.timestamp_ms(),
            clock: source.clock,
        }
    }

    /// The event under its site's id.
    pub(super) fn forward(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        event: &Event<'_>,
    ) -> (EventResult, Vec<OutgoingRecord>) {
        let original = self.original(at, record);
        let site = self.aliases.resolve(&event.site_id);
        let routed = match routed_record(event, site.id, &original, &self.hasher) {
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
        let passed_on = PassedOn {
            routed,
            original,
            is_registered: site.is_registered,
        };
        (result, vec![OutgoingRecord::Event(Box::new(passed_on))])
    }

    /// The record as it goes to the rejected topic, and a note of it for the detector of its site,
    /// which reads only what is keyed.
    pub(super) fn reject(
        &mut self,
        at: TopicPartition,
        record: &BatchRecord<'_>,
        reject: &Reject,
    ) -> Vec<OutgoingRecord> {
        let original = self.original(at, record);
        let read_from = &original.read_from;
        let labels = [read_from.topic.as_str(), reject.reason.as_str()];
        self.links
            .metrics
            .rejected_records
            .with_label_values(&labels)
            .inc();
        if let Some(suppressed) = self.rejects_logged[at.topic].admit(clock::monotonic()) {
            log_reject(reject, read_from, suppressed);
        }
        let rejected = reject_record(reject, read_from, record.key(), record.value());
        let mut outgoing = vec![OutgoingRecord::Reject(rejected)];
        let site = reject.site_id.as_deref().map(|id| self.aliases.resolve(id));
        if let Some(site) = site.filter(|site| site.is_registered) {
            let note = reject_note(reject.reason, site.id, &original);
            outgoing.push(OutgoingRecord::Note(note));
        }
        outgoing
    }

    /// Publishes a record; its original is done when all that it led to, of which so many are
    /// `left`, is acknowledged.
    pub(super) fn publish(&self, record: OutgoingRecord, done: Done, left: &Arc<AtomicUsize>) {
        let (sender, left) = (self.done.clone(), Arc::clone(left));
        let acknowledged = move || {
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                // Fails when the thread has ended, and then nobody commits.
                _ = sender.send(done);
            }
        };
        let events_topic = Arc::clone(&self.events_topic);
        match record {
            OutgoingRecord::Reject(rejected) => self.rejects.publish(rejected, acknowledged),
            OutgoingRecord::Note(note) => {
                self.records.publish(note.into_record(events_topic), acknowledged);
            }
            OutgoingRecord::Event(passed_on) => {
                let PassedOn {
                    routed,
                    original,
                    is_registered,
                } = *passed_on;
                let (rejects, publisher) = (self.rejects.clone(), self.records.publisher.clone());
                let reject = move |record: Arc<OwnedRecord>| async move {
                    let note = reject_too_large(&rejects, &publisher, &record, &original).await;
                    if is_registered {
                        let note = note.into_record(Arc::clone(&record.topic));
                        publisher.publish(note.as_outgoing()).await;
                    }
                };
                self.records
                    .publish_or_else(routed.into_record(events_topic), acknowledged, reject);
            }
        }
    }
}

/// Publishes an event that its topic never takes to the rejected topic, so that it does not hold up
/// the events of others, and returns the note of that.
async fn reject_too_large(
    rejects: &RejectPublisher,
    publisher: &Publisher,
    record: &OwnedRecord,
    original: &Original,
) -> RoutedRecord {
    let site_id = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
    let value = record.value.as_deref().unwrap_or_default();
    let reject = Reject::too_large_for(&record.topic, value.len(), &site_id);
    let read_from = &original.read_from;
    let labels = [read_from.topic.as_str(), reject.reason.as_str()];
    let client_events = publisher.client_events();
    let rejected_records = &client_events.metrics().rejected_records;
    rejected_records.with_label_values(&labels).inc();
    if let Some(suppressed) = client_events.admit(Some(RDKafkaErrorCode::MessageSizeTooLarge)) {
        log_reject(&reject, read_from, suppressed);
    }
    let rejected = reject_record(&reject, read_from, record.key.as_deref(), value);
    rejects.publish_what_fits(rejected).await;
    reject_note(reject.reason, &site_id, original)
}

fn log_reject(reject: &Reject, read_from: &Coordinates, suppressed: u64) {
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

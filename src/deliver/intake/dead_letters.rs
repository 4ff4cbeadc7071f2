//! Records that leave the stream for the dead-letter topic.

use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use super::Intake;
use super::raw::OriginalRecord;
use super::work::OffsetToken;
use crate::clock;
use crate::dispatch::record::{Coordinates, Unreadable, header};
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::Outgoing;

impl Intake {
    /// Publishes a record that cannot be read to the dead-letter topic, unchanged; the stream
    /// continues.
    pub(super) fn publish_unreadable(
        &mut self,
        token: OffsetToken,
        read_from: Coordinates,
        error: Unreadable,
        original: OriginalRecord,
    ) {
        let metrics = Arc::clone(&self.links.metrics);
        metrics
            .unreadable_records
            .with_label_values(&[&read_from.topic])
            .inc();
        if let Some(suppressed) = self.unreadable_logged.admit(clock::monotonic()) {
            tracing::error!(
                topic = read_from.topic,
                partition = read_from.partition,
                offset = read_from.offset,
                error = %error,
                suppressed,
                "an unreadable record goes to the dead-letter topic"
            );
        }
        let publisher = self.links.publisher.clone();
        let dead_letter_topic = self.settings.dead_letter_topic.clone();
        let unpublished = Arc::clone(&self.unpublished);
        // Not supervised: it ends with the acknowledgement, and if it is dropped the offset stays
        // open.
        self.links.runtime.spawn(async move {
            let mut headers = read_from.headers().to_vec();
            headers.push((header::REASON, error.as_str().to_owned()));
            let record = Outgoing {
                topic: &dead_letter_topic,
                partition: None,
                key: original.key.as_deref(),
                value: original.body.as_deref(),
                headers: &headers,
                passed_on: &original.headers,
            };
            if publish_dead_letter(&publisher, record).await {
                metrics.dead_letters.inc();
            }
            drop(unpublished);
            token.complete();
        });
    }
}

/// Bytes kept of the value of a dead letter that its topic does not take whole, from the first cut
/// to the last.
const CUTS: [usize; 4] = [64 << 10, 8 << 10, 1 << 10, 0];

/// Publishes a dead letter, cut further and further while its topic does not take it. One whose
/// headers alone are too large is dropped: it must not stop the stream. False if it was.
pub(in crate::deliver) async fn publish_dead_letter(publisher: &Publisher, record: Outgoing<'_>) -> bool {
    if publisher.publish_if_it_fits(record).await.is_ok() {
        return true;
    }
    for bytes in CUTS {
        let mut headers = Vec::new();
        let cut = record.cut(bytes, header::TRUNCATED, &mut headers);
        if publisher.publish_if_it_fits(cut).await.is_ok() {
            return true;
        }
    }
    let cause = Some(RDKafkaErrorCode::MessageSizeTooLarge);
    if let Some(suppressed) = publisher.client_events().admit(cause) {
        tracing::error!(
            topic = record.topic,
            key = record.key.map(String::from_utf8_lossy).as_deref(),
            suppressed,
            "a dead letter is dropped: the topic takes not even its headers; raise its max.message.bytes"
        );
    }
    false
}

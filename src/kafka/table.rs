//! Reading of a compacted topic as a table: all its records, from the beginning to the current end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::client::ClientEvents;
use super::settings;
use crate::clock;
use crate::config::KafkaConfig;

impl ConsumerContext for ClientEvents {}

/// Longest time a broker may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// First offset of a partition. A client that has to find it by itself asks only every half second,
/// as long as it does not know the leader.
#[expect(
    clippy::disallowed_methods,
    reason = "tells where to begin reading, not if reading has caught up"
)]
fn beginning(consumer: &BaseConsumer<ClientEvents>, topic: &str, partition: i32) -> KafkaResult<i64> {
    Ok(consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?.0)
}

/// Reads partitions of a topic. `each` receives partition, offset, key and value; a key that occurs
/// several times comes several times, oldest first, and a tombstone has no value.
///
/// Blocks until the end of each partition is reached, and fails when that takes longer than
/// `timeout` or the process is to `stop`.
pub(crate) fn read(
    config: &KafkaConfig,
    client_events: &ClientEvents,
    topic: &str,
    partitions: &BTreeSet<i32>,
    timeout: Duration,
    stop: &CancellationToken,
    mut each: impl FnMut(i32, i64, &[u8], Option<&[u8]>),
) -> anyhow::Result<()> {
    if partitions.is_empty() {
        return Ok(());
    }
    let consumer: Arc<BaseConsumer<ClientEvents>> =
        Arc::new(settings::reader(config).create_with_context(client_events.clone())?);
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let beginning = beginning(&consumer, topic, *partition)
            .with_context(|| format!("reading the beginning of {topic}/{partition}"))?;
        list.add_partition_offset(topic, *partition, Offset::Offset(beginning))?;
    }
    consumer
        .assign(&list)
        .with_context(|| format!("reading {topic}"))?;
    let deadline = clock::monotonic() + timeout;
    let mut unfinished = partitions.clone();
    while !unfinished.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                each(
                    message.partition(),
                    message.offset(),
                    message.key().unwrap_or_default(),
                    message.payload(),
                );
            }
            // The partition's end when the last fetch asked for records.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                if let Some(suppressed) = client_events.admit(code) {
                    tracing::warn!(topic, error = %error, suppressed, "reading a table failed; trying again");
                }
            }
            None => {}
        }
        anyhow::ensure!(!stop.is_cancelled(), "{topic}: the process stops");
        anyhow::ensure!(
            clock::monotonic() < deadline,
            "{topic}: the end of partitions {unfinished:?} was not reached within {timeout:?}"
        );
    }
    Ok(())
}

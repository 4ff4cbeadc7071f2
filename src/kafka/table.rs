//! Reading of a compacted topic as a table: all its records, from the beginning to the current end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::client::ClientEvents;
use super::settings;
use crate::clock;
use crate::config::KafkaConfig;

impl ConsumerContext for ClientEvents {}

/// Longest time without a record after which the partitions that are not at their end are given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for a record.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// Records after which the caller is asked if it wants to go on.
const RECORDS_PER_CHECK: u64 = 1_000;

/// A record of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRecord<'r> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'r [u8],
    /// Absent for a tombstone.
    pub(crate) value: Option<&'r [u8]>,
}

/// Reads partitions of a topic, each from its given first offset. `each` receives the records; a
/// key that occurs several times comes several times, oldest first.
///
/// Blocks until the end of each partition is reached, and returns the partitions of which it was
/// not. `goes_on` is asked all the while, with the number of records read so far, and ends the
/// reading with an error.
pub(crate) fn read(
    config: &KafkaConfig,
    client_events: &ClientEvents,
    topic: &str,
    beginnings: &BTreeMap<i32, i64>,
    mut goes_on: impl FnMut(u64) -> anyhow::Result<()>,
    mut each: impl FnMut(TableRecord<'_>),
) -> anyhow::Result<BTreeSet<i32>> {
    let mut unfinished: BTreeSet<i32> = beginnings.keys().copied().collect();
    if unfinished.is_empty() {
        return Ok(unfinished);
    }
    let consumer: Arc<BaseConsumer<ClientEvents>> =
        Arc::new(settings::reader(config).create_with_context(client_events.clone())?);
    let mut list = TopicPartitionList::with_capacity(beginnings.len());
    for (partition, beginning) in beginnings {
        list.add_partition_offset(topic, *partition, Offset::Offset(*beginning))?;
    }
    consumer
        .assign(&list)
        .with_context(|| format!("reading {topic}"))?;
    let mut last_read = clock::monotonic();
    let mut records = 0;
    while !unfinished.is_empty() {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                records += 1;
                last_read = clock::monotonic();
                each(TableRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().unwrap_or_default(),
                    value: message.payload(),
                });
                if records % RECORDS_PER_CHECK != 0 {
                    continue;
                }
            }
            // The partition's end when the last fetch asked for records.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
                last_read = clock::monotonic();
            }
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                if let Some(suppressed) = client_events.admit(code) {
                    tracing::warn!(topic, error = %error, suppressed, "reading a table failed; trying again");
                }
            }
            None => {}
        }
        goes_on(records)?;
        if clock::monotonic().duration_since(last_read) > STALL_TIMEOUT {
            break;
        }
    }
    Ok(unfinished)
}

//! Reading of a compacted topic as a table: all its records, from the beginning to the current end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::client::ClientEvents;
use super::error_words::in_words;
use super::settings;
use crate::clock;
use crate::config::KafkaConfig;

impl ConsumerContext for ClientEvents {}

/// Longest wait for a record.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// Records after which the caller is asked if it wants to go on.
const RECORDS_PER_CHECK: u64 = 1_000;

/// A table to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRequest<'t> {
    pub(crate) topic: &'t str,
    /// First offset of each partition to read.
    pub(crate) beginnings: &'t BTreeMap<i32, i64>,
    /// Longest time without a record, after which the partitions that are not at their end are
    /// given up.
    pub(crate) stall_timeout: Duration,
}

/// A record of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRecord<'r> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'r [u8],
    /// Absent for a tombstone.
    pub(crate) value: Option<&'r [u8]>,
}

/// Reads partitions of a topic. `each` receives the records; a
/// key that occurs several times comes several times, oldest first.
///
/// Blocks until the end of each partition is reached, and returns the partitions of which it was
/// not. `goes_on` is asked all the while, with the number of records read so far, and ends the
/// reading with an error.
pub(crate) fn read(
    config: &KafkaConfig,
    client_events: &ClientEvents,
    table: TableRequest<'_>,
    mut goes_on: impl FnMut(u64) -> anyhow::Result<()>,
    mut each: impl FnMut(TableRecord<'_>),
) -> anyhow::Result<BTreeSet<i32>> {
    let TableRequest {
        topic, beginnings, ..
    } = table;
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
            Some(Err(error)) => report(client_events, topic, &error),
            None => {}
        }
        goes_on(records)?;
        if clock::monotonic().duration_since(last_read) > table.stall_timeout {
            break;
        }
    }
    Ok(unfinished)
}

fn report(client_events: &ClientEvents, topic: &str, error: &KafkaError) {
    let code = error.rdkafka_error_code();
    if let Some(suppressed) = client_events.admit(code) {
        let error = match code {
            Some(code) => client_events.why_not_read(topic, code),
            None => in_words(error),
        };
        tracing::warn!(topic, error, suppressed, "reading a table failed; trying again");
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::Labels;

    #[test]
    fn a_partition_that_gives_nothing_is_given_up_alone() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("states", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .create()
            .unwrap();
        let record = BaseRecord::to("states").partition(0).key("a").payload("x");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        cluster.partition_leader("states", 1, None).unwrap();
        let config = KafkaConfig {
            brokers,
            ..KafkaConfig::default()
        };
        let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
        let table = TableRequest {
            topic: "states",
            beginnings: &BTreeMap::from([(0, 0), (1, 0)]),
            stall_timeout: Duration::from_secs(2),
        };
        let (mut read_keys, mut asked) = (Vec::new(), 0);
        let goes_on = |_| {
            asked += 1;
            // Each question comes after a wait of 200 ms at most: ten seconds of them are too many.
            anyhow::ensure!(asked < 50, "it waits on");
            Ok(())
        };
        let unfinished = read(&config, &client_events, table, goes_on, |record| {
            read_keys.push(record.key.to_vec());
        });
        assert_eq!(unfinished.unwrap(), BTreeSet::from([1]));
        assert_eq!(read_keys, [b"a"]);
    }
}

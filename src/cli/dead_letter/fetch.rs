//! Reads the ends of a topic's partitions. Joins no group and commits nothing.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::clock;
use crate::config::KafkaConfig;
use crate::kafka::error_words::is_topic_refused;
use crate::kafka::rights::MissingRight;
use crate::kafka::{headers, settings};

/// Time within which a broker has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time without a record while some are still to come.
const SILENCE: Duration = Duration::from_secs(10);
/// Pause before a partition without a leader is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A record without its value.
pub(super) struct DeadRecord {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch.
    pub(super) at_ms: Option<i64>,
    pub(super) key: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

/// Records, and the reason why some partitions were not read to their end.
pub(super) struct FetchedRecords {
    pub(super) records: Vec<DeadRecord>,
    pub(super) unread: Option<String>,
}

/// Reads the last `last` records of each partition. Blocks.
pub(super) fn fetch(config: &KafkaConfig, topic: &str, last: u32) -> anyhow::Result<FetchedRecords> {
    let reader: BaseConsumer = settings::reader(config).create()?;
    let metadata = reader
        .fetch_metadata(Some(topic), TIMEOUT)
        .with_context(|| format!("asking for the partitions of {topic}"))?;
    let found = metadata
        .topics()
        .iter()
        .find(|one| one.name() == topic && one.error().is_none());
    let count = found.map_or(0, |one| one.partitions().len());
    anyhow::ensure!(
        count > 0,
        "there is no topic {topic}; `bellwether topics create` makes it"
    );
    let mut list = TopicPartitionList::new();
    let mut unfinished = Vec::new();
    for partition in (0..).take(count) {
        let (low, end) = ends(&reader, topic, partition)?;
        if end > low {
            let start = (end - i64::from(last)).max(low);
            list.add_partition_offset(topic, partition, Offset::Offset(start))?;
            unfinished.push((partition, end));
        }
    }
    reader.assign(&list).with_context(|| format!("reading {topic}"))?;
    let mut records = Vec::new();
    let mut deadline = clock::monotonic() + SILENCE;
    while !unfinished.is_empty() && clock::monotonic() < deadline {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                deadline = later(deadline);
                let (partition, offset) = (message.partition(), message.offset());
                unfinished.retain(|(one, end)| *one != partition || offset + 1 < *end);
                records.push(read(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.retain(|(one, _)| *one != partition);
            }
            Some(Err(error)) if is_topic_refused(&error) => {
                anyhow::bail!(MissingRight::to_read(topic, config))
            }
            Some(Err(_)) | None => {}
        }
    }
    let unread = (!unfinished.is_empty()).then(|| {
        let partitions: Vec<String> = unfinished.iter().map(|(one, _)| one.to_string()).collect();
        format!(
            "{topic}: partitions {} were not read to their end",
            partitions.join(", ")
        )
    });
    Ok(FetchedRecords { records, unread })
}

fn later(deadline: Instant) -> Instant {
    deadline.max(clock::monotonic() + SILENCE)
}

/// The first and the next offset of a partition. One that has no leader yet, as right after its
/// topic was made, is asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "a record of a transaction that is not committed yet is none"
)]
fn ends(reader: &BaseConsumer, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
    let deadline = clock::monotonic() + TIMEOUT;
    loop {
        match reader.fetch_watermarks(topic, partition, TIMEOUT) {
            Err(error) if waits_for_leader(&error) && clock::monotonic() < deadline => {
                std::thread::park_timeout(ASK_AGAIN);
            }
            ends => {
                return ends
                    .with_context(|| format!("{topic}: partition {partition} cannot be asked for its ends"));
            }
        }
    }
}

fn waits_for_leader(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};

    matches!(
        error.rdkafka_error_code(),
        Some(LeaderNotAvailable | NotLeaderForPartition)
    )
}

fn read(message: &BorrowedMessage<'_>) -> DeadRecord {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = headers::read(message)
        .into_iter()
        .map(|(name, value)| (text(name), text(value.unwrap_or_default())));
    DeadRecord {
        partition: message.partition(),
        offset: message.offset(),
        at_ms: message.timestamp().to_millis(),
        key: message.key().map(text),
        headers: headers.collect(),
    }
}

//! Looking at a source topic in Kafka: its partitions, its last records, and how far the detectors have read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};

use crate::clock;
use crate::config::KafkaConfig;
use crate::kafka::settings;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long reading may go on without a record.
const SILENCE: Duration = Duration::from_secs(10);
/// Most bytes of records that are kept.
const MAX_BYTES: usize = 256 << 20;

/// A topic as it was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Empty when there is no such topic.
    pub(super) marks: Vec<Marks>,
    /// In the order of partition and offset.
    pub(super) records: Vec<RawRecord>,
    /// Partitions whose end was not reached, by reason.
    pub(super) unread: Option<String>,
    pub(super) group: Group,
    /// The cluster's other topics.
    pub(super) others: Vec<String>,
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) low: i64,
    /// The next offset a consumer may read: what lies beyond belongs to a transaction that is still open.
    pub(super) stable_end: i64,
    pub(super) end: i64,
}

/// A record as Kafka holds it.
#[derive(Debug, Clone)]
pub(super) struct RawRecord {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch.
    pub(super) record_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// How the detectors stand to the topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) name: String,
    /// Processes and threads that are in the group; `None` if the cluster would not say.
    pub(super) members: Option<usize>,
    /// By partition; `None` where nothing was committed.
    pub(super) committed: Vec<Option<i64>>,
    /// Why it is not known.
    pub(super) unknown: Option<String>,
}

impl Group {
    /// Records that are not yet read, of partitions with a commit.
    pub(super) fn lag(&self, marks: &[Marks]) -> i64 {
        self.committed
            .iter()
            .zip(marks)
            .filter_map(|(committed, marks)| Some((marks.stable_end - (*committed)?).max(0)))
            .sum()
    }
}

/// Keeps the last thing a client complained of, for the one who asked: a log of all it tries would bury the answer.
#[derive(Debug, Default)]
struct Ear(Mutex<Option<String>>);

impl Ear {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility = fac, "{log_message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        // The end of a partition is no error, and that all brokers are down says less than why one is.
        if !matches!(
            error.rdkafka_error_code(),
            Some(Code::PartitionEOF | Code::AllBrokersDown)
        ) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Ear {}

/// Looks at `topic` and reads the last `last` records of each partition. Blocks.
pub(super) fn take(config: &KafkaConfig, topic: &str, last: u32) -> anyhow::Result<Sample> {
    let reader: BaseConsumer<Ear> = settings::reader(config).create_with_context(Ear::default())?;
    let metadata = reader.fetch_metadata(None, TIMEOUT).map_err(|error| {
        // What it complained of waits to be heard.
        for _ in 0..50 {
            drop(reader.poll(Duration::from_millis(1)));
        }
        let why = reader.context().last().unwrap_or_else(|| error.to_string());
        anyhow::anyhow!(
            "Kafka does not answer (kafka.brokers = \"{}\"): {why}",
            config.brokers
        )
    })?;
    let named = |one: &rdkafka::metadata::MetadataTopic| one.name() == topic && one.error().is_none();
    let Some(found) = metadata.topics().iter().find(|one| named(one)) else {
        forbidden(&reader, topic)?;
        let others = metadata.topics().iter().map(|one| one.name().to_owned());
        return Ok(Sample {
            others: others.collect(),
            ..Sample::default()
        });
    };
    let partitions: Vec<i32> = (0..).take(found.partitions().len()).collect();
    let mut uncommitted = settings::reader(config);
    uncommitted.set("isolation.level", "read_uncommitted");
    let uncommitted: BaseConsumer<Ear> = uncommitted.create_with_context(Ear::default())?;
    let mut marks = Vec::with_capacity(partitions.len());
    for partition in &partitions {
        let (low, stable_end) = ends(&reader, topic, *partition)?;
        let (_, end) = ends(&uncommitted, topic, *partition)?;
        marks.push(Marks {
            low,
            stable_end,
            end: end.max(stable_end),
        });
    }
    let (records, unread) = read(&reader, topic, &marks, last)?;
    Ok(Sample {
        group: group(config, topic, &partitions),
        marks,
        records,
        unread,
        others: Vec::new(),
    })
}

/// A topic that may not be seen is left out of the list of all: asked for by name the brokers say so.
fn forbidden(reader: &BaseConsumer<Ear>, topic: &str) -> anyhow::Result<()> {
    let asked = reader.fetch_metadata(Some(topic), TIMEOUT)?;
    let error = asked
        .topics()
        .first()
        .and_then(|one| one.error())
        .map(RDKafkaErrorCode::from);
    anyhow::ensure!(
        error != Some(RDKafkaErrorCode::TopicAuthorizationFailed),
        "{topic}: the cluster does not allow this user to describe or read the topic"
    );
    Ok(())
}

/// Where a partition begins and ends. One that was made just now may have no leader yet: it is waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "the last stable offset is what is wanted, beside the high watermark"
)]
fn ends(consumer: &BaseConsumer<Ear>, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
    let deadline = clock::monotonic() + TIMEOUT;
    loop {
        match consumer.fetch_watermarks(topic, partition, TIMEOUT) {
            Ok(ends) => return Ok(ends),
            Err(error) if has_no_leader(&error) && clock::monotonic() < deadline => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{topic}: partition {partition} cannot be asked for its ends"));
            }
        }
    }
}

fn has_no_leader(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        )
    )
}

/// The records, and which partitions were not read to their end.
fn read(
    reader: &BaseConsumer<Ear>,
    topic: &str,
    marks: &[Marks],
    last: u32,
) -> anyhow::Result<(Vec<RawRecord>, Option<String>)> {
    let mut list = TopicPartitionList::new();
    let mut unfinished = BTreeSet::new();
    for (partition, marks) in (0..).zip(marks) {
        if marks.stable_end > marks.low {
            let start = (marks.stable_end - i64::from(last)).max(marks.low);
            list.add_partition_offset(topic, partition, Offset::Offset(start))?;
            unfinished.insert(partition);
        }
    }
    reader.assign(&list).with_context(|| format!("reading {topic}"))?;
    let mut records: BTreeMap<(i32, i64), RawRecord> = BTreeMap::new();
    let mut bytes = 0;
    let mut deadline = clock::monotonic() + SILENCE;
    let mut why_not = "they were silent for 10 s".to_owned();
    while !unfinished.is_empty() && clock::monotonic() < deadline {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                deadline = clock::monotonic() + SILENCE;
                let (partition, offset) = (message.partition(), message.offset());
                let end = usize::try_from(partition)
                    .ok()
                    .and_then(|place| marks.get(place))
                    .map_or(0, |marks| marks.stable_end);
                if offset + 1 >= end {
                    unfinished.remove(&partition);
                }
                // What came since we looked is for the next look.
                if offset >= end {
                    continue;
                }
                let value = message.payload().unwrap_or_default().to_vec();
                bytes += value.len();
                let record = RawRecord {
                    partition,
                    offset,
                    record_ms: message.timestamp().to_millis(),
                    key: message.key().map(<[u8]>::to_vec),
                    value,
                };
                records.insert((partition, offset), record);
                if bytes > MAX_BYTES {
                    why_not = format!("the records have more than {} MiB", MAX_BYTES >> 20);
                    break;
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            Some(Err(error)) => why_not = error.to_string(),
            None => {}
        }
    }
    let unread = (!unfinished.is_empty()).then(|| {
        let list: Vec<String> = unfinished.iter().map(ToString::to_string).collect();
        format!(
            "partitions {} were not read to their end: {why_not}",
            list.join(", ")
        )
    });
    Ok((records.into_values().collect(), unread))
}

/// Asks as a member would, without becoming one.
fn group(config: &KafkaConfig, topic: &str, partitions: &[i32]) -> Group {
    let name = config.topic("detect");
    let asked = (|| -> anyhow::Result<Group> {
        let asker: BaseConsumer<Ear> =
            settings::detect_member(config, &name).create_with_context(Ear::default())?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        let found = asker.committed_offsets(list, TIMEOUT)?;
        let committed = partitions
            .iter()
            .map(
                |partition| match found.find_partition(topic, *partition)?.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                },
            )
            .collect();
        let groups = asker.fetch_group_list(Some(&name), TIMEOUT);
        let members = groups.ok().map(|list| {
            let own = list.groups().iter().find(|group| group.name() == name);
            own.map_or(0, |group| group.members().len())
        });
        Ok(Group {
            name: name.clone(),
            members,
            committed,
            unknown: None,
        })
    })();
    asked.unwrap_or_else(|error| Group {
        name,
        unknown: Some(format!("{error:#}")),
        ..Group::default()
    })
}

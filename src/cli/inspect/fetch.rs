//! Reads a [`Sample`] from Kafka. Joins no group and commits nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::sample::{PartitionOffsets, ReaderGroup, Sample, SampledRecord};
use crate::clock;
use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::error_words::{in_words, is_topic_refused};
use crate::kafka::group_check::find_missing_right;
use crate::kafka::headers;
use crate::kafka::rights::{AclOperation, MissingRight};
use crate::kafka::settings;
use crate::telemetry::metrics::{Labels, Metrics};
use crate::telemetry::words::ProcessRole;

/// Time within which a broker has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time without a record while some are still to come.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes that a record and its meaning take beside what its producer wrote.
const RECORD_BYTES: usize = 2 << 10;

/// Keeps a client's last error for the one who asked: a log of all it tries would bury the answer.
#[derive(Debug, Default)]
struct LastError(Mutex<Option<String>>);

impl LastError {
    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for LastError {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility = fac, "{log_message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        // The end of a partition is no error, and that all brokers are down says less than why one
        // is.
        if !matches!(
            error.rdkafka_error_code(),
            Some(Code::PartitionEOF | Code::AllBrokersDown)
        ) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for LastError {}

/// The records to read of a topic.
#[derive(Debug, Clone)]
pub(super) struct SampleRequest {
    pub(super) topic: String,
    /// The last ones of each partition.
    pub(super) last: u32,
    /// Most bytes that they may take.
    pub(super) max_bytes: usize,
    /// The role that reads the topic.
    pub(super) reader: ProcessRole,
}

/// Looks at a topic, reads its last records, and asks how far those who read it are. Blocks.
pub(super) fn take_sample(config: &KafkaConfig, request: &SampleRequest) -> anyhow::Result<Sample> {
    let topic = &*request.topic;
    let reader: BaseConsumer<LastError> =
        settings::reader(config).create_with_context(LastError::default())?;
    let metadata = reader.fetch_metadata(None, TIMEOUT).map_err(|error| {
        // Errors wait to be heard.
        for _ in 0..50 {
            drop(reader.poll(Duration::from_millis(1)));
        }
        let why = reader.context().get().unwrap_or_else(|| error.to_string());
        anyhow::anyhow!(
            "Kafka does not answer (kafka.brokers = \"{}\"): {why}",
            config.brokers
        )
    })?;
    let named = |one: &rdkafka::metadata::MetadataTopic| one.name() == topic && one.error().is_none();
    let Some(found) = metadata.topics().iter().find(|one| named(one)) else {
        let others = metadata.topics().iter().map(|one| one.name().to_owned());
        return Ok(Sample {
            others: others.collect(),
            ..Sample::default()
        });
    };
    let partitions: Vec<i32> = (0..).take(found.partitions().len()).collect();
    let offsets = all_offsets(config, &reader, request, &partitions)?;
    let (records, unread) = read(config, &reader, request, &offsets)?;
    let group = group(config, topic, &partitions, request.reader);
    // Where nobody reads the topic, that says it all.
    let followers = match group.members {
        Some(1..) => followers(config, request.reader),
        _ => Vec::new(),
    };
    Ok(Sample {
        group,
        followers,
        offsets,
        records,
        unread,
        others: Vec::new(),
    })
}

fn all_offsets(
    config: &KafkaConfig,
    reader: &BaseConsumer<LastError>,
    request: &SampleRequest,
    partitions: &[i32],
) -> anyhow::Result<Vec<PartitionOffsets>> {
    let topic = &request.topic;
    let mut uncommitted = settings::reader(config);
    uncommitted.set("isolation.level", "read_uncommitted");
    let uncommitted: BaseConsumer<LastError> = uncommitted.create_with_context(LastError::default())?;
    partitions
        .iter()
        .map(|partition| {
            let (low, stable_end) = ends(reader, topic, *partition)?;
            let (_, end) = ends(&uncommitted, topic, *partition)?;
            Ok(PartitionOffsets {
                low,
                read_from: (stable_end - i64::from(request.last)).max(low),
                stable_end,
                end: end.max(stable_end),
            })
        })
        .collect()
}

/// The first and the next offset of a partition. One that was made just now may have no leader yet:
/// it is waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "the last stable offset is what is wanted, beside the high watermark"
)]
fn ends(consumer: &BaseConsumer<LastError>, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
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

/// The records, and the reason why some partitions were not read to their end.
fn read(
    config: &KafkaConfig,
    reader: &BaseConsumer<LastError>,
    request: &SampleRequest,
    offsets: &[PartitionOffsets],
) -> anyhow::Result<(Vec<SampledRecord>, Option<String>)> {
    let topic = &request.topic;
    let mut list = TopicPartitionList::new();
    let mut reading = Reading::new(offsets, request.max_bytes);
    for partition in &reading.unfinished {
        let offsets = offsets[usize::try_from(*partition).unwrap_or_default()];
        list.add_partition_offset(topic, *partition, Offset::Offset(offsets.read_from))?;
    }
    reader.assign(&list).with_context(|| format!("reading {topic}"))?;
    while reading.goes_on(clock::monotonic()) {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => reading.take(&message, clock::monotonic()),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                reading.unfinished.remove(&partition);
            }
            Some(Err(error)) if is_topic_refused(&error) => {
                anyhow::bail!(MissingRight::to_read(topic, config))
            }
            Some(Err(error)) => reading.why_not = in_words(&error),
            None => {}
        }
    }
    let unread = reading.unread();
    Ok((reading.records.into_values().collect(), unread))
}

/// The reading of all partitions up to the ends that they had at the beginning.
struct Reading<'a> {
    offsets: &'a [PartitionOffsets],
    records: BTreeMap<(i32, i64), SampledRecord>,
    bytes: usize,
    max_bytes: usize,
    unfinished: BTreeSet<i32>,
    deadline: Instant,
    why_not: String,
}

impl<'a> Reading<'a> {
    fn new(offsets: &'a [PartitionOffsets], max_bytes: usize) -> Self {
        let unfinished = (0..).zip(offsets).filter(|(_, one)| one.stable_end > one.low);
        Self {
            offsets,
            records: BTreeMap::new(),
            bytes: 0,
            max_bytes,
            unfinished: unfinished.map(|(partition, _)| partition).collect(),
            deadline: clock::monotonic() + SILENCE,
            why_not: format!("they were silent for {} s", SILENCE.as_secs()),
        }
    }

    fn goes_on(&self, now: Instant) -> bool {
        !self.unfinished.is_empty() && self.bytes <= self.max_bytes && now < self.deadline
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, now: Instant) {
        self.deadline = now + SILENCE;
        let (partition, offset) = (message.partition(), message.offset());
        let end = usize::try_from(partition)
            .ok()
            .and_then(|place| self.offsets.get(place))
            .map_or(0, |offsets| offsets.stable_end);
        if offset + 1 >= end {
            self.unfinished.remove(&partition);
        }
        // Records that came since the beginning are for the next look.
        if offset >= end {
            return;
        }
        let headers = headers::read(message).into_iter();
        let record = SampledRecord {
            partition,
            offset,
            // The detector takes a negative time for none.
            record_ms: message.timestamp().to_millis().filter(|ms| *ms >= 0),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
        };
        self.bytes += RECORD_BYTES + record.bytes();
        if self.bytes > self.max_bytes {
            self.why_not = format!("the records take more than {} MiB", self.max_bytes >> 20);
        }
        self.records.insert((partition, offset), record);
    }

    fn unread(&self) -> Option<String> {
        let list: Vec<String> = self.unfinished.iter().map(ToString::to_string).collect();
        let (list, why_not) = (list.join(", "), &self.why_not);
        (!list.is_empty()).then(|| format!("partitions {list} were not read to their end: {why_not}"))
    }
}

/// The group that reads the topic, asked as a member would without becoming one.
fn group(config: &KafkaConfig, topic: &str, partitions: &[i32], role: ProcessRole) -> ReaderGroup {
    let name = config.topic(role.as_str());
    ask_group(config, topic, partitions, &name).unwrap_or_else(|error| ReaderGroup {
        name,
        unknown: Some(format!("{error:#}")),
        ..ReaderGroup::default()
    })
}

/// The groups of the roles that go on with what the reader of a source leaves to them.
fn followers(config: &KafkaConfig, reader: ProcessRole) -> Vec<(ProcessRole, ReaderGroup)> {
    let all = [
        (ProcessRole::Detect, "events"),
        (ProcessRole::Deliver, "deliveries"),
    ];
    let following = all.into_iter().filter(|(role, _)| *role > reader);
    following
        .map(|(role, topic)| (role, group(config, &config.topic(topic), &[0], role)))
        .collect()
}

fn ask_group(
    config: &KafkaConfig,
    topic: &str,
    partitions: &[i32],
    name: &str,
) -> anyhow::Result<ReaderGroup> {
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default()))).with_principal(config);
    // Without it the questions below would be tried until their time is over.
    let missing = find_missing_right(config, &client_events, AclOperation::Describe, name, topic);
    if let Some(right) = Handle::current().block_on(missing)? {
        anyhow::bail!(right);
    }
    let asker: BaseConsumer<LastError> =
        settings::detect_member(config, name).create_with_context(LastError::default())?;
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let found = asker.committed_offsets(list, TIMEOUT)?;
    let committed = |partition: &i32| match found.find_partition(topic, *partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let groups = asker.fetch_group_list(Some(name), TIMEOUT);
    let members = groups.ok().map(|list| {
        let own = list.groups().iter().find(|group| group.name() == name);
        own.map_or(0, |group| group.members().len())
    });
    Ok(ReaderGroup {
        name: name.to_owned(),
        members,
        committed: partitions.iter().map(committed).collect(),
        unknown: None,
    })
}

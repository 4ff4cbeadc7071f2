//! Writing to and reading from the test's broker, without the service's own code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bellwether::domain::id::{DeliveryId, NotificationId};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

pub(crate) fn brokers() -> String {
    std::env::var("BELLWETHER_KAFKA__BROKERS").expect("`make test` starts Kafka and names it")
}

/// A producer as an analytics ingestion would have one.
pub(crate) fn producer(brokers: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()
        .unwrap()
}

/// A producer that writes each record once, whatever becomes of its brokers meanwhile.
pub(crate) fn careful_producer(brokers: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .set("enable.idempotence", "true")
        // Soon there again, so that only the service's own delay is measured.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .unwrap()
}

/// Publishes one record and waits until it is there.
pub(crate) async fn publish(producer: &FutureProducer, topic: &str, key: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref().to_vec();
    producer
        .send(
            FutureRecord::to(topic).key(key).payload(&value),
            Duration::from_secs(10),
        )
        .await
        .unwrap();
}

/// A delivery record as any version of the service, or somebody else, might write it.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Raw {
    /// A good one for the first attempt of a goal's delivery, decided at `created_at_ms`.
    pub(crate) fn delivery(topic: &str, webhook: &str, site: &str, created_at_ms: i64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (ms, number) = (
            created_at_ms.cast_unsigned(),
            NEXT.fetch_add(1, Ordering::Relaxed),
        );
        let id = Uuid::from_u64_pair(ms << 16 | 0x8000, number | 1 << 63);
        let body = format!(r#"{{"id":"{}"}}"#, NotificationId::from_uuid(id));
        let headers = [
            ("bw-version", "1".to_owned()),
            ("bw-delivery-id", DeliveryId::from_uuid(id).to_string()),
            ("bw-notification-id", NotificationId::from_uuid(id).to_string()),
            ("bw-site-id", site.to_owned()),
            ("bw-event-type", "goal_completion".to_owned()),
            ("bw-created-at-ms", created_at_ms.to_string()),
            ("bw-origin", "event".to_owned()),
            ("bw-attempt", "1".to_owned()),
        ];
        Self {
            topic: topic.to_owned(),
            partition: 0,
            key: Some(webhook.into()),
            body: Some(body.into()),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
        }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(one, _)| one == name);
        std::str::from_utf8(&found.unwrap().1).unwrap()
    }

    /// With another value of a header, or a new one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(one, _)| one != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Publishes it and waits until it is there.
    pub(crate) async fn publish(&self, producer: &FutureProducer) {
        let headers = self
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic)
            .partition(self.partition)
            .headers(headers);
        record.key = self.key.as_deref();
        record.payload = self.body.as_deref();
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

/// Everything on a topic now, from its beginning to its end.
pub(crate) fn read_all(topic: &str) -> Vec<OwnedMessage> {
    read_all_of(&brokers(), topic)
}

/// The same of a cluster that not all tests share.
pub(crate) fn read_all_of(brokers: &str, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(10))
        .unwrap();
    let mut list = TopicPartitionList::new();
    let mut missing = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = watermarks(&consumer, topic, partition.id());
        missing += high - low;
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low))
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut records = Vec::new();
    while missing > 0 {
        let message = consumer
            .poll(Duration::from_secs(10))
            .expect("the records are there")
            .unwrap();
        records.push(message.detach());
        missing -= 1;
    }
    records
}

/// Counts the records of a topic that a group has not committed.
pub(crate) fn uncommitted(group: &str, topic: &str) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", group)
        .create()
        .unwrap();
    let timeout = Duration::from_secs(10);
    let metadata = consumer.fetch_metadata(Some(topic), timeout).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(list, timeout).unwrap();
    let of = |one: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        let (low, high) = watermarks(&consumer, topic, one.partition());
        match one.offset() {
            Offset::Offset(offset) => high - offset,
            _ => high - low,
        }
    };
    committed.elements().iter().map(of).sum()
}

/// Beginning and end of a partition. A broker does not lead the partitions of a topic that was just
/// made for a moment: it is asked until it does.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)) {
            Ok(found) => return found,
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable,
            )) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("{topic}/{partition}: {error}"),
        }
    }
}

/// Removes what lies before an offset, as retention does.
pub(crate) async fn delete_before(topic: &str, partition: i32, offset: i64) {
    delete_records(topic, partition, Offset::Offset(offset)).await;
}

/// Removes all records of a partition, as retention does.
pub(crate) async fn delete_all(topic: &str, partition: i32) {
    delete_records(topic, partition, Offset::End).await;
}

async fn delete_records(topic: &str, partition: i32, before: Offset) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, before).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// Makes a topic take no messages of more than `bytes`.
pub(crate) async fn set_max_message_bytes(topic: &str, bytes: usize) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let bytes = bytes.to_string();
    let smaller = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let altered = admin
        .alter_configs([&smaller], &AdminOptions::new())
        .await
        .unwrap();
    assert!(altered[0].is_ok(), "{altered:?}");
}

/// A header's value as text.
pub(crate) fn header<'a>(record: &'a OwnedMessage, name: &str) -> Option<&'a str> {
    record
        .headers()?
        .iter()
        .find(|one| one.key == name)?
        .value
        .map(|bytes| std::str::from_utf8(bytes).unwrap())
}

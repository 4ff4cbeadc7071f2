//! Writing to and reading from the test's broker, without the service's own code.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

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

/// Everything on a topic now, from its beginning to its end.
pub(crate) fn read_all(topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
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
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), Duration::from_secs(10))
            .unwrap();
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

/// A header's value as text.
pub(crate) fn header<'a>(record: &'a OwnedMessage, name: &str) -> Option<&'a str> {
    record
        .headers()?
        .iter()
        .find(|one| one.key == name)?
        .value
        .map(|bytes| std::str::from_utf8(bytes).unwrap())
}

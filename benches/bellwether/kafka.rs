//! Topics, filling them, publishing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use bellwether::config::{Config, KafkaConfig, Source, Sources};
use bellwether::kafka::client::ClientEvents;
use bellwether::kafka::topics::{Topics, plan};
use bellwether::telemetry::Metrics;
use bellwether::telemetry::metrics::Labels;

use super::events;

/// Addresses of the brokers.
pub fn brokers() -> anyhow::Result<String> {
    std::env::var("BELLWETHER_KAFKA__BROKERS")
        .context("BELLWETHER_KAFKA__BROKERS is not set: `make bench` starts Kafka and sets it")
}

/// A name that nobody else has and with which no other name begins.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}{}x{}x",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Settings of the benchmark's own clients, as the service has them.
pub fn config(prefix: &str, partitions: i32) -> anyhow::Result<KafkaConfig> {
    Ok(KafkaConfig {
        brokers: brokers()?,
        topic_prefix: prefix.to_owned(),
        partitions,
        replication_factor: 1,
        ..KafkaConfig::default()
    })
}

/// Creates the topics of a deployment that reads `source`.
pub fn create_topics(kafka: &KafkaConfig, source: &str) -> anyhow::Result<()> {
    let config = Config {
        kafka: kafka.clone(),
        sources: Sources(vec![Source {
            topic: source.to_owned(),
            ..Source::default()
        }]),
        ..Config::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = Topics::new(&config, client_events)?;
    runtime()?.block_on(topics.create(&plan(&config, &[]), kafka.replication_factor))?;
    Ok(())
}

/// Deletes the topics whose names begin with `prefix`: some hundred partitions a run would slow the
/// broker down in later runs.
pub async fn delete_topics(prefix: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers()?)
        .create()?;
    let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
    let names = metadata.topics().iter().map(MetadataTopic::name);
    let ours: Vec<&str> = names.filter(|name| name.starts_with(prefix)).collect();
    for deleted in admin.delete_topics(&ours, &AdminOptions::new()).await? {
        deleted.map_err(|(topic, code)| anyhow::anyhow!("deleting {topic}: {code}"))?;
    }
    Ok(())
}

/// A runtime for occasional requests.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")
}

/// A producer as an analytics ingestion has it: murmur2, all replicas. Nothing is compressed, which
/// is the hardest case for a comparison with a consumer that only counts.
pub struct Producer(ThreadedProducer<DefaultProducerContext>);

impl Producer {
    /// Makes a producer that gathers records for up to `linger`.
    pub fn new(linger: Duration) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers()?)
            .set("partitioner", "murmur2_random")
            .set("acks", "all")
            .set("linger.ms", linger.as_millis().to_string())
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            .create()
            .context("starting a producer")?;
        Ok(Self(producer))
    }

    /// Makes a producer that gathers nothing, and connects it: an ingestion's is connected when an
    /// event comes. What it publishes for that is of no registered site.
    pub fn connected(topic: &str) -> anyhow::Result<Self> {
        let producer = Self::new(Duration::ZERO)?;
        let event = r#"{"site_id":"nobody.example","type":"error"}"#;
        producer.send(topic, b"nobody.example", event.as_bytes(), None)?;
        producer.flush()?;
        Ok(producer)
    }

    /// Queues a record; waits while the queue is full.
    pub fn send(
        &self,
        topic: &str,
        key: &[u8],
        value: &[u8],
        headers: Option<OwnedHeaders>,
    ) -> anyhow::Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        record.headers = headers;
        loop {
            match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error).with_context(|| format!("publishing to {topic}")),
            }
        }
    }

    /// Queues a completed goal of a site.
    pub fn send_goal(&self, topic: &str, site: u64, number: u64) -> anyhow::Result<()> {
        let (key, value) = (events::site_id(site), events::goal(site, number));
        self.send(topic, key.as_bytes(), value.as_bytes(), None)
    }

    /// Waits until everything is acknowledged.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.0
            .flush(Duration::from_secs(60))
            .context("waiting for acknowledgements")
    }
}

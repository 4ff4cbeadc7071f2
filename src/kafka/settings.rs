//! librdkafka's settings. Each that differs from the default says why.

use rdkafka::ClientConfig;

use crate::config::KafkaConfig;

/// What every client shares.
pub fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("client.id", "bellwether")
        // The defaults (10 s, 30 s, 60 s) are too slow to go on within 5 s of a fault's end.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("socket.timeout.ms", "10000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("socket.keepalive.enable", "true");
    for (key, value) in &config.properties {
        // Compression is a producer's, and a consumer would warn about it.
        if !is_producer_only(key) {
            client.set(key, value);
        }
    }
    client.set("bootstrap.servers", &config.brokers);
    client
}

fn is_producer_only(key: &str) -> bool {
    matches!(
        key,
        "compression.type"
            | "compression.codec"
            | "compression.level"
            | "linger.ms"
            | "queue.buffering.max.ms"
            | "batch.size"
    )
}

/// A member of a consumer group.
pub fn member(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = client(config);
    client
        .set("group.id", group)
        // Offsets are committed when what they stand for is done, never because they were read.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // All partitions p of a group's topics lie with one member: range does so for topics of equal count.
        .set("partition.assignment.strategy", "range")
        .set("group.protocol", "classic")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("max.poll.interval.ms", "60000")
        .set("auto.offset.reset", "earliest")
        // An empty fetch comes back this late when its partition has no leader here for a moment.
        .set("fetch.wait.max.ms", "50")
        .set("fetch.min.bytes", "1")
        .set("fetch.queue.backoff.ms", "10")
        // So that a caught-up partition says so.
        .set("enable.partition.eof", "true");
    client
}

/// The detector's member: its partition queues are forwarded into one, so the bounds are for all of them.
pub fn detect_member(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = member(config, group);
    client
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "16384");
    client
}

/// The deliverer's member: each partition has its own queue, so 128 MiB are shared by those it may hold.
pub fn deliver_member(config: &KafkaConfig, group: &str, queues: usize) -> ClientConfig {
    let mut client = member(config, group);
    let kbytes = (128 * 1024 / queues.max(1)).clamp(64, 16_384);
    client
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", kbytes.to_string())
        .set("fetch.queue.backoff.ms", "20");
    client
}

/// A consumer without a group, for looking at a topic.
pub fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = client(config);
    client
        .set("group.id", "bellwether-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "20")
        .set("enable.partition.eof", "true");
    client
}

/// The producer.
pub fn producer(config: &KafkaConfig) -> ClientConfig {
    let mut client = client(config);
    client
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("request.timeout.ms", "5000")
        // A record waits for its broker as long as it takes: given up, it would be lost to whoever counts on it.
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.kbytes", "131072");
    for (key, value) in &config.properties {
        client.set(key, value);
    }
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // What Java producers use; librdkafka's own default (CRC32) would put a site elsewhere.
        .set("partitioner", "murmur2_random");
    client
}

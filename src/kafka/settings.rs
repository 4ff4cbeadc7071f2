//! librdkafka's settings. A comment gives the reason where one differs from the default.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::KafkaConfig;

/// Settings that only a producer has: a consumer would warn about them.
const PRODUCER_ONLY: &[&str] = &[
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "linger.ms",
    "message.send.max.retries",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
];

/// Settings that only a member of a group has: a producer would warn about them.
const CONSUMER_ONLY: &[&str] = &[
    "check.crcs",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// Time after which a member that is silent is given up, in milliseconds.
const SESSION_TIMEOUT_MS: u64 = 6_000;

/// First pause before a client connects to a broker again, in milliseconds.
const RECONNECT_MS: u64 = 500;

/// Settings of every client.
pub(crate) fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    // The line about a connection that was closed is one of these, and no error says as much.
    client.set_log_level(RDKafkaLogLevel::Info);
    client
        .set("client.id", "bellwether")
        // The defaults (10 s, 30 s, 60 s) are too slow to resume within 5 s after a fault. A group
        // is joined again over the connections of other requests, so those that fell silent have to
        // be given up before the session ends.
        .set("reconnect.backoff.max.ms", "1000")
        // A client without any broker tries one each half of this time (the default is 100 ms)
        // for as long as it has something to ask.
        .set("reconnect.backoff.ms", RECONNECT_MS.to_string())
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("socket.timeout.ms", "4000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("socket.keepalive.enable", "true");
    for (key, value) in &config.properties {
        if !PRODUCER_ONLY.contains(&key.as_str()) && !CONSUMER_ONLY.contains(&key.as_str()) {
            client.set(key, value);
        }
    }
    let longest_ms = number(&client, "reconnect.backoff.max.ms");
    if !config.properties.contains_key("reconnect.backoff.ms")
        && let Some(longest_ms) = longest_ms
    {
        connect_again_within(&mut client, longest_ms);
    }
    client.set("bootstrap.servers", &config.brokers);
    client
}

/// Bounds the time from one try to connect to the next. librdkafka refuses a first pause that is
/// longer than the longest.
pub(crate) fn connect_again_within(client: &mut ClientConfig, longest_ms: u64) {
    let first_ms = number(client, "reconnect.backoff.ms").unwrap_or(RECONNECT_MS);
    client
        .set("reconnect.backoff.max.ms", longest_ms.to_string())
        .set("reconnect.backoff.ms", first_ms.min(longest_ms).to_string());
}

fn number(client: &ClientConfig, key: &str) -> Option<u64> {
    client.get(key)?.parse().ok()
}

/// Adds the operator's settings of these `names`. Settings that must not change were refused with
/// the configuration.
fn set_configured(client: &mut ClientConfig, config: &KafkaConfig, names: &[&str]) {
    for (key, value) in &config.properties {
        if names.contains(&key.as_str()) {
            client.set(key, value);
        }
    }
}

/// Settings of every group member.
fn member(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = client(config);
    client
        .set("group.id", group)
        // An offset is committed when its record is done with, never because it was read.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Partitions of one number must go to one member: range does so for topics of equal
        // partition counts.
        .set("partition.assignment.strategy", "range")
        .set("group.protocol", "classic")
        .set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string())
        .set("heartbeat.interval.ms", "1000")
        .set("max.poll.interval.ms", "60000")
        .set("auto.offset.reset", "earliest")
        // An empty fetch is answered this late when the broker does not lead its partition for a
        // moment.
        .set("fetch.wait.max.ms", "50")
        .set("fetch.min.bytes", "1")
        .set("fetch.queue.backoff.ms", "10")
        // The end of a partition is an event, so that a reader knows when it has caught up.
        .set("enable.partition.eof", "true");
    client
}

/// Names a member for the group, if the process has a name: its successor then takes over from it
/// at once, and not when its session has timed out.
pub(crate) fn name_member(client: &mut ClientConfig, config: &KafkaConfig, thread: &str) {
    if let Some(instance_id) = &config.instance_id {
        client.set("group.instance.id", format!("{instance_id}-{thread}"));
    }
}

/// Reads how long a member may be silent before its partitions go to others.
pub(crate) fn session_timeout(member: &ClientConfig) -> Duration {
    let configured = member
        .get("session.timeout.ms")
        .and_then(|text| text.parse().ok());
    Duration::from_millis(configured.unwrap_or(SESSION_TIMEOUT_MS))
}

/// A detector's member. Its partition queues are forwarded to one queue, so the bounds hold for all
/// together.
pub fn detect_member(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = member(config, group);
    client
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "16384");
    set_configured(&mut client, config, CONSUMER_ONLY);
    client
}

/// A deliverer's member. Each partition has a queue of its own, so 128 MiB are divided by their
/// number.
pub(crate) fn deliver_member(config: &KafkaConfig, group: &str, queues: usize) -> ClientConfig {
    let mut client = deliver_client(config, group, queues);
    // A new record waits for no company: sending goes before recording, and so the bound on how
    // late it comes.
    client.set("fetch.min.bytes", "1");
    set_configured(&mut client, config, CONSUMER_ONLY);
    client
}

/// A deliverer's second client, which reads the tiers. It is a member of no group: it names one
/// only because every consumer must, and names this one so that no further permission is needed.
/// Records are early there by the delay of their tier, so a fetch may wait for a part of the
/// `shortest` delay.
pub(crate) fn tiers_reader(
    config: &KafkaConfig,
    group: &str,
    queues: usize,
    shortest: Duration,
) -> ClientConfig {
    let mut client = deliver_client(config, group, queues);
    let wait_ms = (shortest.as_millis() / 4).clamp(5, 100);
    client
        .set("fetch.min.bytes", "262144")
        .set("fetch.wait.max.ms", wait_ms.to_string());
    set_configured(&mut client, config, CONSUMER_ONLY);
    // A longer wait that an operator configures is meant for new records; here it would make
    // retries late.
    let configured = client.get("fetch.wait.max.ms").and_then(|text| text.parse().ok());
    client.set(
        "fetch.wait.max.ms",
        configured.unwrap_or(wait_ms).min(wait_ms).to_string(),
    );
    client
}

fn deliver_client(config: &KafkaConfig, group: &str, queues: usize) -> ClientConfig {
    let mut client = member(config, group);
    let kbytes = (128 * 1024 / queues.max(1)).clamp(64, 16_384);
    client
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", kbytes.to_string())
        .set("fetch.queue.backoff.ms", "20");
    client
}

/// A consumer that joins no group, for looking at a topic. It names the detectors' group, as every
/// consumer must name one, so that no permission for another is needed.
pub(crate) fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = client(config);
    client
        .set("group.id", config.topic("detect"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "20")
        .set("enable.partition.eof", "true");
    client
}

/// Settings of the producer.
pub(crate) fn producer(config: &KafkaConfig) -> ClientConfig {
    let mut client = client(config);
    client
        .set("compression.type", "lz4")
        // A request carries records of one partition, and one partition seldom gets two within any
        // acceptable delay: lingering only makes records late. Under load records gather without
        // it.
        .set("linger.ms", "0")
        .set("request.timeout.ms", "5000")
        // A record waits for its broker as long as it takes: the code that publishes it relies on
        // its arrival.
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.kbytes", "131072");
    set_configured(&mut client, config, PRODUCER_ONLY);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Java producers use it too; librdkafka's default (CRC32) would put a site into another
        // partition.
        .set("partitioner", "murmur2_random");
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig {
            properties: properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..KafkaConfig::default()
        }
    }

    #[test]
    fn librdkafka_is_built_with_tls_sasl_and_codecs() {
        let native = ClientConfig::new()
            .create_native_config()
            .expect("a configuration");
        let features = native
            .get("builtin.features")
            .expect("librdkafka says what it has");
        for wanted in ["ssl", "sasl_scram", "zstd", "lz4", "snappy", "gzip"] {
            let there = features.split(',').any(|one| one.trim() == wanted);
            assert!(there, "{wanted} is not in {features}");
        }
    }

    #[test]
    fn each_client_gets_the_configured_settings_of_its_kind() {
        let config = with(&[
            ("security.protocol", "SSL"),
            ("session.timeout.ms", "3000"),
            ("compression.type", "zstd"),
        ]);
        let (member, producer) = (deliver_member(&config, "g", 1), producer(&config));
        assert_eq!(member.get("session.timeout.ms"), Some("3000"));
        assert_eq!(member.get("compression.type"), None);
        assert_eq!(producer.get("compression.type"), Some("zstd"));
        assert_eq!(producer.get("session.timeout.ms"), None);
        let tiers = tiers_reader(&config, "g", 1, Duration::from_secs(1));
        for client in [
            &member,
            &producer,
            &tiers,
            &reader(&config),
            &detect_member(&config, "g"),
        ] {
            assert_eq!(client.get("security.protocol"), Some("SSL"));
        }
        let tiers = tiers_reader(
            &with(&[("fetch.wait.max.ms", "8")]),
            "g",
            1,
            Duration::from_secs(1),
        );
        assert_eq!(tiers.get("fetch.wait.max.ms"), Some("8"));
    }

    #[test]
    fn a_first_pause_is_no_longer_than_the_longest() {
        let pauses = |properties: &[(&str, &str)]| {
            let client = client(&with(properties));
            ["reconnect.backoff.ms", "reconnect.backoff.max.ms"].map(|key| number(&client, key))
        };
        assert_eq!(pauses(&[]), [Some(500), Some(1_000)]);
        assert_eq!(pauses(&[("reconnect.backoff.max.ms", "200")]), [Some(200); 2]);
        let both = [
            ("reconnect.backoff.max.ms", "300"),
            ("reconnect.backoff.ms", "100"),
        ];
        assert_eq!(pauses(&both), [Some(100), Some(300)]);
        let mut impatient = client(&with(&[("reconnect.backoff.ms", "800")]));
        connect_again_within(&mut impatient, 500);
        assert_eq!(number(&impatient, "reconnect.backoff.ms"), Some(500));
    }

    #[test]
    fn a_session_times_out_after_six_seconds_by_default() {
        for (config, text, timeout) in [
            (KafkaConfig::default(), "6000", Duration::from_secs(6)),
            (
                with(&[("session.timeout.ms", "3000")]),
                "3000",
                Duration::from_secs(3),
            ),
        ] {
            for member in [deliver_member(&config, "g", 1), detect_member(&config, "g")] {
                assert_eq!(member.get("session.timeout.ms"), Some(text));
                assert_eq!(session_timeout(&member), timeout);
            }
        }
    }

    #[test]
    fn a_fetch_from_tiers_ends_long_before_the_shortest_delay() {
        let wait = |properties: &[(&str, &str)], shortest_ms| {
            let reader = tiers_reader(&with(properties), "g", 1, Duration::from_millis(shortest_ms));
            reader.get("fetch.wait.max.ms").map(ToOwned::to_owned)
        };
        assert_eq!(wait(&[], 1_000).as_deref(), Some("100"));
        assert_eq!(wait(&[], 200).as_deref(), Some("50"));
        assert_eq!(wait(&[], 1).as_deref(), Some("5"));
        assert_eq!(wait(&[], 86_400_000).as_deref(), Some("100"));
        let configured = |wait_ms| [("fetch.wait.max.ms", wait_ms)];
        assert_eq!(wait(&configured("8"), 1_000).as_deref(), Some("8"));
        assert_eq!(wait(&configured("500"), 200).as_deref(), Some("50"));
    }
}

//! `[kafka]`: brokers, topics and librdkafka's own settings.

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Value};
use serde::{Deserialize, Deserializer};

use super::problems::{HIDDEN, Problems, quoted};
use super::topic_name::is_topic_name;

/// `[kafka]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Prefix of the names of Bellwether's topics and groups.
    pub topic_prefix: String,
    /// Partitions of every topic of Bellwether's; the source topics must have as many.
    pub partitions: i32,
    /// Copies of every topic of Bellwether's.
    pub replication_factor: i32,
    /// Name by which a restarted process takes over from its dead predecessor at once. Each process
    /// needs one of its own.
    pub instance_id: Option<String>,
    /// Settings handed to librdkafka: `security.protocol`, `sasl.*`, `ssl.*` and so on.
    #[serde(deserialize_with = "flatten")]
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic_prefix: "bellwether".into(),
            partitions: 48,
            replication_factor: 3,
            instance_id: None,
            properties: BTreeMap::new(),
        }
    }
}

// The values may be passwords.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic_prefix", &self.topic_prefix)
            .field("partitions", &self.partitions)
            .field("replication_factor", &self.replication_factor)
            .field("instance_id", &self.instance_id)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Settings that carry a guarantee and so are not the operator's to change.
const OWN_PROPERTIES: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "partition.assignment.strategy",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    // What a transaction gave up must notify nobody.
    "isolation.level",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "partitioner",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "transactional.id",
    "client.rack",
];

/// Protocols that librdkafka takes before a broker's address.
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// True for `host:port`, with a protocol of Kafka before it or not.
fn has_host_and_port(broker: &str) -> bool {
    let address = match broker.split_once("://") {
        Some((protocol, address)) if PROTOCOLS.contains(&protocol.to_uppercase().as_str()) => address,
        Some(_) => return false,
        None => broker,
    };
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let host_ok =
            !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
        host_ok && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

impl KafkaConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for broker in self.brokers.split(',').map(str::trim) {
            // Somebody who is used to URLs may have put a password before the host.
            let shown = match broker.contains('@') {
                true => HIDDEN.to_owned(),
                false => quoted(broker),
            };
            problems.check(
                has_host_and_port(broker),
                "kafka.brokers",
                shown,
                "allowed: host:port, several separated by commas",
            );
        }
        let prefix_ok = !self.topic_prefix.is_empty()
            && self.topic_prefix.len() <= 100
            && is_topic_name(&self.topic_prefix);
        problems.check(
            prefix_ok,
            "kafka.topic_prefix",
            quoted(&self.topic_prefix),
            "allowed: 1 to 100 of the characters a-z A-Z 0-9 . _ -",
        );
        problems.check_range("kafka.partitions", self.partitions, self.partitions);
        problems.check_range(
            "kafka.replication_factor",
            self.replication_factor,
            self.replication_factor,
        );
        if let Some(id) = &self.instance_id {
            problems.check(
                !id.is_empty() && id.len() <= 100 && is_topic_name(id),
                "kafka.instance_id",
                quoted(id),
                "allowed: 1 to 100 of the characters a-z A-Z 0-9 . _ -",
            );
        }
        for key in self.properties.keys() {
            problems.check(
                !OWN_PROPERTIES.contains(&key.as_str()),
                &format!("kafka.properties.\"{key}\""),
                HIDDEN,
                "not allowed: Bellwether's guarantees rest on its own value of this setting",
            );
        }
    }

    /// The name of one of Bellwether's topics: `<prefix>.<name>`.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.topic_prefix)
    }
}

/// `a.b = 1`, `"a.b" = 1` and (from the environment) `a_b` all mean librdkafka's `a.b`.
fn flatten<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    fn walk(prefix: &str, dict: &Dict, out: &mut BTreeMap<String, String>) -> Result<(), String> {
        for (key, value) in dict {
            let name = format!("{prefix}{}", key.replace('_', "."));
            let text = match value {
                Value::Dict(_, inner) => {
                    walk(&format!("{name}."), inner, out)?;
                    continue;
                }
                Value::String(_, text) => text.clone(),
                Value::Bool(_, flag) => flag.to_string(),
                // Each of these reads its own kinds of number only: those of the environment are
                // unsigned.
                Value::Num(_, number) => (number.to_u128().map(|n| n.to_string()))
                    .or_else(|| number.to_i128().map(|n| n.to_string()))
                    .or_else(|| number.to_f64().map(|n| n.to_string()))
                    .ok_or_else(|| format!("kafka.properties.\"{name}\": not a number"))?,
                _ => {
                    return Err(format!(
                        "kafka.properties.\"{name}\": allowed: a string, a number, true or false"
                    ));
                }
            };
            out.insert(name, text);
        }
        Ok(())
    }
    let mut out = BTreeMap::new();
    walk("", &Dict::deserialize(deserializer)?, &mut out).map_err(serde::de::Error::custom)?;
    Ok(out)
}

//! The configuration: a TOML file, then `BELLWETHER_*` environment variables (`__` between levels), then flags.
//!
//! In comes text from three places; out goes a `Config` in which every value is known to be usable. A wrong key or
//! value is refused with its name, its value and what is allowed; all problems found are named at once.

mod load;
mod duration;
mod kafka;
mod postgres;
mod http;
mod encryption;
mod webhooks;
mod stages;

pub(crate) use encryption::EncryptionConfig;
pub(crate) use http::{AdminConfig, HttpConfig};
pub use kafka::{Clock, KafkaConfig, Source, SourceFormat};
pub(crate) use load::{ConfigError, ConfigSources, load, load_judged};
pub(crate) use postgres::PostgresConfig;
pub(crate) use stages::{DeliverConfig, DetectConfig, LogFormat, ShutdownConfig, TelemetryConfig};
pub(crate) use webhooks::{DEFAULT_SCHEDULE, WebhooksConfig};

use serde::Deserialize;

/// Everything an operator can set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: KafkaConfig,
    #[serde(deserialize_with = "kafka::sources")]
    pub sources: Sources,
    pub postgres: PostgresConfig,
    pub http: HttpConfig,
    pub admin: AdminConfig,
    pub encryption: EncryptionConfig,
    pub webhooks: WebhooksConfig,
    pub detect: DetectConfig,
    pub deliver: DeliverConfig,
    pub shutdown: ShutdownConfig,
    pub telemetry: TelemetryConfig,
}

/// The source topics, at least one.
#[derive(Debug, Clone)]
pub struct Sources(pub Vec<Source>);

impl Default for Sources {
    fn default() -> Self {
        Self(vec![Source::default()])
    }
}

/// Collects what is wrong, one line per key.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Notes that `key` holds `value`, which is not `allowed`.
    pub(crate) fn add(&mut self, key: &str, value: impl std::fmt::Display, allowed: &str) {
        self.0.push(format!("{key} = {value}: {allowed}"));
    }

    /// Notes it unless `ok`.
    pub(crate) fn check(&mut self, ok: bool, key: &str, value: impl std::fmt::Display, allowed: &str) {
        if !ok {
            self.add(key, value, allowed);
        }
    }

    /// Notes a line that was written elsewhere.
    fn note(&mut self, line: String) {
        self.0.push(line);
    }

    /// Notes a line unless there is one of its key: whoever is asked second says the same in other words.
    fn note_unless_known(&mut self, line: String) {
        let key = |line: &str| line.split(" = ").next().map(str::to_owned);
        if !self.0.iter().any(|known| key(known) == key(&line)) {
            self.0.push(line);
        }
    }

    fn into_lines(self) -> Vec<String> {
        self.0
    }
}

impl Config {
    /// Every rule that a type cannot hold, all broken ones at once, after those that there are already. In the
    /// sections `unread` a value may be missing, so what compares values of theirs is not judged.
    fn validate(&self, unread: &[String], problems: &mut Problems) {
        let is_read = |section: &str| !unread.iter().any(|one| one == section);
        self.kafka.validate(problems);
        if is_read("sources") {
            kafka::validate_sources(&self.sources.0, problems);
        }
        self.postgres.validate(problems);
        self.http.validate(problems);
        http::validate_together(&self.http, &self.admin, problems);
        self.encryption.validate(problems);
        self.webhooks.validate(problems);
        self.detect.validate(problems);
        self.deliver.validate(problems);
        if is_read("webhooks") && is_read("shutdown") {
            self.shutdown.validate(&self.webhooks, problems);
        }
        self.telemetry.validate(problems);
    }

    /// A short hash of what all replicas must share: differing ones are two fleets by mistake.
    pub(crate) fn shared_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.kafka.topic_prefix));
        hash.update(format!("{:?}", self.kafka.partitions));
        hash.update(format!("{:?}", self.sources));
        hash.update(format!("{:?}", self.detect));
        hash.update(format!("{:?}", self.webhooks));
        hex::encode(&hash.finalize()[..6])
    }
}

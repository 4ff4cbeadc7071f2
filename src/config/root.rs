//! The whole configuration.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::encryption::EncryptionConfig;
use super::http::{self, AdminConfig, HttpConfig};
use super::kafka::{self, KafkaConfig, Sources};
use super::postgres::PostgresConfig;
use super::problems::Problems;
use super::stages::{DeliverConfig, DetectConfig, ShutdownConfig, TelemetryConfig};
use super::webhooks::WebhooksConfig;

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
    /// The file that it was read from.
    #[serde(skip)]
    pub file: ConfigFile,
}

/// The file that a configuration was read from, if there was one.
#[derive(Clone, Default)]
pub struct ConfigFile(pub(super) Option<PathBuf>);

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The place of a configuration is no part of it.
        f.write_str("ConfigFile")
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl Config {
    /// Every rule that a type cannot hold, all broken ones at once, after those that there are
    /// already. In the sections `unread` a value may be missing, so what compares values of theirs
    /// is not judged.
    pub(super) fn validate(&self, unread: &[String], problems: &mut Problems) {
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

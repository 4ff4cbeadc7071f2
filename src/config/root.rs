//! The whole configuration.

use serde::Deserialize;

use super::encryption::EncryptionConfig;
use super::file::ConfigFile;
use super::http::{self, AdminConfig, HttpConfig};
use super::kafka::KafkaConfig;
use super::operator::OperatorConfig;
use super::postgres::PostgresConfig;
use super::problems::Problems;
use super::sites::SitesConfig;
use super::sources::Sources;
use super::stages::{DeliverConfig, DetectConfig, ShutdownConfig};
use super::telemetry::TelemetryConfig;
use super::webhooks::WebhooksConfig;

/// Everything an operator can set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: KafkaConfig,
    pub sources: Sources,
    pub postgres: PostgresConfig,
    pub http: HttpConfig,
    pub admin: AdminConfig,
    pub encryption: EncryptionConfig,
    pub sites: SitesConfig,
    pub webhooks: WebhooksConfig,
    pub operator: OperatorConfig,
    pub detect: DetectConfig,
    pub deliver: DeliverConfig,
    pub shutdown: ShutdownConfig,
    pub telemetry: TelemetryConfig,
    /// The file that it was read from.
    #[serde(skip)]
    pub file: ConfigFile,
}

impl Config {
    /// Checks every rule that no type can hold. A section among `unread` has defaults in the place
    /// of values that could not be read, so values of it are not compared with others.
    pub(super) fn validate(&self, unread: &[String], problems: &mut Problems) {
        let is_read = |section: &str| !unread.iter().any(|one| one == section);
        self.kafka.validate(problems);
        if is_read("sources") {
            self.sources.validate(problems);
            self.sources.validate_against(&self.kafka.topic_prefix, problems);
        }
        self.postgres.validate(problems);
        self.http.validate(problems);
        http::validate_together(&self.http, &self.admin, problems);
        self.encryption.validate(problems);
        self.sites.validate(problems);
        self.webhooks.validate(problems);
        if is_read("webhooks") {
            self.operator.validate(&self.webhooks, problems);
        }
        self.detect.validate(problems);
        self.deliver.validate(problems);
        if is_read("webhooks") && is_read("shutdown") {
            self.shutdown.validate(&self.webhooks, problems);
        }
        self.telemetry.validate(problems);
    }

    /// Hashes the settings that all replicas must share: two values are two fleets by mistake.
    pub(crate) fn shared_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.kafka.topic_prefix));
        hash.update(format!("{:?}", self.kafka.partitions));
        hash.update(format!("{:?}", self.sources));
        hash.update(format!("{:?}", self.detect));
        hash.update(format!("{:?}", self.webhooks));
        hash.update(format!("{:?}", self.sites));
        hex::encode(&hash.finalize()[..6])
    }
}

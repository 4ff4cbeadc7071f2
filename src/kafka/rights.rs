//! Rights that Kafka's authorizer refuses, and the principal that lacks them.

use std::fmt;

use crate::config::KafkaConfig;

/// Operation that Kafka's ACLs allow or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AclOperation {
    Create,
    Describe,
    DescribeConfigs,
    Read,
    Write,
}

impl fmt::Display for AclOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are Kafka's own.
        fmt::Debug::fmt(self, f)
    }
}

/// Topic, and the operations that a client needs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededRights {
    pub(crate) topic: String,
    pub(crate) operations: Vec<AclOperation>,
}

impl NeededRights {
    /// The right to read a topic.
    pub(crate) fn to_read(topic: &str) -> Self {
        Self::one(topic, AclOperation::Read)
    }

    /// The right to write to a topic.
    pub(crate) fn to_write(topic: &str) -> Self {
        Self::one(topic, AclOperation::Write)
    }

    fn one(topic: &str, operation: AclOperation) -> Self {
        Self {
            topic: topic.to_owned(),
            operations: vec![operation],
        }
    }
}

/// Rights on one resource that the cluster does not give to this client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} lacks the {} on the {resource} {name}", rights(.operations))]
pub(crate) struct MissingRight {
    pub(crate) operations: Vec<AclOperation>,
    /// `topic` or `group`.
    pub(crate) resource: &'static str,
    pub(crate) name: String,
    pub(crate) principal: String,
}

impl MissingRight {
    /// The right to read a topic, missing for the clients of this configuration.
    pub(crate) fn to_read(topic: &str, config: &KafkaConfig) -> Self {
        Self {
            operations: vec![AclOperation::Read],
            resource: "topic",
            name: topic.to_owned(),
            principal: principal(config),
        }
    }
}

/// `right Read`, or `rights Read and Write`.
fn rights(operations: &[AclOperation]) -> String {
    let names: Vec<String> = operations.iter().map(ToString::to_string).collect();
    let noun = if names.len() == 1 { "right" } else { "rights" };
    format!("{noun} {}", names.join(" and "))
}

/// All of these rights in one line.
pub(crate) fn in_one_line(missing: &[MissingRight]) -> String {
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The principal as which the brokers know this client, unless they map names.
pub(crate) fn principal(config: &KafkaConfig) -> String {
    let property = |name: &str| config.properties.get(name).map(String::as_str);
    let protocol = property("security.protocol")
        .unwrap_or_default()
        .to_ascii_lowercase();
    match property("sasl.username") {
        Some(user) if protocol.starts_with("sasl") => format!("User:{user}"),
        _ if protocol.starts_with("sasl") => "the principal of the SASL mechanism".to_owned(),
        _ if protocol == "ssl" && property("ssl.certificate.location").is_some() => {
            "the principal of the certificate in ssl.certificate.location".to_owned()
        }
        _ => "User:ANONYMOUS".to_owned(),
    }
}

#[cfg(test)]
mod tests;

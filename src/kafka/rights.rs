//! Rights that Kafka's authorizer refuses, and the principal that lacks them.

use crate::config::KafkaConfig;

/// Right that the cluster does not give to this client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} lacks the right {operation} on the {resource} {name}")]
pub(crate) struct MissingRight {
    /// As Kafka's ACLs name it, such as `Describe`.
    pub(crate) operation: &'static str,
    /// `topic` or `group`.
    pub(crate) resource: &'static str,
    pub(crate) name: String,
    pub(crate) principal: String,
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

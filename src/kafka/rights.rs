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

impl MissingRight {
    /// The right to an operation on a topic.
    pub(crate) fn on_topic(operation: &'static str, topic: &str, config: &KafkaConfig) -> Self {
        Self {
            operation,
            resource: "topic",
            name: topic.to_owned(),
            principal: principal(config),
        }
    }
}

/// The principal as which the brokers know this client, unless they map names.
fn principal(config: &KafkaConfig) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_names_operation_resource_and_principal() {
        let with = |properties: &[(&str, &str)]| {
            let mut config = KafkaConfig::default();
            for (name, value) in properties {
                config.properties.insert((*name).to_owned(), (*value).to_owned());
            }
            MissingRight::on_topic("Describe", "bellwether.deliveries", &config).to_string()
        };
        let right = "lacks the right Describe on the topic bellwether.deliveries";
        assert_eq!(with(&[]), format!("User:ANONYMOUS {right}"));
        let sasl = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.username", "bellwether-api"),
        ];
        assert_eq!(with(&sasl), format!("User:bellwether-api {right}"));
        let ssl = [
            ("security.protocol", "ssl"),
            ("ssl.certificate.location", "/etc/client.pem"),
        ];
        assert!(with(&ssl).starts_with("the principal of the certificate in ssl.certificate.location"));
    }
}

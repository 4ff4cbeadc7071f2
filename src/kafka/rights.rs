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
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_names_operation_resource_and_principal() {
        let with = |properties: &[(&str, &str)]| {
            let mut config = KafkaConfig::default();
            for (name, value) in properties {
                config.properties.insert((*name).to_owned(), (*value).to_owned());
            }
            let right = MissingRight {
                operation: "Describe",
                resource: "topic",
                name: "bellwether.deliveries".to_owned(),
                principal: principal(&config),
            };
            right.to_string()
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

//! A client made and thrown away, for the settings that librdkafka reads only then: certificates,
//! keys and SASL.

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, config::RDKafkaLogLevel};

use super::error_words::in_words;
use super::settings;
use crate::config::KafkaConfig;

/// Keeps librdkafka's log lines from the operator, who gets the refusal instead.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

/// Mechanisms that need no library of the system.
const MECHANISMS: &str = "allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512";

/// Finds the reason for which no client can be made, in a line without a value. Contacts nothing.
pub(crate) fn refusal(config: &KafkaConfig) -> Option<String> {
    let protocol = config.properties.get("security.protocol")?.to_lowercase();
    if protocol == "plaintext" {
        return None;
    }
    let mechanism = (config.properties.get("sasl.mechanism"))
        .or_else(|| config.properties.get("sasl.mechanisms"))
        .map(|mechanism| mechanism.to_uppercase());
    if protocol.starts_with("sasl") {
        match mechanism.as_deref() {
            None => return Some(line("sasl.mechanism", &format!("= (not set): {MECHANISMS}"))),
            Some("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") => {}
            // A token that nobody signs, for trying things out.
            Some("OAUTHBEARER") if is_set(config, "enable.sasl.oauthbearer.unsecure.jwt") => {}
            Some(_) => return Some(hidden("sasl.mechanism", MECHANISMS)),
        }
    }
    // Without a broker's address, a client connects to nothing.
    let mut client = settings::client(config);
    client.remove("bootstrap.servers");
    let made: Result<BaseConsumer<Silent>, _> = client.create_with_context(Silent);
    match made {
        Ok(_) => None,
        Err(KafkaError::ClientCreation(text)) => Some(explain(config, &text)),
        Err(error) => Some(explain(config, &in_words(&error))),
    }
}

fn is_set(config: &KafkaConfig, key: &str) -> bool {
    config.properties.get(key).is_some_and(|value| value == "true")
}

/// Turns librdkafka's text into a line that names the property, without any value and without the
/// codes of OpenSSL.
fn explain(config: &KafkaConfig, text: &str) -> String {
    let mut text = text.to_owned();
    for value in config.properties.values().filter(|value| value.len() > 3) {
        text = text.replace(value, "…");
    }
    // `error:05800088:x509 certificate routines::no certificate or crl found`
    let reason = match text.find("error:") {
        Some(at) => text[at..].splitn(5, ':').nth(4).unwrap_or(&text),
        None => &text,
    };
    let reason = reason.trim().trim_end_matches('.');
    match config
        .properties
        .keys()
        .find(|key| text.contains(key.as_str()) && key.starts_with("ssl."))
    {
        Some(key) => hidden(key, &format!("cannot be used: {reason}")),
        None => format!("kafka.properties: {reason}"),
    }
}

fn hidden(key: &str, why: &str) -> String {
    line(key, &format!("= \"…\": {why}"))
}

fn line(key: &str, rest: &str) -> String {
    format!("kafka.properties.\"{key}\" {rest}")
}

#[cfg(test)]
mod tests;

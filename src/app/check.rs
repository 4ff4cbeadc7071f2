//! Refusals of a start, found without asking a server: by the constructors that a start uses, all
//! at once.

use std::collections::HashSet;
use std::path::Path;

use rdkafka::ClientConfig;

use super::settings::{key_lines, pool_settings};
use crate::config::Config;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::dispatch::schedule::RetrySchedule;
use crate::kafka::client_check;
use crate::kafka::error_words::without_value;
use crate::record::keyring::{InvalidKeyring, Keyring};
use crate::record::pool;

const KEY_ALLOWED: &str =
    "allowed: <id>:<base64 of 32 bytes>, as `bellwether keys generate` prints it, each id once";

const CA_LOCATION: &str = "ssl.ca.location";
/// Settings of librdkafka that name files.
const KAFKA_FILES: &[&str] = &[
    CA_LOCATION,
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
];

/// Finds everything with which `serve` would refuse to start, a line each: the key, its value
/// unless that is secret, and the allowed values. Reads the files that the configuration names.
pub(crate) fn refusals(config: &Config) -> Vec<String> {
    let mut refusals = kafka_refusals(config);
    if let Err(wrong) = pool::connect_options(&pool_settings(config)) {
        refusals.push(wrong.to_string());
    }
    check_keys(config, &mut refusals);
    check_schedules(config, &mut refusals);
    if let Some(path) = &config.webhooks.ca_file {
        check_ca_file(path, &mut refusals);
    }
    refusals
}

/// Finds everything with which no client of Kafka could be made, a line each.
pub(crate) fn kafka_refusals(config: &Config) -> Vec<String> {
    let mut refusals = Vec::new();
    check_kafka(config, &mut refusals);
    check_kafka_files(config, &mut refusals);
    if refusals.is_empty() {
        refusals.extend(client_check::refusal(&config.kafka));
    }
    refusals
}

/// librdkafka knows its settings and what each allows.
fn check_kafka(config: &Config, refusals: &mut Vec<String>) {
    for (key, value) in &config.kafka.properties {
        let refused = ClientConfig::new().set(key, value).create_native_config();
        if let Err(rdkafka::error::KafkaError::ClientConfig(_, why, name, _)) = refused
            && name == *key
        {
            // The value may be a password, and librdkafka repeats it.
            let why = without_value(&why, value);
            let why = match why.starts_with("No such configuration property") {
                true => "librdkafka has no such setting".to_owned(),
                false => why,
            };
            refusals.push(format!("kafka.properties.\"{key}\" = \"…\": {why}"));
        }
    }
}

/// librdkafka opens these only when a client is made, and then says that "system lib" failed.
fn check_kafka_files(config: &Config, refusals: &mut Vec<String>) {
    for key in KAFKA_FILES {
        let Some(path) = config.kafka.properties.get(*key) else {
            continue;
        };
        // Authorities may also be a folder of files, or `probe` for those of the system.
        let is_other = *key == CA_LOCATION && (path == "probe" || Path::new(path).is_dir());
        if !is_other && let Err(error) = std::fs::File::open(path) {
            refusals.push(format!(
                "kafka.properties.\"{key}\" = \"…\": cannot be read: {error}; allowed: a readable file"
            ));
        }
    }
}

fn check_keys(config: &Config, refusals: &mut Vec<String>) {
    let mut ids = HashSet::new();
    let given = key_lines(config);
    if given.is_empty() {
        refusals.push(format!("encryption.keys = []: {}", InvalidKeyring::Empty));
    }
    for given in given {
        let line = match given.line {
            Ok(line) => line,
            Err(unreadable) => {
                refusals.push(format!(
                    "{}: {unreadable}; allowed: a readable text file with such lines",
                    given.place
                ));
                continue;
            }
        };
        // Never the value: a malformed key was meant to be secret too.
        let id = line.split_once(':').map_or("", |(id, _)| id);
        if Keyring::parse(std::slice::from_ref(&line)).is_err() {
            refusals.push(format!("{} = \"…\": {KEY_ALLOWED}", given.place));
        } else if !ids.insert(id.to_owned()) {
            refusals.push(format!(
                "{} = \"{id}:…\": the id is there twice; {KEY_ALLOWED}",
                given.place
            ));
        }
    }
}

fn check_schedules(config: &Config, refusals: &mut Vec<String>) {
    for (name, delays) in &config.webhooks.retry_schedules {
        if let Err(wrong) = RetrySchedule::parse(delays) {
            refusals.push(format!(
                "webhooks.retry_schedules.{name} = {delays:?}: {wrong}; allowed: whole milliseconds, from 1s to 24h"
            ));
        }
    }
}

fn check_ca_file(path: &Path, refusals: &mut Vec<String>) {
    let wrong = match std::fs::read(path) {
        Err(error) => format!("cannot be read: {error}"),
        Ok(pem) => {
            let options = ClientOptions {
                extra_roots_pem: Some(pem),
                ..ClientOptions::default()
            };
            match WebhookClient::new(options) {
                Err(error) => error.to_string(),
                Ok(_) => return,
            }
        }
    };
    refusals.push(format!(
        "webhooks.ca_file = \"{}\": {wrong}; allowed: a readable file of certificates in PEM",
        path.display()
    ));
}

#[cfg(test)]
mod tests;

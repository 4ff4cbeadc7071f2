//! What a start would stumble over, found without asking anybody: the same constructors, all at once.

use std::collections::HashSet;
use std::path::Path;

use super::settings::{key_lines, pool_settings};
use crate::config::Config;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::dispatch::schedule::RetrySchedule;
use crate::kafka::settings;
use crate::record::keyring::Keyring;
use crate::record::pool;

const KEY_ALLOWED: &str =
    "allowed: <id>:<base64 of 32 bytes>, as `bellwether keys generate` prints it, each id once";

/// Everything with which `serve` would refuse to start, a line each: the key, its value unless that is secret, and what is
/// allowed. Reads the files that the configuration names.
pub(crate) fn refusals(config: &Config) -> Vec<String> {
    let mut refusals = Vec::new();
    check_kafka(config, &mut refusals);
    if let Err(wrong) = pool::connect_options(&pool_settings(config)) {
        refusals.push(format!("postgres.url = \"…\": {wrong}"));
    }
    check_keys(config, &mut refusals);
    check_schedules(config, &mut refusals);
    if let Some(path) = &config.webhooks.ca_file {
        check_ca_file(path, &mut refusals);
    }
    refusals
}

/// librdkafka knows its settings and what each allows.
fn check_kafka(config: &Config, refusals: &mut Vec<String>) {
    for (key, value) in &config.kafka.properties {
        let mut alone = config.kafka.clone();
        alone.properties.retain(|other, _| other == key);
        let refused = settings::client(&alone).create_native_config();
        if let Err(rdkafka::error::KafkaError::ClientConfig(_, why, name, _)) = refused
            && name == *key
        {
            // The value may be a password, and librdkafka repeats it.
            let why = if value.is_empty() {
                why
            } else {
                why.replace(value, "…")
            };
            refusals.push(format!("kafka.properties.\"{key}\" = \"…\": {why}"));
        }
    }
}

fn check_keys(config: &Config, refusals: &mut Vec<String>) {
    let mut ids = HashSet::new();
    for given in key_lines(config) {
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
        // Never the value: also of a key that is none, it is what was meant to be one.
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
mod tests {
    use super::*;

    const GOOD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn refused(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        refusals(&config)
    }

    #[test]
    fn the_defaults_and_what_the_example_names_are_taken() {
        assert_eq!(refused(|_| {}), [""; 0]);
        let properties = |config: &mut Config| {
            for (key, value) in [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.password", "hunter2"),
                ("compression.type", "zstd"),
                ("session.timeout.ms", "6000"),
            ] {
                config.kafka.properties.insert(key.into(), value.into());
            }
            config.encryption.keys = vec![format!("a:{GOOD}"), format!("b:{GOOD}")];
        };
        assert_eq!(refused(properties), [""; 0]);
    }

    #[test]
    fn every_refusal_has_its_key_and_what_is_allowed_and_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (keys, no_pem) = (
            file("keys", &format!("# a comment\n\nthird:{GOOD}\nhunter2\n")),
            file("no.pem", "hunter2"),
        );
        let absent = folder.path().join("absent");
        let found = refused(|config| {
            config
                .kafka
                .properties
                .insert("sasl.pasword".into(), "hunter2".into());
            config
                .kafka
                .properties
                .insert("security.protocol".into(), "hunter2".into());
            config.postgres.url = "postgres://user:hunter2@host:port/db".into();
            config.encryption.keys = ["a:hunter2", "a b:hunter2", ":", "hunter2"]
                .map(str::to_owned)
                .to_vec();
            config.encryption.keys.push(format!("first:{GOOD}"));
            config.encryption.keys.push(format!("first:{GOOD}"));
            config.encryption.key_files = vec![keys.clone(), absent.clone()];
            config.webhooks.ca_file = Some(no_pem.clone());
            let delays = vec!["1s500us".to_owned()];
            config.webhooks.retry_schedules.insert("odd".into(), delays);
        });
        let wanted = [
            "kafka.properties.\"sasl.pasword\" = ",
            "kafka.properties.\"security.protocol\" = ",
            "postgres.url = \"…\": postgres.url cannot be read",
            "encryption.keys[0] = \"…\": allowed: <id>:<base64",
            "encryption.keys[1] = \"…\": allowed",
            "encryption.keys[2] = \"…\": allowed",
            "encryption.keys[3] = \"…\": allowed",
            "encryption.keys[5] = \"first:…\": the id is there twice",
            &format!(
                "encryption.key_files[0], line 4 of {} = \"…\": allowed",
                keys.display()
            ),
            &format!(
                "encryption.key_files[1] = \"{}\": cannot be read",
                absent.display()
            ),
            "webhooks.retry_schedules.odd = [\"1s500us\"]: ",
            &format!("webhooks.ca_file = \"{}\": ", no_pem.display()),
        ];
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{found} does not start with {wanted}");
            assert!(!found.contains("hunter2") && !found.contains(GOOD), "{found}");
        }
    }
}

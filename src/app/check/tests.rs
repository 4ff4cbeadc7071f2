use super::*;

const GOOD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn refused(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = Config::default();
    config.encryption.keys = vec![format!("a:{GOOD}")];
    change(&mut config);
    refusals(&config)
}

#[test]
fn the_defaults_and_what_the_example_names_are_taken() {
    assert_eq!(refused(|_| {}), [""; 0]);
    let no_key = refused(|config| config.encryption.keys.clear());
    assert!(
        no_key[0].starts_with("encryption.keys = []: no encryption key"),
        "{no_key:?}"
    );
    let properties = |config: &mut Config| {
        for (key, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "bellwether"),
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
    let absent = folder.path().join("hunter2");
    let found = refused(|config| {
        config
            .kafka
            .properties
            .insert("sasl.pasword".into(), "hunter2".into());
        config
            .kafka
            .properties
            .insert("security.protocol".into(), "hunter2".into());
        config
            .kafka
            .properties
            .insert("ssl.ca.location".into(), "/nowhere/hunter2".into());
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
        "kafka.properties.\"ssl.ca.location\" = \"…\": cannot be read: ",
        "postgres.url = \"…\": cannot be read (the port is no number from 1 to 65535)",
        "encryption.keys[0] = \"…\": allowed: <id>:<base64",
        "encryption.keys[1] = \"…\": allowed",
        "encryption.keys[2] = \"…\": allowed",
        "encryption.keys[3] = \"…\": allowed",
        "encryption.keys[5] = \"first:…\": the id is there twice",
        &format!(
            "encryption.key_files[0], line 4 of {} = \"…\": allowed",
            keys.display()
        ),
        "encryption.key_files[1] = \"…\": cannot be read",
        "webhooks.retry_schedules.odd = [\"1s500us\"]: ",
        &format!("webhooks.ca_file = \"{}\": ", no_pem.display()),
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found} does not start with {wanted}");
        assert!(!found.contains("hunter2") && !found.contains(GOOD), "{found}");
    }
}

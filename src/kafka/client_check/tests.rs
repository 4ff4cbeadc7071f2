use super::*;

fn refused(properties: &[(&str, &str)]) -> Option<String> {
    let properties = properties
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let config = KafkaConfig {
        properties,
        ..KafkaConfig::default()
    };
    let line = refusal(&config);
    assert!(
        !line.as_deref().is_some_and(|line| line.contains("hunter2")),
        "{line:?}"
    );
    line
}

#[test]
fn what_a_client_cannot_be_made_of_is_named_without_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_pem = folder.path().join("ca.pem");
    std::fs::write(&no_pem, "hunter2").expect("written");
    let no_pem = no_pem.to_str().expect("a path");
    let (ssl, sasl) = (
        ("security.protocol", "ssl"),
        ("security.protocol", "SASL_PLAINTEXT"),
    );
    for (properties, wanted) in [
        (
            vec![ssl, ("ssl.ca.location", no_pem)],
            "kafka.properties.\"ssl.ca.location\" = \"…\": cannot be used: no certificate or crl found",
        ),
        (
            vec![ssl, ("ssl.ca.pem", "hunter2")],
            "kafka.properties.\"ssl.ca.pem\" = \"…\": cannot be used: no start line",
        ),
        (
            vec![ssl, ("ssl.key.pem", "hunter2")],
            "kafka.properties.\"ssl.key.pem\" = \"…\": cannot be used: ",
        ),
        (
            vec![sasl],
            "kafka.properties.\"sasl.mechanism\" = (not set): allowed: PLAIN",
        ),
        (
            vec![sasl, ("sasl.mechanism", "hunter2")],
            "kafka.properties.\"sasl.mechanism\" = \"…\": allowed: PLAIN",
        ),
        (
            vec![sasl, ("sasl.mechanism", "OAUTHBEARER")],
            "kafka.properties.\"sasl.mechanism\" = \"…\": allowed: PLAIN",
        ),
        (
            vec![sasl, ("sasl.mechanism", "PLAIN")],
            "kafka.properties: sasl.username and sasl.password must be set",
        ),
    ] {
        let found = refused(&properties).expect(wanted);
        assert!(found.starts_with(wanted), "{found} does not start with {wanted}");
    }
}

#[test]
fn a_client_that_can_be_made_is_no_refusal() {
    assert_eq!(refused(&[]), None);
    assert_eq!(refused(&[("security.protocol", "ssl")]), None);
    let login = [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanisms", "SCRAM-SHA-512"),
        ("sasl.username", "bellwether"),
        ("sasl.password", "hunter2"),
    ];
    assert_eq!(refused(&login), None);
}

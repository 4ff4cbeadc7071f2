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

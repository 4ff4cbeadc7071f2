use super::*;

#[test]
fn a_missing_right_names_operation_resource_and_principal() {
    let with = |properties: &[(&str, &str)]| {
        let mut config = KafkaConfig::default();
        for (name, value) in properties {
            config.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        let right = MissingRight {
            operations: vec![AclOperation::Describe],
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

#[test]
fn rights_on_several_topics_are_named_in_one_line() {
    let right = |operations: &[AclOperation], name: &str| MissingRight {
        operations: operations.to_vec(),
        resource: "topic",
        name: name.to_owned(),
        principal: "User:a".to_owned(),
    };
    let (read, write) = (AclOperation::Read, AclOperation::Write);
    assert_eq!(
        in_one_line(&[right(&[read, write], "x"), right(&[write], "y")]),
        "User:a lacks the rights Read and Write on the topic x; User:a lacks the right Write on the topic y"
    );
}

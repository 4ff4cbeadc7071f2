use super::*;

#[test]
fn no_error_shows_a_constant_or_a_side() {
    for code in -200..=120 {
        let Ok(code) = rdkafka::types::RDKafkaRespErr::try_from(code) else {
            continue;
        };
        let code = RDKafkaErrorCode::from(code);
        for words in [
            code_in_words(code),
            in_words(&KafkaError::MetadataFetch(code)),
            in_words(&KafkaError::ConsumerCommit(code)),
        ] {
            let constant = format!("{code:?}");
            assert!(!words.is_empty(), "{constant}");
            let is_plain = !words.contains("Local:") && !words.contains("Broker:");
            assert!(is_plain && !words.contains(&format!("{constant} (")), "{words}");
        }
    }
}

#[test]
fn a_chain_says_each_cause_once() {
    let error = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition);
    let error = anyhow::Error::from(error).context("looking up offsets of events/3");
    assert_eq!(
        chain_in_words(&error, |_| None),
        "looking up offsets of events/3: there is no such topic or partition"
    );
}

#[test]
fn a_line_loses_the_name_of_its_thread() {
    for (line, words) in [
        (
            "[thrd:main]: Failed to acquire idempotence PID from broker a:1/1: Broker: Coordinator load in progress: retrying",
            "Failed to acquire idempotence PID from broker a:1/1: Coordinator load in progress: retrying",
        ),
        ("[thrd:odd", "[thrd:odd"),
        ("Local: Unknown partition", "Unknown partition"),
    ] {
        assert_eq!(without_jargon(line), words);
    }
}

#[test]
fn a_refused_property_does_not_show_its_value() {
    let mut config = rdkafka::ClientConfig::new();
    config.set("session.timeout.ms", "hunter2");
    let error = config.create_native_config().err().expect("refused");
    let words = in_words(&error);
    assert!(
        words.contains("session.timeout.ms") && !words.contains("hunter2"),
        "{words}"
    );
}

#[test]
fn a_value_is_hidden_and_other_numbers_are_not() {
    for (text, value, shown) in [
        (
            "property \"a\" value 0 is outside allowed range 1..3600000\n",
            "0",
            "property \"a\" value … is outside allowed range 1..3600000",
        ),
        ("Invalid value \"TLS\" for x", "TLS", "Invalid value \"…\" for x"),
        ("xhunter2x, hunter2", "hunter2", "x…x, …"),
        ("no value", "", "no value"),
    ] {
        assert_eq!(without_value(text, value), shown);
    }
}

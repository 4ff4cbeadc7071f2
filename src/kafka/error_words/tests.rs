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
            "a producer has no id yet, for which it asked broker a:1/1: Coordinator load in progress; trying again",
        ),
        ("[thrd:odd", "[thrd:odd"),
        ("Local: Unknown partition", "Unknown partition"),
    ] {
        assert_eq!(without_jargon(line), words);
    }
}

/// Lines as librdkafka 2.12.1 writes them.
#[test]
fn lines_about_librdkafkas_inside_are_in_plain_words() {
    for (line, words) in [
        (
            "[thrd:main]: Consumer group session timed out (in join-state steady) after 6004 ms without a successful response from the group coordinator (broker 1, last error was Broker: Not coordinator): revoking assignment and rejoining group",
            "the group's coordinator has not answered for 6004 ms, its last error was: Not coordinator; this member gives its partitions up and joins the group again",
        ),
        (
            "[thrd:main]: Consumer group session timed out (in join-state wait-join) after 6004 ms without a successful response from the group coordinator (broker 1, last error was Success): revoking assignment and rejoining group",
            "the group's coordinator has not answered for 6004 ms; this member gives its partitions up and joins the group again",
        ),
        (
            "[thrd:main]: Application maximum poll interval (60000ms) exceeded by 12ms (adjust max.poll.interval.ms for long-running message processing): leaving group",
            "a thread was busy for 12ms longer than max.poll.interval.ms (60000ms); it leaves the group and joins it again",
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Timed out 0 in-flight, 0 retry-queued, 1 out-queue, 0 partially-sent requests",
            "127.0.0.1:9092/1: no answer in time to 1 request",
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Timed out 2 in-flight, 0 retry-queued, 1 out-queue, 0 partially-sent requests",
            "127.0.0.1:9092/1: no answer in time to 3 requests",
        ),
        (
            "[thrd:main]: Offset commit (manual) failed for 2/2 partition(s) in join-state steady: Broker: Group authorization failed: a[0]@1(Broker: Group authorization failed)",
            "offsets of 2/2 partitions were not committed: Group authorization failed: a[0]@1(Group authorization failed)",
        ),
        (
            "[thrd:app]: Producer terminating with 3 messages (120 bytes) still in queue or transit: use flush() to wait for outstanding message delivery",
            "a producer ends, and 3 of its records were not acknowledged",
        ),
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

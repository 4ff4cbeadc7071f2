use std::time::Duration;

use super::*;
use crate::telemetry::connection::Server;
use crate::telemetry::metrics::Labels;

const REFUSED: &str = "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
const WRONG_PASSWORD: &str = "[thrd:sasl_ssl://b:2/bootstrap]: sasl_ssl://b:2/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)";

fn client_events() -> ClientEvents {
    ClientEvents::new(Arc::new(Metrics::new(&Labels::default())))
}

fn fail(client_events: &ClientEvents, line: &str) {
    client_events.log(RDKafkaLogLevel::Error, "FAIL", line);
}

#[test]
fn a_failed_connection_is_remembered_until_a_broker_answers() {
    let client_events = client_events();
    assert_eq!(client_events.failure(), None);
    fail(&client_events, REFUSED);
    fail(&client_events, REFUSED);
    let failure = client_events.failure().expect("a failure");
    assert_eq!((failure.host.as_str(), failure.port), ("a", 1));
    assert_eq!(failure.cause, ConnectionCause::Refused);
    assert_eq!(client_events.failed_brokers(), 1);
    client_events.answered();
    assert_eq!(client_events.failure(), None);
}

#[test]
fn a_failure_that_no_other_try_mends_is_reported_first() {
    let client_events = client_events();
    fail(&client_events, REFUSED);
    fail(&client_events, WRONG_PASSWORD);
    assert_eq!(client_events.failed_brokers(), 2);
    assert_eq!(client_events.failure().expect("a failure").port, 2);
}

#[test]
fn failures_of_a_client_apart_are_its_own() {
    let client_events = client_events();
    let apart = client_events.apart();
    fail(&apart, REFUSED);
    assert!(apart.failure().is_some() && client_events.failure().is_none());
    // Fatal errors and metrics are still those of the process.
    apart.note(Some(RDKafkaErrorCode::Fatal));
    assert!(client_events.has_fatal());
}

#[test]
fn one_line_a_second_is_written_for_a_cause() {
    let client_events = client_events();
    let cause = |port| {
        LogCause::Connection(ConnectionError {
            server: Server::Kafka,
            host: "a".to_owned(),
            port,
            cause: ConnectionCause::Refused,
        })
    };
    let now = clock::monotonic();
    let written = (0..100).filter(|_| client_events.admit_cause(cause(1), now).is_some());
    assert_eq!(written.count(), 1);
    assert_eq!(client_events.admit_cause(cause(2), now), Some(0));
    let later = now + Duration::from_secs(1);
    assert_eq!(client_events.admit_cause(cause(1), later), Some(99));
}

#[test]
fn errors_of_connections_are_left_to_their_log_lines() {
    let client_events = client_events();
    for code in [
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::Authentication,
    ] {
        assert_eq!(client_events.admit(Some(code)), None, "{code}");
    }
    let right = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    assert_eq!(client_events.admit(right), Some(0));
}

#[test]
fn a_producer_that_waits_for_its_id_is_news_only_if_it_lasts() {
    let client_events = client_events();
    let start = clock::monotonic();
    let late = |seconds| client_events.producer_id_is_late(start + Duration::from_secs(seconds));
    assert!(!(0..15).any(late));
    assert!(late(15) && late(16));
    // After a pause it is another wait.
    assert!(!late(40));
}

/// As a plain broker that is killed has it logged (issue 10, number 8).
#[test]
fn a_broker_that_had_answered_speaks_the_right_protocol() {
    let closed = "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected: connection reset by peer (after 4ms in state APIVERSION_QUERY)";
    let client_events = client_events();
    fail(&client_events, closed);
    let cause = |client_events: &ClientEvents| client_events.failure().map(|failure| failure.cause);
    assert_eq!(cause(&client_events), Some(ConnectionCause::TlsExpected));
    // The client that asked for topics, and all others of the process.
    client_events.apart().answered();
    fail(&client_events, closed);
    assert_eq!(cause(&client_events), Some(ConnectionCause::Closed));
}

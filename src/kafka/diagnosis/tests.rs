use super::*;

/// Says what is understood of a broker's line: host, port and cause.
fn understood(line: &str) -> (String, u16, ConnectionCause) {
    let error = diagnose(line).unwrap_or_else(|| panic!("not understood: {line}"));
    assert_eq!(error.server, Server::Kafka);
    (error.host, error.port, error.cause)
}

/// Lines as librdkafka 2.12.1 logs them, each tried against a real listener.
#[test]
fn every_line_of_a_failed_connection_has_its_cause() {
    use ConnectionCause as Cause;
    let certificate = "the broker's certificate could not be verified: it is of another authority than those of \
                       ssl.ca.location, or for another host than 127.0.0.1";
    for (line, host, port, cause) in [
        (
            "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "127.0.0.1",
            1,
            Cause::Refused,
        ),
        (
            "[thrd:[::1]:1/bootstrap]: [::1]:1/bootstrap: Connect to ipv6#[::1]:1 failed: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)",
            "[::1]",
            1,
            Cause::Refused,
        ),
        (
            "[thrd:GroupCoordinator]: GroupCoordinator: 127.0.0.1:9092: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
            "127.0.0.1",
            9092,
            Cause::Refused,
        ),
        (
            "[thrd:10.0.0.1:9092/bootstrap]: 10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: No route to host (after 12ms in state CONNECT)",
            "10.0.0.1",
            9092,
            Cause::Unreachable("No route to host".to_owned()),
        ),
        (
            "[thrd:kafka.invalid:9092/bootstrap]: kafka.invalid:9092/bootstrap: Failed to resolve 'kafka.invalid:9092': Name or service not known (after 1ms in state CONNECT)",
            "kafka.invalid",
            9092,
            Cause::UnknownHost,
        ),
        (
            "[thrd:127.0.0.1:18222/bootstrap]: 127.0.0.1:18222/bootstrap: Connection setup timed out in state APIVERSION_QUERY (after 3002ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            18222,
            Cause::NoAnswer,
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: 1 request(s) timed out: disconnect (average rtt 2.113ms) (after 10012ms in state UP)",
            "127.0.0.1",
            9092,
            Cause::NoAnswer,
        ),
        (
            "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/1: Timed out 1 in-flight, 0 retry-queued, 0 out-queue, 0 partially-sent requests",
            "127.0.0.1",
            9092,
            Cause::NoAnswer,
        ),
        (
            "[thrd:GroupCoordinator]: GroupCoordinator: kafka-1:9092: Timed out HeartbeatRequest in flight (after 6003ms, timeout #0)",
            "kafka-1",
            9092,
            Cause::NoAnswer,
        ),
        (
            "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see api.version.request configuration) (after 10010ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            9092,
            Cause::NoAnswer,
        ),
        (
            "[thrd:127.0.0.1:25610/bootstrap]: 127.0.0.1:25610/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            25610,
            Cause::TlsExpected,
        ),
        (
            "[thrd:sasl_plaintext://127.0.0.1:25610/bootstrap]: sasl_plaintext://127.0.0.1:25610/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            25610,
            Cause::TlsExpected,
        ),
        (
            "[thrd:ssl://127.0.0.1:24756/bootstrap]: ssl://127.0.0.1:24756/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 4ms in state SSL_HANDSHAKE)",
            "127.0.0.1",
            24756,
            Cause::TlsUnsupported,
        ),
        (
            "[thrd:ssl://127.0.0.1:24756/bootstrap]: ssl://127.0.0.1:24756/bootstrap: Disconnected: SSL connection closed by peer (after 1ms in state SSL_HANDSHAKE)",
            "127.0.0.1",
            24756,
            Cause::TlsUnsupported,
        ),
        (
            "[thrd:sasl_ssl://127.0.0.1:25610/bootstrap]: sasl_ssl://127.0.0.1:25610/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (install ca-certificates package) (after 4ms in state SSL_HANDSHAKE)",
            "127.0.0.1",
            25610,
            Cause::Tls(certificate.to_owned()),
        ),
        (
            "[thrd:sasl_ssl://127.0.0.1:25610/bootstrap]: sasl_ssl://127.0.0.1:25610/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 6ms in state SSL_HANDSHAKE)",
            "127.0.0.1",
            25610,
            Cause::Tls(certificate.to_owned()),
        ),
        (
            "[thrd:sasl_ssl://127.0.0.1:25610/bootstrap]: sasl_ssl://127.0.0.1:25610/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)",
            "127.0.0.1",
            25610,
            Cause::Authentication("Invalid username or password".to_owned()),
        ),
        (
            "[thrd:sasl_ssl://127.0.0.1:25610/bootstrap]: sasl_ssl://127.0.0.1:25610/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 301ms in state AUTH_HANDSHAKE)",
            "127.0.0.1",
            25610,
            Cause::Authentication(
                "the broker does not support the configured SASL mechanism, it supports PLAIN".to_owned(),
            ),
        ),
        (
            "[thrd:sasl_plaintext://127.0.0.1:24756/bootstrap]: sasl_plaintext://127.0.0.1:24756/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)",
            "127.0.0.1",
            24756,
            Cause::SaslUnsupported,
        ),
        (
            "[thrd:ssl://127.0.0.1:25610/bootstrap]: ssl://127.0.0.1:25610/bootstrap: Disconnected: SSL connection closed by peer (after 0ms in state UP)",
            "127.0.0.1",
            25610,
            Cause::SaslExpected,
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 61234ms in state UP)",
            "127.0.0.1",
            9092,
            Cause::Closed,
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Disconnected: connection reset by peer (after 2ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            9092,
            Cause::Closed,
        ),
        (
            "[thrd:127.0.0.1:25442/bootstrap]: 127.0.0.1:25442/bootstrap: Receive failed: Invalid response size 1157627904 (0..100000000): increase receive.message.max.bytes (after 1ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            25442,
            Cause::WrongProtocol,
        ),
        (
            "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see api.version.request configuration) (after 10012ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            9092,
            Cause::NoAnswer,
        ),
        (
            "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap: ApiVersionRequest failed: Local: Broker transport failure: probably due to broker version < 0.10 (see api.version.request configuration) (after 2ms in state APIVERSION_QUERY)",
            "127.0.0.1",
            9092,
            Cause::Closed,
        ),
    ] {
        assert_eq!(understood(line), (host.to_owned(), port, cause), "{line}");
    }
}

#[test]
fn lines_about_other_things_have_no_cause() {
    for line in [
        "",
        "1/1 brokers are down",
        "[thrd:main]: Topic x [0]: offset reset",
        "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Fetch backoff (after 3ms in state UP)",
        "[thrd:app]: a name without an address: text (after 3ms in state UP)",
    ] {
        assert_eq!(diagnose(line), None, "{line}");
    }
}

#[test]
fn a_cause_says_which_settings_to_look_at() {
    let shown = |line: &str| diagnose(line).expect("understood").to_string();
    assert_eq!(
        shown(
            "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected: connection reset by peer (after 4ms in state APIVERSION_QUERY)"
        ),
        "Kafka at a:1: the first request in plain text closed the connection, as with a TLS listener; check \
         kafka.properties.\"security.protocol\""
    );
    assert_eq!(
        shown(
            "[thrd:sasl_ssl://a:1/bootstrap]: sasl_ssl://a:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)"
        ),
        "Kafka at a:1: authentication failed, Invalid username or password; check the kafka.properties that begin \
         with \"sasl.\""
    );
}

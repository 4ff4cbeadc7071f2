use super::*;

#[test]
fn every_error_of_a_connection_has_its_cause() {
    use ConnectionCause as Cause;
    let io = |kind, text: &'static str| sqlx::Error::Io(io::Error::new(kind, text));
    let unknown = "failed to lookup address information: Name or service not known";
    for (error, cause) in [
        (sqlx::Error::Io(io::Error::from_raw_os_error(111)), Cause::Refused),
        (io(io::ErrorKind::Other, unknown), Cause::UnknownHost),
        (
            sqlx::Error::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::from(rustls::CertificateError::UnknownIssuer),
            )),
            Cause::Tls("the server's certificate could not be verified".to_owned()),
        ),
        (
            io(io::ErrorKind::InvalidData, "peer is incompatible"),
            Cause::Tls("peer is incompatible".to_owned()),
        ),
        (
            sqlx::Error::Tls("server does not support TLS".into()),
            Cause::TlsUnsupported,
        ),
        (
            io(io::ErrorKind::UnexpectedEof, "expected to read 5 bytes"),
            Cause::Closed,
        ),
        (
            sqlx::Error::Io(io::Error::from_raw_os_error(113)),
            Cause::Unreachable("No route to host (os error 113)".to_owned()),
        ),
        (
            sqlx::Error::Protocol("unknown message type: '\\u{0}'".to_owned()),
            Cause::WrongProtocol,
        ),
    ] {
        assert_eq!(cause_of(&error), cause, "{error}");
    }
}

#[test]
fn a_failure_names_host_and_port_and_no_credential() {
    let options: PgConnectOptions = "postgres://user:hunter2@db.example:6543/shop"
        .parse()
        .expect("a URL");
    let text = failure(&options, ConnectionCause::Refused).to_string();
    assert_eq!(
        text,
        "Postgres at db.example:6543: connection refused, nothing listens there"
    );
}

#[test]
fn a_socket_is_named_by_its_path() {
    let options = PgConnectOptions::new_without_pgpass()
        .socket("/nosuch")
        .port(6543);
    let socket = "Postgres at socket /nosuch/.s.PGSQL.6543";
    assert_eq!(server_name(&options), socket);
    let text = failure(&options, ConnectionCause::NoAnswer).to_string();
    assert_eq!(text, format!("{socket}: no answer"));
}

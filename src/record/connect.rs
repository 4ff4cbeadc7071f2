//! Connecting to Postgres, with the cause when it fails.

use std::io;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::telemetry::connection::{ConnectionCause, ConnectionError, Server};

/// Longest time that a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects. A pool would try until its time is over, and then not say why it has no connection.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, ConnectionError> {
    connect_within(options, CONNECT_TIMEOUT).await
}

/// Connects within a time.
pub(crate) async fn connect_within(
    options: &PgConnectOptions,
    time: Duration,
) -> Result<PgConnection, ConnectionError> {
    match tokio::time::timeout(time, PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|error| failure(options, cause_of(&error))),
        Err(_) => Err(failure(options, ConnectionCause::NoAnswer)),
    }
}

/// Asks a connection for a sign of life within a time.
pub(crate) async fn ping_within(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    time: Duration,
) -> Result<(), ConnectionError> {
    match tokio::time::timeout(time, connection.ping()).await {
        Ok(answered) => answered.map_err(|error| failure(options, cause_of(&error))),
        Err(_) => Err(failure(options, ConnectionCause::NoAnswer)),
    }
}

fn failure(options: &PgConnectOptions, cause: ConnectionCause) -> ConnectionError {
    let socket = options.get_socket().map(|path| path.display().to_string());
    ConnectionError {
        server: Server::Postgres,
        host: socket.unwrap_or_else(|| options.get_host().to_owned()),
        port: options.get_port(),
        cause,
    }
}

/// The cause of an error while connecting. Codes are those of PostgreSQL's appendix A.
fn cause_of(error: &sqlx::Error) -> ConnectionCause {
    use ConnectionCause as Cause;
    match error {
        sqlx::Error::Io(error) => cause_of_io(error),
        sqlx::Error::Tls(error) => {
            let text = error.to_string();
            if text.contains("server does not support") {
                Cause::TlsUnsupported
            } else {
                Cause::Tls(text)
            }
        }
        sqlx::Error::Database(error) => {
            // Without the place in PostgreSQL's own sources, which says nothing to an operator.
            let text = error.message().to_owned();
            match error.code().as_deref() {
                Some("28P01") => Cause::Authentication("the user or the password is wrong".to_owned()),
                Some("28000" | "42501") => Cause::Authentication(text),
                Some("3D000") => Cause::NoDatabase(text),
                _ => Cause::Other(text),
            }
        }
        sqlx::Error::Protocol(_) => Cause::WrongProtocol,
        other => Cause::Other(other.to_string()),
    }
}

fn cause_of_io(error: &io::Error) -> ConnectionCause {
    use ConnectionCause as Cause;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::TimedOut => Cause::NoAnswer,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Cause::Closed,
        // rustls' errors come in this guise.
        io::ErrorKind::InvalidData => Cause::Tls(error.to_string()),
        // The resolver's errors have no kind of their own; the text is the standard library's.
        _ if error
            .to_string()
            .starts_with("failed to lookup address information") =>
        {
            Cause::UnknownHost
        }
        _ => Cause::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
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
                io(
                    io::ErrorKind::InvalidData,
                    "invalid peer certificate: UnknownIssuer",
                ),
                Cause::Tls("invalid peer certificate: UnknownIssuer".to_owned()),
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
}

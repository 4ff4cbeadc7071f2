//! Connecting to Postgres, with the cause when it fails.

use std::io;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::telemetry::connection::{ConnectionCause, ConnectionError, Server, address};

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

/// Pings a connection within a time.
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

/// Name of the server in texts, with its host or socket and its port.
pub(crate) fn server_name(options: &PgConnectOptions) -> String {
    format!("Postgres at {}", address(&host(options), options.get_port()))
}

fn host(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().map(|path| path.display().to_string());
    socket.unwrap_or_else(|| options.get_host().to_owned())
}

fn failure(options: &PgConnectOptions, cause: ConnectionCause) -> ConnectionError {
    ConnectionError {
        server: Server::Postgres,
        host: host(options),
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
        // The kind of rustls' errors.
        io::ErrorKind::InvalidData => tls_cause(error),
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

fn tls_cause(error: &io::Error) -> ConnectionCause {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(tls) => ConnectionCause::of_tls(tls),
        None => ConnectionCause::Tls(error.to_string()),
    }
}

#[cfg(test)]
mod tests;

//! Connections to Kafka and Postgres that cannot be used, as an operator reads of them.

use std::error::Error;
use std::fmt;
use std::io;

/// Servers that the service connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Server {
    Kafka,
    Postgres,
}

/// Failure to connect to a server. Its text holds no credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{server} at {}: {cause}{}", address(.host, *.port), self.hint())]
pub(crate) struct ConnectionError {
    pub(crate) server: Server,
    /// Name or address; of Postgres also the folder of its socket.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) cause: ConnectionCause,
}

/// Causes for which a server cannot be used. A text in one is the server's or the system's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum ConnectionCause {
    #[error("connection refused, nothing listens there")]
    Refused,
    #[error("the host name is unknown")]
    UnknownHost,
    #[error("not reachable ({0})")]
    Unreachable(String),
    #[error("no answer")]
    NoAnswer,
    #[error("the connection was closed")]
    Closed,
    #[error("the first request in plain text closed the connection, as with a TLS listener")]
    TlsExpected,
    #[error("the server does not speak TLS")]
    TlsUnsupported,
    #[error("TLS failed, {0}")]
    Tls(String),
    #[error("the first request without authentication closed the connection, as with a SASL listener")]
    SaslExpected,
    #[error("the listener takes no SASL authentication")]
    SaslUnsupported,
    #[error("authentication failed, {0}")]
    Authentication(String),
    #[error("{0}")]
    NoDatabase(String),
    #[error("the server speaks another protocol")]
    WrongProtocol,
    #[error("{0}")]
    Other(String),
}

impl ConnectionCause {
    /// True if it only says which protocol would explain that a connection was closed.
    pub(crate) fn is_guess_about_protocol(&self) -> bool {
        matches!(
            self,
            Self::TlsExpected | Self::TlsUnsupported | Self::SaslExpected
        )
    }

    /// The cause of a failed handshake. The library gives this one in debug form.
    pub(crate) fn of_tls(error: &rustls::Error) -> Self {
        Self::Tls(match error {
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
                "the server's certificate could not be verified".to_owned()
            }
            other => other.to_string(),
        })
    }
}

/// Finds an error of rustls: they travel inside `io::Error`s, whose `source` skips them.
pub(crate) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner: &'a (dyn Error + Send + Sync + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

impl ConnectionError {
    /// True if another try must fail in the same way: credentials or certificates have to change.
    pub(crate) fn is_final(&self) -> bool {
        use ConnectionCause as Cause;
        match self.cause {
            Cause::Tls(_)
            | Cause::SaslUnsupported
            | Cause::Authentication(_)
            | Cause::NoDatabase(_)
            | Cause::WrongProtocol => true,
            // Each of these is also seen while a server starts, or behind a load balancer without
            // servers.
            Cause::Refused
            | Cause::UnknownHost
            | Cause::Unreachable(_)
            | Cause::NoAnswer
            | Cause::Closed
            | Cause::TlsExpected
            | Cause::TlsUnsupported
            | Cause::SaslExpected
            | Cause::Other(_) => false,
        }
    }

    /// The settings to look at.
    fn hint(&self) -> &'static str {
        use ConnectionCause as Cause;
        match (self.server, &self.cause) {
            (
                Server::Kafka,
                Cause::TlsExpected | Cause::TlsUnsupported | Cause::SaslExpected | Cause::SaslUnsupported,
            ) => "; check kafka.properties.\"security.protocol\"",
            (Server::Kafka, Cause::Tls(_)) => {
                "; check kafka.properties.\"ssl.ca.location\" and kafka.brokers"
            }
            (Server::Kafka, Cause::Authentication(_)) => {
                "; check the kafka.properties that begin with \"sasl.\""
            }
            (Server::Postgres, Cause::TlsUnsupported | Cause::Tls(_)) => {
                "; check sslmode and sslrootcert in postgres.url"
            }
            (_, Cause::WrongProtocol) => "; check the port",
            _ => "",
        }
    }
}

/// A server's address in texts: host and port, or the socket in a folder.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.starts_with('/') {
        format!("socket {host}/.s.PGSQL.{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Postgres => "Postgres",
        })
    }
}

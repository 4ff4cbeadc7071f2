//! The cause of a failed connection, read from the line that librdkafka logs about it.
//!
//! librdkafka gives no other account of it: its error codes say "transport failure" to all of them.

use crate::telemetry::connection::{ConnectionCause, ConnectionError, Server};

/// Longest text that is taken over from a line.
const MAX_TEXT: usize = 200;
/// Age in milliseconds up to which a connection counts as new: a listener that expects SASL closes
/// it at the first request.
const NEW_MS: u64 = 2_000;

/// A line of the form `NAME: TEXT (after 12ms in state STATE)`, taken apart.
struct Line<'a> {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    protocol: &'a str,
    host: &'a str,
    port: u16,
    text: &'a str,
    state: &'a str,
    /// Time in that state.
    age_ms: u64,
    /// True if the configuration names the broker; the others were learned from one that answered,
    /// so that the way to speak to them is known to be right.
    is_bootstrap: bool,
}

/// Says which broker could not be used and why; `None` if the line tells of something else.
pub(crate) fn diagnose(line: &str) -> Option<ConnectionError> {
    let line = without_thread(line);
    let (host, port, cause) = match unanswered(line) {
        Some((host, port)) => (host, port, ConnectionCause::NoAnswer),
        None => {
            let line = Line::parse(line)?;
            (line.host, line.port, line.cause()?)
        }
    };
    Some(ConnectionError {
        server: Server::Kafka,
        host: host.to_owned(),
        port,
        cause,
    })
}

/// A line without the name of its thread, `[thrd:main]: `.
pub(super) fn without_thread(line: &str) -> &str {
    match line.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(line, |(_, line)| line),
        None => line,
    }
}

/// The broker of a line `NAME: Timed out 1 in-flight, … requests`, or `NAME: Timed out
/// FetchRequest in flight (after 5003ms, timeout #0)`: these have no state of the connection.
fn unanswered(line: &str) -> Option<(&str, u16)> {
    let (name, _) = line.split_once(": Timed out ")?;
    let name = name.rsplit(": ").next()?;
    let (_, host, port) = address(name)?;
    Some((host, port))
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (text, tail) = line.rsplit_once(" (after ")?;
        let (age, state) = tail.split_once("ms in state ")?;
        let state = state.split([',', ')']).next()?;
        let (name, text) = text.split_once(": ")?;
        // A coordinator's name is no address; the address stands before the text then.
        let (name, text) = match address(name) {
            Some(_) => (name, text),
            None => text.split_once(": ")?,
        };
        let (protocol, host, port) = address(name)?;
        Some(Self {
            protocol,
            host,
            port,
            text,
            state,
            age_ms: age.parse().ok()?,
            is_bootstrap: name.ends_with("/bootstrap"),
        })
    }

    fn cause(&self) -> Option<ConnectionCause> {
        use ConnectionCause as Cause;
        let text = self.text;
        if let Some(rest) = text.strip_prefix("Connect to ") {
            let (_, why) = rest.split_once(" failed: ")?;
            return Some(match why {
                "Connection refused" => Cause::Refused,
                "Connection timed out" => Cause::NoAnswer,
                other => Cause::Unreachable(cut(other)),
            });
        }
        if text.starts_with("ApiVersionRequest failed: ") {
            return Some(match text.contains("imed out") {
                true => Cause::NoAnswer,
                false => Cause::Closed,
            });
        }
        if text.starts_with("Failed to resolve ") {
            return Some(Cause::UnknownHost);
        }
        if text.starts_with("Connection setup timed out") || text.contains("request(s) timed out") {
            return Some(Cause::NoAnswer);
        }
        if let Some(why) = text.strip_prefix("SASL authentication error: ") {
            let why = why.strip_prefix("Authentication failed: ").unwrap_or(why);
            return Some(Cause::Authentication(cut(why)));
        }
        if text.contains(" mechanism handshake failed: ") {
            return Some(self.mechanism());
        }
        if text.starts_with("Receive failed: Invalid response size") {
            return Some(Cause::WrongProtocol);
        }
        if self.state == "SSL_HANDSHAKE" {
            return Some(self.tls());
        }
        text.starts_with("Disconnected").then(|| self.closed())
    }

    /// The cause for which a broker did not take the mechanism of `sasl.mechanism`.
    fn mechanism(&self) -> ConnectionCause {
        if self.text.contains("not valid in current SASL state") {
            return ConnectionCause::SaslUnsupported;
        }
        let supported = self
            .text
            .split("supported mechanisms: ")
            .nth(1)
            .unwrap_or_default();
        ConnectionCause::Authentication(format!(
            "the broker does not support the configured SASL mechanism, it supports {}",
            cut(supported)
        ))
    }

    fn tls(&self) -> ConnectionCause {
        let text = self
            .text
            .strip_prefix("SSL handshake failed: ")
            .unwrap_or(self.text);
        if text.starts_with("Disconnected") && !self.is_bootstrap {
            ConnectionCause::Closed
        } else if text.starts_with("Disconnected") || text.contains("wrong version number") {
            ConnectionCause::TlsUnsupported
        } else if text.contains("certificate verify failed") {
            // OpenSSL knows which of the two it is, and its line does not say it.
            ConnectionCause::Tls(format!(
                "the broker's certificate could not be verified: it is of another authority than those of \
                 ssl.ca.location, or for another host than {}",
                self.host
            ))
        } else {
            ConnectionCause::Tls(cut(text))
        }
    }

    fn closed(&self) -> ConnectionCause {
        let is_plain = !self.protocol.ends_with("ssl");
        let is_sasl = self.protocol.starts_with("sasl");
        match self.state {
            _ if !self.is_bootstrap => ConnectionCause::Closed,
            "APIVERSION_QUERY" if is_plain => ConnectionCause::TlsExpected,
            "UP" if !is_sasl && self.age_ms < NEW_MS => ConnectionCause::SaslExpected,
            _ => ConnectionCause::Closed,
        }
    }
}

/// Protocol, host and port of a broker's name, such as `sasl_ssl://kafka-1:9093/bootstrap`.
fn address(name: &str) -> Option<(&str, &str, u16)> {
    let (protocol, rest) = name.split_once("://").unwrap_or(("plaintext", name));
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    Some((protocol, host, port.parse().ok()?))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests;

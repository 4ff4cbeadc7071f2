//! Turns an error of the HTTP client into a result and a short text that shows neither URL nor
//! secret.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::phases::PhaseInstants;
use super::resolver::ResolveError;
use crate::domain::address::Refusal;
use crate::domain::attempt::AttemptResult;

/// A failure without a usable response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) result: AttemptResult,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(result: AttemptResult, text: impl Into<String>) -> Self {
        Self {
            result,
            text: text.into(),
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::new(
            AttemptResult::AddressRefused,
            format!("the endpoint's address may not be called ({refusal})"),
        )
    }
}

/// Classifies an error of sending a request or of reading its response (`head`: after the
/// response's head).
///
/// Our own faults are: no file handles or memory left, a local firewall, no network at all. "No
/// network" is believed only when every address was IPv4: many hosts have no IPv6, a name with both
/// kinds of addresses reports the error of the one tried last, and publishing an AAAA record must
/// not look like an outage of ours. A name that cannot be resolved is the endpoint's fault: the
/// system does not distinguish a broken resolver of ours from broken name servers of theirs, and
/// many failures at once are noticed elsewhere.
pub(crate) fn classify(error: &reqwest::Error, instants: &PhaseInstants, head: bool) -> Failure {
    use AttemptResult::{Body, Connect, Dns, Internal, Reset, Timeout, Tls};

    if error.is_builder() {
        return Failure::new(Internal, "the request could not be built");
    }
    let io = chain(error).find_map(|one| one.downcast_ref::<io::Error>());
    let resolving = chain(error).find_map(|one| one.downcast_ref::<ResolveError>());
    let io = match resolving {
        Some(ResolveError::Lookup(cause)) => Some(cause),
        _ => io,
    };
    if let Some(text) = io.and_then(|cause| own_fault(cause, instants)) {
        return Failure::new(Internal, text);
    }
    if let Some(resolving) = resolving {
        return match resolving {
            ResolveError::Refused(refusal) => Failure::refused(*refusal),
            ResolveError::NoAddress => Failure::new(Dns, "the host name has no address"),
            ResolveError::Lookup(cause) => Failure::new(Dns, lookup_text(cause)),
        };
    }
    if let Some(cause) = chain(error).find_map(tls_error) {
        return Failure::new(Tls, tls_text(cause));
    }
    if error.is_timeout() {
        return Failure::new(Timeout, timeout_text(instants, head));
    }
    if instants.in_tls() {
        return Failure::new(Tls, "the connection ended during the TLS handshake");
    }
    if error.is_connect() {
        return Failure::new(Connect, connect_text(io));
    }
    if head {
        return Failure::new(Body, "the response's body broke off");
    }
    Failure::new(Reset, reset_text(io))
}

/// Lists an error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |one| (*one).source())
}

/// Words an exchange that took too long.
pub(crate) fn timeout_text(instants: &PhaseInstants, head: bool) -> &'static str {
    if head {
        "the response's body did not end in time"
    } else if instants.in_tls() {
        "the TLS handshake did not end in time"
    } else if instants.is_resolving() {
        "the host name was not resolved in time"
    } else if instants.is_connecting() {
        "there was no connection in time"
    } else {
        "there was no response in time"
    }
}

/// Words an error of our own machine; `None` when it is none.
fn own_fault(error: &io::Error, instants: &PhaseInstants) -> Option<&'static str> {
    /// "Too many open files", of the process and of the system: alike on Linux, macOS and the BSDs.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let no_network = instants.only_v4 == Some(true);
    match (error.raw_os_error(), error.kind()) {
        (Some(EMFILE | ENFILE), _) => Some("we have no file handle left"),
        (_, io::ErrorKind::OutOfMemory) => Some("we have no memory left"),
        (Some(_), io::ErrorKind::PermissionDenied) => Some("our system forbids the connection"),
        (_, io::ErrorKind::NetworkDown) => Some("our network is down"),
        (_, io::ErrorKind::NetworkUnreachable) if no_network => Some("our network has no route"),
        (_, io::ErrorKind::AddrNotAvailable) if no_network => Some("we have no local port left"),
        _ => None,
    }
}

/// Finds an error of rustls: they travel inside `io::Error`s, whose `source` skips them.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner: &'a (dyn Error + Send + Sync + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

/// Words an error of TLS by hand: the text of rustls holds names from the certificate, which an
/// endpoint in an allowed private network must not reveal.
fn tls_text(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(why) => {
            format!("the certificate is not accepted: {}", certificate_text(why))
        }
        E::AlertReceived(alert) => format!("the endpoint refused the TLS handshake: {alert:?}"),
        E::InvalidMessage(_) => "the endpoint does not speak TLS on this port".to_owned(),
        E::PeerIncompatible(_) => "the endpoint offers no TLS version or cipher of ours".to_owned(),
        _ => "the TLS handshake failed".to_owned(),
    }
}

fn certificate_text(why: &CertificateError) -> &'static str {
    use CertificateError as C;
    match why {
        C::Expired | C::ExpiredContext { .. } => "it has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "it is not valid yet",
        C::NotValidForName | C::NotValidForNameContext { .. } => "it is for another name",
        C::UnknownIssuer => "its issuer is unknown",
        C::Revoked => "it is revoked",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "it is not for servers",
        _ => "it is not valid",
    }
}

/// Words a failed look-up as the system does, without the standard library's preamble.
fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.rsplit(": ").next().unwrap_or_default();
    let words: String = words.chars().filter(|one| !one.is_control()).take(80).collect();
    format!("the host name could not be resolved: {words}")
}

fn connect_text(error: Option<&io::Error>) -> &'static str {
    match error.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused",
        Some(io::ErrorKind::HostUnreachable) => "the host is unreachable",
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable) => {
            "the network is unreachable"
        }
        Some(io::ErrorKind::ConnectionReset) => "the connection was reset",
        _ => "the connection failed",
    }
}

fn reset_text(error: Option<&io::Error>) -> &'static str {
    match error.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "the connection was reset before a response"
        }
        _ => "the connection ended, or said what is not HTTP, before a full response",
    }
}

#[cfg(test)]
mod tests;

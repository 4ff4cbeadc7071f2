//! What an error of the HTTP client means: a result, and a short text that shows neither URL nor secret.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::phases::Marks;
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

/// Classifies an error of sending a request or of reading its response (`head`: after the response's head).
///
/// Ours are: no file handles or memory left, a local firewall, no network at all. "No network" is believed only when every
/// address was IPv4: many hosts have no IPv6, a name with both kinds of addresses reports the error of the one tried last, and
/// nobody may call us out of bed by publishing an AAAA record. Names that cannot be resolved are the endpoint's: the system
/// does not tell a broken resolver of ours from broken name servers of theirs, and many at once are noticed elsewhere.
pub(crate) fn classify(error: &reqwest::Error, marks: &Marks, head: bool) -> Failure {
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
    if let Some(text) = io.and_then(|cause| own_fault(cause, marks)) {
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
        return Failure::new(Timeout, timeout_text(marks, head));
    }
    if marks.in_tls() {
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

/// An error and what caused it, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |one| (*one).source())
}

/// The text for an exchange that took too long.
pub(crate) fn timeout_text(marks: &Marks, head: bool) -> &'static str {
    if head {
        "the response's body did not end in time"
    } else if marks.in_tls() {
        "the TLS handshake did not end in time"
    } else if marks.is_resolving() {
        "the host name was not resolved in time"
    } else if marks.is_connecting() {
        "there was no connection in time"
    } else {
        "there was no response in time"
    }
}

/// Whether an error is our own machine's, and its text.
fn own_fault(error: &io::Error, marks: &Marks) -> Option<&'static str> {
    /// "Too many open files", of the process and of the system: alike on Linux, macOS and the BSDs.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let no_network = marks.only_v4 == Some(true);
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

/// rustls errors travel inside `io::Error`s, whose `source` skips them.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner: &'a (dyn Error + Send + Sync + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

/// Written by hand: what rustls prints holds names from the certificate, which an endpoint in an allowed private network should
/// not tell.
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

/// The system's words for a failed look-up, without the standard library's preamble.
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
mod tests {
    use super::*;

    #[test]
    fn no_network_is_ours_only_when_there_was_nothing_but_ipv4_to_try() {
        let marks = |only_v4| {
            let mut marks = Marks::default();
            marks.only_v4 = only_v4;
            marks
        };
        let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
        assert!(own_fault(&unreachable, &marks(Some(true))).is_some());
        assert!(own_fault(&unreachable, &marks(Some(false))).is_none());
        assert!(own_fault(&unreachable, &marks(None)).is_none());
        assert!(own_fault(&io::Error::from_raw_os_error(24), &marks(None)).is_some());
        assert!(
            own_fault(
                &io::Error::from(io::ErrorKind::ConnectionRefused),
                &marks(Some(true))
            )
            .is_none()
        );
    }

    #[test]
    fn tls_errors_are_found_inside_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let found = tls_error(&nested).expect("found");
        assert_eq!(tls_text(found), "the certificate is not accepted: it has expired");
        assert!(tls_error(&io::Error::other("something else")).is_none());
    }

    #[test]
    fn a_failed_look_up_is_told_in_the_systems_words() {
        let error = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            lookup_text(&error),
            "the host name could not be resolved: Name or service not known"
        );
    }
}

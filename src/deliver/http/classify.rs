//! Results and short texts of what goes wrong, which show neither URL nor secret.

use std::io;

use rustls::{AlertDescription, CertificateError};

use super::phases::Stage;
use crate::domain::address::Refusal;
use crate::domain::attempt::AttemptResult;
use crate::telemetry::connection::tls_error;

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

    /// Names the stage in which an exchange ran out of time.
    pub(super) fn timeout(stage: Stage) -> Self {
        let text = match stage {
            Stage::Handle => return Self::new(AttemptResult::Internal, NO_HANDLE),
            Stage::Resolving => "the host name was not resolved in time",
            Stage::Connecting => "there was no connection in time",
            Stage::Tls => "the TLS handshake did not end in time",
            Stage::Head => "there was no response in time",
            Stage::Body => "the response's body did not end in time",
        };
        Self::new(AttemptResult::Timeout, text)
    }

    /// Classifies a failed look-up.
    ///
    /// A name that cannot be resolved is the endpoint's fault: a broken resolver of ours looks like
    /// broken name servers of theirs, and many failures at once are noticed elsewhere.
    pub(super) fn lookup(error: &io::Error) -> Self {
        match own_fault(error, false) {
            Some(text) => Self::new(AttemptResult::Internal, text),
            None => Self::new(AttemptResult::Dns, lookup_text(error)),
        }
    }

    /// Classifies a TCP connection that failed. `only_v4` says that every address was IPv4.
    pub(super) fn connect(error: &io::Error, only_v4: bool) -> Self {
        match own_fault(error, only_v4) {
            Some(text) => Self::new(AttemptResult::Internal, text),
            None => Self::new(AttemptResult::Connect, connect_text(error)),
        }
    }

    /// Classifies a TLS handshake that failed.
    pub(super) fn tls(error: &io::Error) -> Self {
        let text = match tls_error(error) {
            Some(cause) => tls_text(cause),
            None => "the connection ended during the TLS handshake".to_owned(),
        };
        Self::new(AttemptResult::Tls, text)
    }

    /// Classifies a connection that ended before a head: by an error, or else in silence.
    pub(super) fn ended_early(error: Option<&io::Error>) -> Self {
        if let Some(cause) = error.and_then(|error| tls_error(error)) {
            return Self::new(AttemptResult::Tls, tls_text(cause));
        }
        let text = match error.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                "the connection was reset before a response"
            }
            _ => "the connection ended before a full response",
        };
        Self::new(AttemptResult::Reset, text)
    }

    /// The status had come: it counts as if the body had broken off.
    pub(super) fn head_broke_off() -> Self {
        Self::new(AttemptResult::Body, "the response's head broke off")
    }

    pub(super) fn body_broke_off() -> Self {
        Self::new(AttemptResult::Body, "the response's body broke off")
    }
}

const NO_HANDLE: &str = "we have no file handle left";
/// "Too many open files", of the process and of the system: alike on Linux, macOS and the BSDs.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// True if the process or the system has no file handle left.
pub(super) fn is_short_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Words an error of our own machine; `None` when it is none.
///
/// Our own faults are: no file handles or memory left, a local firewall, no network at all. "No
/// network" is believed only when every address was IPv4: many hosts have no IPv6, a name with both
/// kinds of addresses reports the error of the one tried last, and publishing an AAAA record must
/// not look like an outage of ours.
fn own_fault(error: &io::Error, only_v4: bool) -> Option<&'static str> {
    match (error.raw_os_error(), error.kind()) {
        (Some(EMFILE | ENFILE), _) => Some(NO_HANDLE),
        (_, io::ErrorKind::OutOfMemory) => Some("we have no memory left"),
        (Some(_), io::ErrorKind::PermissionDenied) => Some("our system forbids the connection"),
        (_, io::ErrorKind::NetworkDown) => Some("our network is down"),
        (_, io::ErrorKind::NetworkUnreachable) if only_v4 => Some("our network has no route"),
        (_, io::ErrorKind::AddrNotAvailable) if only_v4 => Some("we have no local port left"),
        _ => None,
    }
}

/// Words an error of TLS by hand: the text of rustls holds names from the certificate, which an
/// endpoint in an allowed private network must not reveal.
fn tls_text(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(why) => {
            format!("the certificate is not accepted: {}", certificate_text(why))
        }
        E::AlertReceived(alert) => format!("the endpoint refused the TLS handshake: {}", alert_text(*alert)),
        E::InvalidMessage(_) => "the endpoint does not speak TLS on this port".to_owned(),
        E::PeerIncompatible(_) => "the endpoint offers no TLS version or cipher of ours".to_owned(),
        _ => "the TLS handshake failed".to_owned(),
    }
}

/// The name of an alert as RFC 8446 writes it, with spaces: `handshake failure`.
fn alert_text(alert: AlertDescription) -> String {
    if let AlertDescription::Unknown(code) = alert {
        return format!("alert {code}");
    }
    let mut words = String::new();
    let mut before = 'A';
    for one in format!("{alert:?}").chars() {
        // No space within `CA`.
        if one.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(one.to_ascii_lowercase());
        before = one;
    }
    words
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

/// Words a failed look-up.
fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    let words: String = text.chars().filter(|one| !one.is_control()).take(80).collect();
    format!("the host name could not be resolved: {words}")
}

fn connect_text(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => "the network is unreachable",
        io::ErrorKind::ConnectionReset => "the connection was reset",
        io::ErrorKind::TimedOut => "there was no answer to the connection",
        _ => "the connection failed",
    }
}

#[cfg(test)]
mod tests;

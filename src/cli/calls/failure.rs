//! Calls that came to nothing, as a person reads of them. Pure.

use std::error::Error;
use std::io;

use serde::Deserialize;

use crate::telemetry::connection::{ConnectionCause, tls_error};

/// The reason why a call has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the API at {host}:{port}: {cause}")]
    Unreachable {
        host: String,
        port: u16,
        cause: ConnectionCause,
    },
    #[error("{0}")]
    Refused(CallRefusal),
    #[error("{host}:{port} answered {status} and is not the API of Bellwether")]
    NotTheApi { host: String, port: u16, status: u16 },
}

/// An answer that says why the call was not done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct CallRefusal {
    pub(super) status: u16,
    detail: String,
    #[serde(default)]
    pub(super) errors: Vec<RefusedField>,
}

/// A field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct RefusedField {
    pub(super) pointer: String,
    #[serde(default)]
    pub(super) code: String,
    detail: String,
    /// The argument that it came from, for the user of a command, who does not see the body.
    #[serde(skip)]
    pub(super) argument: Option<String>,
}

impl std::fmt::Display for RefusedField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.argument.as_deref().unwrap_or(&self.pointer);
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.detail)
    }
}

impl std::fmt::Display for CallRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            401 => f.write_str("authentication failed (BELLWETHER_API_TOKEN): ")?,
            403 => f.write_str("not allowed: ")?,
            _ => {}
        }
        // The detail of a refused body says that `errors` has more, which is shown here.
        match self.errors.as_slice() {
            [] => f.write_str(&self.detail),
            [one] => one.fmt(f),
            several => {
                f.write_str("several values are refused:")?;
                several.iter().try_for_each(|field| write!(f, "\n  {field}"))
            }
        }
    }
}

/// The cause of a request without an answer.
pub(super) fn cause_of(error: &reqwest::Error) -> ConnectionCause {
    let chain = || std::iter::successors(Some(error as &(dyn Error + 'static)), |one| (*one).source());
    if let Some(tls) = chain().find_map(tls_error) {
        return match tls {
            rustls::Error::InvalidMessage(_) => ConnectionCause::TlsUnsupported,
            other => ConnectionCause::of_tls(other),
        };
    }
    if error.is_timeout() {
        return ConnectionCause::NoAnswer;
    }
    // The library gives its resolver's error no type of its own.
    if chain().any(|one| one.to_string().contains("dns error")) {
        return ConnectionCause::UnknownHost;
    }
    match chain().find_map(|one| one.downcast_ref::<io::Error>()) {
        Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => ConnectionCause::Refused,
        Some(io)
            if matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
            ) =>
        {
            ConnectionCause::Closed
        }
        Some(io) if error.is_connect() => ConnectionCause::Unreachable(io.to_string()),
        _ => {
            let last = chain().last().map(ToString::to_string);
            ConnectionCause::Other(last.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        serde_json::from_str::<CallRefusal>(text)
            .expect("a problem")
            .to_string()
    }

    #[test]
    fn a_refusal_names_every_bad_field() {
        let one = r#"{"status": 422, "detail": "/url: A URL starts with https://.",
            "errors": [{"pointer": "/url", "code": "invalid", "detail": "A URL starts with https://."}]}"#;
        assert_eq!(refusal(one), "/url: A URL starts with https://.");
        let two = r#"{"status": 422, "detail": "2 fields are not valid; `errors` names each.",
            "errors": [{"pointer": "/url", "detail": "Required."}, {"pointer": "/name", "detail": "Too long."}]}"#;
        assert_eq!(
            refusal(two),
            "several values are refused:\n  /url: Required.\n  /name: Too long."
        );
    }

    #[test]
    fn a_wrong_token_and_a_missing_right_are_told_apart() {
        assert!(refusal(r#"{"status": 401, "detail": "Send."}"#).starts_with("authentication failed"));
        assert!(refusal(r#"{"status": 403, "detail": "A viewer."}"#).starts_with("not allowed: "));
    }
}

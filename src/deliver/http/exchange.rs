//! One attempt as it went over HTTP.

use std::net::SocketAddr;
use std::time::Instant;

use super::classify::Failure;
use super::phases::Phases;
use super::strike::Redactions;
use crate::domain::attempt::{AttemptResult, Fault};

/// Most bytes of a response's body that are read, and that are stored of a failure's.
pub(super) const MAX_RESPONSE_BYTES: usize = 16 * 1_024;
/// Most bytes stored of the body of a success.
const MAX_SUCCESS_BYTES: usize = 1_024;

/// One attempt as it went. Times are milliseconds since the Unix epoch; they differ by monotonic
/// time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) started_at_ms: i64,
    /// Arrival of the response's head.
    pub(crate) headers_at_ms: Option<i64>,
    pub(crate) ended_at_ms: i64,
    pub(crate) result: AttemptResult,
    /// Also there when the exchange failed after the head.
    pub(crate) status: Option<u16>,
    /// The beginning of the response's body; none without a response and none from an allowed
    /// private address.
    pub(crate) response: Option<Vec<u8>>,
    /// Short, without URL, secrets and names of our own.
    pub(crate) error: Option<String>,
    pub(crate) phases: Phases,
    /// The address that answered.
    pub(crate) remote: Option<SocketAddr>,
    /// The response's `Retry-After`: as it came, but a date as the seconds from the response's own
    /// `Date`.
    pub(crate) retry_after: Option<String>,
}

impl Exchange {
    /// Makes the exchange of an attempt in which our own code failed.
    pub(crate) fn failed_by_us(started_at_ms: i64, ended_at_ms: i64) -> Self {
        Self {
            started_at_ms,
            headers_at_ms: None,
            ended_at_ms,
            result: AttemptResult::Internal,
            status: None,
            response: None,
            error: Some("our own code failed".to_owned()),
            phases: Phases::default(),
            remote: None,
            retry_after: None,
        }
    }

    /// Names the party whose fault the end was.
    pub(crate) const fn fault(&self) -> Fault {
        self.result.fault()
    }
}

/// The part of a response that was read until the exchange ended.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) head_at: Option<Instant>,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<String>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) body: Vec<u8>,
    pub(super) failure: Option<Failure>,
}

impl Answer {
    pub(super) fn take_head(&mut self, status: u16, retry_after: Option<&str>, date: Option<&str>) {
        self.status = Some(status);
        self.retry_after =
            retry_after.map(|value| seconds_to(value, date).unwrap_or_else(|| value.to_owned()));
    }

    /// Keeps what fits of a piece of the body.
    pub(super) fn keep(&mut self, piece: &[u8]) {
        let room = MAX_RESPONSE_BYTES - self.body.len();
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// Returns the stored part of the body: all that was read of a failure's, the beginning of a
    /// success's.
    pub(super) fn stored_body(&self, redactions: impl FnOnce() -> Redactions) -> Vec<u8> {
        if self.body.is_empty() {
            return Vec::new();
        }
        let is_cut = self.body.len() >= MAX_RESPONSE_BYTES || self.failure.is_some();
        let mut stored = redactions().strike(&self.body, is_cut);
        let is_success = self.status.is_some_and(|status| (200..300).contains(&status));
        stored.truncate(if is_success {
            MAX_SUCCESS_BYTES
        } else {
            MAX_RESPONSE_BYTES
        });
        stored
    }
}

/// Turns a `Retry-After` date into seconds by the answer's own `Date`, whatever our clock says.
fn seconds_to(retry_after: &str, date: Option<&str>) -> Option<String> {
    let until = httpdate::parse_http_date(retry_after).ok()?;
    let from = httpdate::parse_http_date(date?).ok()?;
    let wait = until.duration_since(from).unwrap_or_default();
    Some(wait.as_secs().to_string())
}

/// Decides the result of an exchange with this status, if there was one, and this failure, if there
/// was one.
///
/// A 2xx is a success and a 410 is final however the body ends, but for a body that takes too long:
/// that held a connection for all the time, so it is a timeout whatever the status was, except 410.
pub(super) fn verdict(status: Option<u16>, failure: Option<Failure>) -> (AttemptResult, Option<String>) {
    let result = status.map(AttemptResult::of_status);
    match (result, failure) {
        (Some(result), None) => (result, None),
        (Some(AttemptResult::Gone), Some(failure)) => (AttemptResult::Gone, Some(failure.text)),
        (Some(result), Some(failure)) if failure.result == AttemptResult::Body => {
            (result, Some(failure.text))
        }
        (_, Some(failure)) => (failure.result, Some(failure.text)),
        (None, None) => (
            AttemptResult::Internal,
            Some("the exchange ended without a result".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_judged_by_the_answers_own_date() {
        let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        for (retry_after, date, wanted) in [
            ("Wed, 21 Oct 2015 07:28:30 GMT", date, "30"),
            ("Wed, 21 Oct 2015 07:00:00 GMT", date, "0"),
            ("2.5", date, "2.5"),
            (
                "Wed, 21 Oct 2015 07:28:30 GMT",
                None,
                "Wed, 21 Oct 2015 07:28:30 GMT",
            ),
            ("soon", date, "soon"),
            (&"1".repeat(4_000), date, &"1".repeat(4_000)),
        ] {
            let mut answer = Answer::default();
            answer.take_head(503, Some(retry_after), date);
            assert_eq!(answer.retry_after.as_deref(), Some(wanted));
        }
    }
}

//! One attempt as it went over HTTP.

use std::net::SocketAddr;
use std::time::Instant;

use super::classify::Failure;
use super::phases::Phases;
use crate::domain::attempt::{AttemptResult, Fault};

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
    /// The response's `Retry-After`, as it came.
    pub(crate) retry_after: Option<String>,
    /// The response's `Date`, as it came.
    pub(crate) date: Option<String>,
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
            date: None,
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
    pub(super) date: Option<String>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) body: Vec<u8>,
    pub(super) failure: Option<Failure>,
}

/// Decides the result of an exchange with this status, if there was one, and this failure, if there
/// was one.
///
/// A 410 is final however its body ends. Otherwise a body that took too long is a timeout whatever
/// the status was, because it held a connection for all that time; a body that broke off spoils a
/// success only.
pub(super) fn verdict(status: Option<u16>, failure: Option<Failure>) -> (AttemptResult, Option<String>) {
    let result = status.map(AttemptResult::of_status);
    match (result, failure) {
        (Some(result), None) => (result, None),
        (Some(AttemptResult::Gone), Some(failure)) => (AttemptResult::Gone, Some(failure.text)),
        (Some(result), Some(failure))
            if result != AttemptResult::Success && failure.result == AttemptResult::Body =>
        {
            (result, Some(failure.text))
        }
        (_, Some(failure)) => (failure.result, Some(failure.text)),
        (None, None) => (
            AttemptResult::Internal,
            Some("the exchange ended without a result".to_owned()),
        ),
    }
}

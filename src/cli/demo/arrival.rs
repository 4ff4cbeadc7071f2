//! Requests that arrive at the demo's receiver, and the count of all.

use std::fmt;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

/// A request as it was judged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrival {
    /// The event type.
    pub(super) event: String,
    pub(super) site_id: String,
    /// In milliseconds since the Unix epoch, by the site's clock.
    pub(super) at_ms: i64,
    /// `data` of the notification.
    pub(super) data: Value,
    /// Both signatures are by the webhook's secret.
    pub(super) signature_ok: bool,
    pub(super) attempt: u32,
    /// Time from the publishing of the event that caused it until now.
    pub(super) after_ms: i64,
    /// The status of the answer.
    pub(super) status: u16,
    pub(super) whole: WholeRequest,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct WholeRequest {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Counts over all arrivals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ArrivalTally {
    pub(super) requests: u64,
    /// Requests that are not their delivery's first.
    pub(super) retries: u64,
    /// Requests answered with a failure on purpose.
    pub(super) failed: u64,
    pub(super) bad_signatures: u64,
}

impl ArrivalTally {
    /// Counts one more.
    pub(super) fn count(&mut self, arrival: &Arrival) {
        self.requests += 1;
        self.retries += u64::from(arrival.attempt > 1);
        self.failed += u64::from(arrival.status >= 500);
        self.bad_signatures += u64::from(!arrival.signature_ok);
    }
}

/// `31 requests, 5 failed on purpose, 5 retried, every signature ok`
impl fmt::Display for ArrivalTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            retries,
            failed,
            bad_signatures,
        } = self;
        let noun = if *requests == 1 { "request" } else { "requests" };
        write!(
            f,
            "{requests} {noun}, {failed} failed on purpose, {retries} retried, "
        )?;
        match bad_signatures {
            0 => f.write_str("every signature ok"),
            1 => f.write_str("1 BAD SIGNATURE"),
            bad => write!(f, "{bad} BAD SIGNATURES"),
        }
    }
}

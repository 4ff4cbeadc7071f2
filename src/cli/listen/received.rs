//! A request as it was received and judged.

use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Serialize;

use crate::deliver::request;

/// Distance of `webhook-timestamp` from now that receivers accept, as docs/verify tells them.
pub(super) const TOLERANCE_SECONDS: i64 = 300;

/// One request, and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceivedRequest {
    /// Milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) event: Option<String>,
    pub(super) delivery_id: Option<String>,
    pub(super) notification_id: Option<String>,
    pub(super) attempt: Option<u32>,
    /// Time since `webhook-timestamp`, which has whole seconds.
    pub(super) latency_ms: Option<i64>,
    /// Of `X-Webhook-Signature`.
    pub(super) signature: SignatureCheck,
    /// Of `webhook-signature`, by Standard Webhooks.
    pub(super) standard_signature: SignatureCheck,
    /// This attempt of this delivery was here before.
    pub(super) repeated: bool,
    /// The status of the answer.
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// The result of verifying a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SignatureCheck {
    /// By one of the secrets.
    Ok,
    /// By none of the secrets.
    Wrong,
    /// The request has no such header.
    Missing,
    /// It cannot be verified without `webhook-id`, which the request lacks.
    MissingId,
    /// It cannot be verified without `webhook-timestamp`, which the request lacks.
    MissingTimestamp,
    /// The request lacks both.
    MissingIdAndTimestamp,
    /// By one of the secrets, but `webhook-timestamp` is no number of seconds.
    BadTimestamp,
    /// By one of the secrets, but longer ago than a receiver should accept.
    Old,
    /// By one of the secrets, but further ahead than a receiver should accept.
    Early,
    /// There is no secret to verify with.
    NotChecked,
}

impl SignatureCheck {
    /// Checks a header that is there or not; without secrets nothing is checked.
    pub(super) fn of(is_there: bool, has_secrets: bool, verify: impl FnOnce() -> bool) -> Self {
        match (has_secrets, is_there) {
            (false, _) => Self::NotChecked,
            (true, false) => Self::Missing,
            (true, true) if verify() => Self::Ok,
            (true, true) => Self::Wrong,
        }
    }

    /// Checks `webhook-signature`, which two other headers belong to, and which holds for a while.
    pub(super) fn of_standard(
        headers: &HeaderMap,
        has_secrets: bool,
        now_ms: i64,
        verify: impl FnOnce() -> bool,
    ) -> Self {
        let has = |name: &str| headers.contains_key(name);
        let check = Self::of(has(request::STANDARD_SIGNATURE), has_secrets, verify);
        let timestamp = headers.get(request::STANDARD_TIMESTAMP);
        match (check, has(request::STANDARD_ID), timestamp) {
            (Self::Ok | Self::Wrong, false, None) => Self::MissingIdAndTimestamp,
            (Self::Ok | Self::Wrong, false, Some(_)) => Self::MissingId,
            (Self::Ok | Self::Wrong, true, None) => Self::MissingTimestamp,
            (Self::Ok, true, Some(timestamp)) => {
                let seconds = timestamp.to_str().ok().and_then(|text| text.parse::<i64>().ok());
                match seconds.map(|seconds| now_ms.div_euclid(1_000).saturating_sub(seconds)) {
                    None => Self::BadTimestamp,
                    Some(age) if age > TOLERANCE_SECONDS => Self::Old,
                    Some(age) if age < -TOLERANCE_SECONDS => Self::Early,
                    Some(_) => Self::Ok,
                }
            }
            (check, ..) => check,
        }
    }

    /// True if it is there and cannot be verified.
    pub(super) fn is_wrong(self) -> bool {
        match self {
            Self::Wrong
            | Self::MissingId
            | Self::MissingTimestamp
            | Self::MissingIdAndTimestamp
            | Self::BadTimestamp => true,
            Self::Ok | Self::Missing | Self::Old | Self::Early | Self::NotChecked => false,
        }
    }

    /// True if a receiver should accept it; `None` without a secret to verify with.
    pub(super) fn is_ok(self) -> Option<bool> {
        match self {
            Self::NotChecked => None,
            check => Some(check == Self::Ok),
        }
    }
}

//! A request as it was received and judged.

use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Serialize;

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

    /// True or false if there was a secret to verify with.
    pub(super) fn is_ok(self) -> Option<bool> {
        match self {
            Self::Ok => Some(true),
            Self::Wrong | Self::Missing => Some(false),
            Self::NotChecked => None,
        }
    }
}

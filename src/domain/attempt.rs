//! How an attempt ended, and whose fault that was.

use std::fmt;

/// How an attempt ended: the closed set of labels that metrics, the log and the database share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AttemptResult {
    /// 2xx, and the body (as far as we read) arrived.
    Success,
    /// 3xx; redirects are not followed.
    Redirect,
    /// 4xx but 410 and 429.
    ClientError,
    /// 410: the endpoint is gone for good.
    Gone,
    /// 429: we are to be slower.
    TooManyRequests,
    /// 5xx, and every status that HTTP does not define as a final one.
    ServerError,
    /// The name has no address.
    Dns,
    /// No connection.
    Connect,
    /// No agreement on encryption, or a certificate that does not hold.
    Tls,
    /// Any part took too long.
    Timeout,
    /// Connected, but there was no full response head.
    Reset,
    /// There was a response head, but its body broke off.
    Body,
    /// The target is not to be called.
    AddressRefused,
    /// We could not make the attempt.
    Internal,
}

impl AttemptResult {
    /// Every result, in the order documents list them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::Gone,
        Self::TooManyRequests,
        Self::ServerError,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Body,
        Self::AddressRefused,
        Self::Internal,
    ];

    /// The label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::Gone => "410",
            Self::TooManyRequests => "429",
            Self::ServerError => "5xx",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Body => "body",
            Self::AddressRefused => "address_refused",
            Self::Internal => "internal",
        }
    }

    /// The result that a response's status means. 600 and above count as 5xx (RFC 9110 §15), and so does 101, which nobody
    /// asked for; 1xx are no final statuses.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Redirect,
            410 => Self::Gone,
            429 => Self::TooManyRequests,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// Whose fault it was.
    pub(crate) const fn fault(self) -> Fault {
        match self {
            Self::Success => Fault::None,
            Self::Internal => Fault::Own,
            _ => Fault::Endpoint,
        }
    }
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for AttemptResult {
    type Err = UnknownResult;

    fn from_str(text: &str) -> Result<Self, UnknownResult> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| UnknownResult(text.chars().take(64).collect()))
    }
}

/// The text is no result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a result of an attempt")]
pub(crate) struct UnknownResult(String);

/// Whose fault an attempt's end was. Ours never counts against an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    None,
    Endpoint,
    Own,
}

impl Fault {
    /// Every fault.
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Endpoint, Self::Own];

    /// The label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Endpoint => "endpoint",
            Self::Own => "own",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_their_classes() {
        for (status, label) in [
            (200, "2xx"),
            (204, "2xx"),
            (299, "2xx"),
            (301, "3xx"),
            (304, "3xx"),
            (400, "4xx"),
            (404, "4xx"),
            (410, "410"),
            (411, "4xx"),
            (429, "429"),
            (499, "4xx"),
            (500, "5xx"),
            (503, "5xx"),
            (600, "5xx"),
            (999, "5xx"),
            (101, "5xx"),
        ] {
            assert_eq!(AttemptResult::of_status(status).as_str(), label, "{status}");
        }
        for result in AttemptResult::ALL {
            assert_eq!(result.as_str().parse(), Ok(result));
        }
        let own: Vec<_> = AttemptResult::ALL
            .into_iter()
            .filter(|one| one.fault() == Fault::Own)
            .collect();
        assert_eq!(own, [AttemptResult::Internal]);
    }
}

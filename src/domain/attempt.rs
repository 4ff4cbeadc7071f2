//! The words of an attempt: one HTTP request of a delivery.

use super::delivery::FailureReason;
use super::words::words;

words! {
    /// Result of an attempt.
    pub(crate) enum AttemptResult {
        /// 2xx, whatever its body was, if it came in time.
        Success = "2xx",
        /// 3xx; redirects are not followed.
        Redirect = "3xx",
        /// 4xx but 410 and 429.
        ClientError = "4xx",
        /// 410: the endpoint is gone for good.
        Gone = "410",
        /// 429: the endpoint asks for fewer requests.
        TooManyRequests = "429",
        /// 5xx, and every status that HTTP does not define as a final one.
        ServerError = "5xx",
        /// The name has no address.
        Dns = "dns",
        /// No connection.
        Connect = "connect",
        /// No agreement on encryption, or a certificate that is not valid.
        Tls = "tls",
        /// Some part took too long.
        Timeout = "timeout",
        /// Connected, but no complete response head came.
        Reset = "reset",
        /// A response head came, but its body broke off.
        Body = "body",
        /// The answer is not HTTP, or its head is beyond every measure.
        Protocol = "protocol",
        /// The target may not be called.
        AddressRefused = "address_refused",
        /// A fault of our own prevented the request.
        Internal = "internal",
    }
}

impl AttemptResult {
    /// The result that a response's status means. 600 and above count as 5xx (RFC 9110 §15), and so
    /// does 101, which nobody asked for; 1xx are no final statuses.
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

    /// Reason for which a delivery has failed whose last attempt this was.
    pub(crate) const fn failure_reason(self) -> FailureReason {
        match self {
            Self::Gone => FailureReason::Gone,
            _ => FailureReason::Exhausted,
        }
    }

    /// The party at fault.
    pub(crate) const fn fault(self) -> Fault {
        match self {
            Self::Success => Fault::None,
            Self::Internal => Fault::Own,
            _ => Fault::Endpoint,
        }
    }
}

words! {
    /// The party at fault for an attempt that failed.
    pub(crate) enum Fault {
        None = "none",
        Endpoint = "endpoint",
        Own = "own",
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

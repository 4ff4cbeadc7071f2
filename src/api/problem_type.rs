//! The types of problems that the API answers with.

use axum::http::StatusCode;

use crate::domain::words::words;

words! {
    /// The type of a problem, on which programs may rely: `urn:bellwether:error:` and the word.
    pub enum ProblemType {
        MalformedRequest = "malformed-request",
        MalformedJson = "malformed-json",
        InvalidIdempotencyKey = "invalid-idempotency-key",
        Unauthenticated = "unauthenticated",
        Forbidden = "forbidden",
        NotFound = "not-found",
        MethodNotAllowed = "method-not-allowed",
        WebhookLimit = "webhook-limit",
        GoalLimit = "goal-limit",
        DuplicateGoal = "duplicate-goal",
        GoalWatched = "goal-watched",
        SiteIsAlias = "site-is-alias",
        ExternalIdTaken = "external-id-taken",
        NotSendable = "not-sendable",
        RecoveryLimit = "recovery-limit",
        IdempotencyKeyInFlight = "idempotency-key-in-flight",
        RequestTimeout = "request-timeout",
        BodyTooLarge = "body-too-large",
        UriTooLong = "uri-too-long",
        UnsupportedMediaType = "unsupported-media-type",
        InvalidFields = "invalid-fields",
        IdempotencyKeyReused = "idempotency-key-reused",
        RateLimited = "rate-limited",
        TooManyFailedLogins = "too-many-failed-logins",
        TooManyTests = "too-many-tests",
        HeadersTooLarge = "headers-too-large",
        Internal = "internal",
        Unavailable = "unavailable",
    }
}

impl ProblemType {
    /// The `type` of the problem document.
    pub(super) fn urn(self) -> String {
        format!("urn:bellwether:error:{self}")
    }

    /// The status of the answer.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest | Self::MalformedJson | Self::InvalidIdempotencyKey => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::WebhookLimit
            | Self::GoalLimit
            | Self::DuplicateGoal
            | Self::GoalWatched
            | Self::SiteIsAlias
            | Self::ExternalIdTaken
            | Self::NotSendable
            | Self::RecoveryLimit
            | Self::IdempotencyKeyInFlight => StatusCode::CONFLICT,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidFields | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited | Self::TooManyFailedLogins | Self::TooManyTests => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One line for people, the same for every problem of this type.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "The request is not HTTP/1.1 as it should be",
            Self::MalformedJson => "The request body is not valid JSON",
            Self::InvalidIdempotencyKey => "The Idempotency-Key header is not valid",
            Self::Unauthenticated => "The request needs a valid token",
            Self::Forbidden => "The token has no right to this call",
            Self::NotFound => "The resource was not found",
            Self::MethodNotAllowed => "The path does not support this method",
            Self::WebhookLimit => "The site has reached its limit of webhooks",
            Self::GoalLimit => "The site has reached its limit of goals",
            Self::DuplicateGoal => "The site already has a goal with this name",
            Self::GoalWatched => "A webhook is told when this goal is silent",
            Self::SiteIsAlias => "The site id is an alias of another site",
            Self::ExternalIdTaken => "Another webhook of the site has this external_id",
            Self::NotSendable => "Nothing can be sent again here for now",
            Self::RecoveryLimit => "The webhook has reached its limit of running recoveries",
            Self::IdempotencyKeyInFlight => "A request with this Idempotency-Key is still in progress",
            Self::RequestTimeout => "The request body took too long to arrive",
            Self::BodyTooLarge => "The request body is too large",
            Self::UriTooLong => "The URL is too long",
            Self::HeadersTooLarge => "The headers of the request are too large",
            Self::UnsupportedMediaType => "The content type of the request body is not supported",
            Self::InvalidFields => "Some fields are not valid",
            Self::IdempotencyKeyReused => "The Idempotency-Key was already used for another request",
            Self::RateLimited => "The token has made too many requests",
            Self::TooManyTests => "The webhook was tested too often",
            Self::TooManyFailedLogins => "Too many failed logins came from this address",
            Self::Internal => "An internal error occurred",
            Self::Unavailable => "The service is temporarily unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_type_has_a_word_of_its_own() {
        let words: HashSet<_> = ProblemType::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(words.len(), ProblemType::ALL.len());
    }

    #[test]
    fn docs_list_every_problem_type_with_its_status() {
        let reference = include_str!("../../docs/api.md");
        for one in ProblemType::ALL {
            let row = format!("| `{one}` | {} |", one.status().as_u16());
            assert!(reference.lines().any(|line| line.starts_with(&row)), "{row}");
        }
    }
}

//! Errors as RFC 9457 problem documents.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::validate::{Errors, FieldError};

/// What went wrong, as a stable `type` that programs may rely on: `urn:bellwether:error:` and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MalformedJson,
    InvalidIdempotencyKey,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    WebhookLimit,
    GoalLimit,
    DuplicateGoal,
    SiteIsAlias,
    IdempotencyKeyInFlight,
    RequestTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidFields,
    IdempotencyKeyReused,
    RateLimited,
    TooManyFailedLogins,
    Internal,
    Unavailable,
}

impl Kind {
    pub(crate) const ALL: [Self; 20] = [
        Self::MalformedJson,
        Self::InvalidIdempotencyKey,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::WebhookLimit,
        Self::GoalLimit,
        Self::DuplicateGoal,
        Self::SiteIsAlias,
        Self::IdempotencyKeyInFlight,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidFields,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::TooManyFailedLogins,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The end of the `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed-json",
            Self::InvalidIdempotencyKey => "invalid-idempotency-key",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::WebhookLimit => "webhook-limit",
            Self::GoalLimit => "goal-limit",
            Self::DuplicateGoal => "duplicate-goal",
            Self::SiteIsAlias => "site-is-alias",
            Self::IdempotencyKeyInFlight => "idempotency-key-in-flight",
            Self::RequestTimeout => "request-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::InvalidFields => "invalid-fields",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::RateLimited => "rate-limited",
            Self::TooManyFailedLogins => "too-many-failed-logins",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson | Self::InvalidIdempotencyKey => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::WebhookLimit
            | Self::GoalLimit
            | Self::DuplicateGoal
            | Self::SiteIsAlias
            | Self::IdempotencyKeyInFlight => StatusCode::CONFLICT,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidFields | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited | Self::TooManyFailedLogins => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One line for people, the same each time.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not JSON",
            Self::InvalidIdempotencyKey => "The Idempotency-Key cannot be one",
            Self::Unauthenticated => "A valid token is needed",
            Self::Forbidden => "This token may look but not change",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "This method is not allowed here",
            Self::WebhookLimit => "The site has as many webhooks as it may have",
            Self::GoalLimit => "The site has as many goals as it may have",
            Self::DuplicateGoal => "The site has a goal of this name",
            Self::SiteIsAlias => "This id is an alias of another site",
            Self::IdempotencyKeyInFlight => "A request with this Idempotency-Key is being worked on",
            Self::RequestTimeout => "The request took too long to arrive",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body has a wrong content type",
            Self::InvalidFields => "Some fields are not valid",
            Self::IdempotencyKeyReused => "This Idempotency-Key belongs to another request",
            Self::RateLimited => "Too many requests with this token",
            Self::TooManyFailedLogins => "Too many failed logins from this address",
            Self::Internal => "Something went wrong here",
            Self::Unavailable => "Not possible just now",
        }
    }
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem explained by `detail`, which is shown to the caller.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Nothing of this name exists, or nothing that the caller may know of.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("There is no such {what}."))
    }

    /// Every bad field at once.
    pub(crate) fn invalid(errors: Errors) -> Self {
        let detail = match (errors.list(), errors.count()) {
            ([one], _) => format!("{}: {}", one.pointer, one.detail),
            (list, count) if list.len() < count => format!(
                "{count} fields are not valid; `errors` names the first {}.",
                list.len()
            ),
            (_, count) => format!("{count} fields are not valid; `errors` names each."),
        };
        Self {
            errors: errors.into_list(),
            ..Self::new(Kind::InvalidFields, detail)
        }
    }

    /// Tells the caller when to come back.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let document = Document {
            r#type: format!("urn:bellwether:error:{}", self.kind.name()),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&document).expect("plain data with string keys always becomes JSON");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}

/// Logged here, where it is handled; the caller learns no more than whether trying again may help.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            tracing::warn!(%error, "a request to the API found no database");
            Self::new(
                Kind::Unavailable,
                "The database cannot be reached. Nothing was lost; try again.",
            )
            .retry_after(1)
        } else {
            tracing::error!(%error, "a request to the API failed");
            Self::new(Kind::Internal, "The operator finds the cause in the log.")
        }
    }
}

/// Whether the same request may succeed a moment later.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            true
        }
        // Connection exceptions, lack of resources, a cancelled or timed-out statement or a server that stops, a
        // serialisation failure or a deadlock, a lock that was not to be had.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57", "40"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "55P03"
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: HashSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn the_reference_lists_every_kind_with_its_status() {
        let reference = include_str!("../../docs/api.md");
        for kind in Kind::ALL {
            let row = reference
                .lines()
                .find(|line| line.starts_with('|') && line.contains(&format!("`{}`", kind.name())));
            let status = format!("| {} |", kind.status().as_u16());
            assert!(row.is_some_and(|row| row.contains(&status)), "{}", kind.name());
        }
    }

    #[test]
    fn bad_fields_are_counted_although_not_all_are_named() {
        for (count, wanted) in [
            (2, "2 fields are not valid; `errors` names each."),
            (100, "100 fields are not valid; `errors` names each."),
            (130, "130 fields are not valid; `errors` names the first 100."),
        ] {
            let mut errors = Errors::default();
            for n in 0..count {
                errors.add(format!("/{n}"), "unknown_field", "is none");
            }
            assert_eq!(Problem::invalid(errors).detail, wanted);
        }
    }

    #[test]
    fn a_database_that_is_away_is_not_our_error() {
        assert_eq!(Problem::from(sqlx::Error::PoolTimedOut).kind(), Kind::Unavailable);
        assert_eq!(Problem::from(sqlx::Error::RowNotFound).kind(), Kind::Internal);
    }
}

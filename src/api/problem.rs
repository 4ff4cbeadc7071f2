//! Errors as problem details (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::field_errors::{FieldError, FieldErrors};
use super::problem_type::ProblemType;
use crate::record::pg_monitor::in_words;
use crate::telemetry::throttle::SharedThrottle;

/// An answer that reports an error.
#[derive(Debug)]
pub(super) struct Problem {
    problem_type: ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem explained by `detail`, which the caller sees.
    pub(super) fn new(problem_type: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            problem_type,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Nothing of this name exists, or nothing that the caller may know of.
    pub(super) fn not_found(noun: &str) -> Self {
        Self::new(ProblemType::NotFound, format!("There is no such {noun}."))
    }

    /// The request has no token, or none that is valid.
    pub(super) fn unauthenticated() -> Self {
        Self::new(
            ProblemType::Unauthenticated,
            "Send the header `Authorization: Bearer bw_…` with a token that is valid.",
        )
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// A fault of the service itself, which its log names.
    pub(super) fn internal() -> Self {
        let detail = "The log of the server names the cause of this error.";
        Self::new(ProblemType::Internal, detail)
    }

    /// The request took longer than `limit`.
    pub(super) fn given_up(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        let detail = format!("The request took longer than {seconds} seconds and was given up.");
        Self::new(ProblemType::Unavailable, detail)
    }

    /// Refuses a request with every bad field at once, if there is one.
    pub(super) fn check(errors: FieldErrors) -> Result<(), Self> {
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Self::invalid(errors)),
        }
    }

    /// Every bad field at once.
    pub(super) fn invalid(errors: FieldErrors) -> Self {
        let detail = match (errors.list(), errors.count()) {
            // The body as a whole has an empty pointer.
            ([one], _) if one.pointer.is_empty() => one.detail.clone(),
            ([one], _) => format!("{}: {}", one.pointer, one.detail),
            (list, count) if list.len() < count => format!(
                "{count} fields are not valid; `errors` names the first {}.",
                list.len()
            ),
            (_, count) => format!("{count} fields are not valid; `errors` names each."),
        };
        Self {
            errors: errors.into_list(),
            ..Self::new(ProblemType::InvalidFields, detail)
        }
    }

    /// Adds the time after which another try may succeed.
    pub(super) fn retry_after_seconds(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The problem document.
    pub(super) fn body(&self) -> Vec<u8> {
        let body = ProblemBody {
            r#type: self.problem_type.urn(),
            title: self.problem_type.title(),
            status: self.problem_type.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        serde_json::to_vec(&body).expect("plain data with string keys always becomes JSON")
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.problem_type == ProblemType::NotFound
    }

    #[cfg(test)]
    pub(super) fn problem_type(&self) -> ProblemType {
        self.problem_type
    }
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.problem_type.status(), self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(self.problem_type);
        response
    }
}

/// Log lines of the kinds that every request may cause, one a second of each.
static UNAVAILABLE: SharedThrottle = SharedThrottle::new();
static FAILED: SharedThrottle = SharedThrottle::new();

/// The error is logged here, where it is handled. The caller learns only if another try may help.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            if let Some(suppressed) = UNAVAILABLE.admit() {
                let error = in_words(&error);
                tracing::warn!(
                    error,
                    suppressed,
                    "the database is unavailable to a request to the API"
                );
            }
            Self::new(
                ProblemType::Unavailable,
                "The database is temporarily unavailable. Try again.",
            )
            .retry_after_seconds(1)
        } else {
            if let Some(suppressed) = FAILED.admit() {
                let error = in_words(&error);
                tracing::error!(error, suppressed, "a request to the API failed");
            }
            Self::internal()
        }
    }
}

/// True if the same request may succeed a moment later.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            true
        }
        // Classes of SQLSTATE: 08 connection exception, 53 insufficient resources, 57 operator
        // intervention (a cancelled statement, a shutdown), 40 transaction rollback (serialization
        // failure, deadlock). 55P03: the lock is not available.
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
mod tests;

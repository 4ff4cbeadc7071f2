//! The outermost layer of a request: its time limit, its span, its report to the observer.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::clock;

use super::calls::WEBHOOK_TEST;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::{AnsweredRequest, ApiState, REQUEST_TIMEOUT};

/// The route of requests that match none.
pub(crate) const UNMATCHED: &str = "unmatched";

/// Answers within [`REQUEST_TIMEOUT`], a test within the time that its endpoint may take besides.
/// Runs inside a span `api.request`, and tells the observer.
///
/// Adds the headers that every answer has: no cache may keep it and no browser guess its type.
pub(super) async fn observe(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let started = clock::monotonic();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = method_word(request.method());
    let is_read = request.method().is_safe();
    // `site.id` is recorded by the extractor that reads it from the path.
    let span = tracing::info_span!("api.request", route, method, status = Empty, site.id = Empty);

    // A test takes as long as its endpoint may.
    let limit = match route == WEBHOOK_TEST {
        true => state.longest_request(),
        false => REQUEST_TIMEOUT,
    };
    let answer = next.run(request).instrument(span.clone());
    let mut response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => Problem::given_up(limit).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );

    let status = response.status().as_u16();
    span.record("status", status);
    (state.observer)(AnsweredRequest {
        route,
        // Each method that each route lacks would be a series for nothing.
        method: match status {
            405 => OTHER,
            _ => method,
        },
        status,
        is_read,
        took: clock::monotonic().saturating_duration_since(started),
        problem: response.extensions().get::<ProblemType>().copied(),
    });
    response
}

/// The words for methods in metrics, where only the routes' own methods are told apart.
pub(crate) const METHOD_WORDS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", OTHER];
/// The word for a method that no route has, or not the one that was asked.
pub(crate) const OTHER: &str = "OTHER";

/// The word for a method in metrics.
pub(crate) fn method_word(method: &Method) -> &'static str {
    let known = METHOD_WORDS.into_iter().find(|word| *word == method.as_str());
    known.unwrap_or(OTHER)
}

#[cfg(test)]
mod tests;

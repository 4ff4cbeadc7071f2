//! Answers: JSON with its headers, and times as they are written in it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// `body` as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let body = serde_json::to_string(body).expect("plain data with string keys always becomes JSON");
    json_text(status, body)
}

/// What is JSON already.
pub(super) fn json_text(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 201 with `Location`.
pub(super) fn created<T: Serialize>(location: &str, body: &T) -> Response {
    let mut response = json(StatusCode::CREATED, body);
    add_location(&mut response, location);
    response
}

pub(super) fn add_location(response: &mut Response, location: &str) {
    // A path made of escaped segments and ids is always a header value.
    if let Ok(value) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// A page of a list: `next` is the cursor of the page after it, or null.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) next: Option<String>,
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// [`time`] of what may not have happened.
pub(super) fn optional_time(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(time)
}

/// What a reader of answers is warned about. The call succeeded all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    pub(crate) detail: String,
}

//! Successful answers: JSON with its headers, and times in the form that answers have.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::time::rfc3339;

/// 200 with `body` as JSON.
pub(super) fn ok<T: Serialize>(body: &T) -> Response {
    json(StatusCode::OK, body)
}

/// 201 with `Location` and `body` as JSON.
pub(super) fn created<T: Serialize>(location: &str, body: &T) -> Response {
    let mut response = json(StatusCode::CREATED, body);
    add_location(&mut response, location);
    response
}

/// 201 with `body` as JSON, for what has no address of its own.
pub(super) fn created_without_location<T: Serialize>(body: &T) -> Response {
    json(StatusCode::CREATED, body)
}

/// 202 with `Location` and `body` as JSON.
pub(super) fn accepted<T: Serialize>(location: &str, body: &T) -> Response {
    let mut response = json(StatusCode::ACCEPTED, body);
    add_location(&mut response, location);
    response
}

/// 204 without a body.
pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let body = serde_json::to_string(body).expect("plain data with string keys always becomes JSON");
    json_text(status, body)
}

/// An answer whose body is JSON already.
pub(super) fn json_text(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn add_location(response: &mut Response, location: &str) {
    // A path made of escaped segments and ids is always a header value.
    if let Ok(value) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    /// The cursor of the next page; null on the last one.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// A list that always fits on one page.
    pub(super) fn only(data: Vec<T>) -> Self {
        Self { data, next: None }
    }
}

/// Cuts a list that was read one longer than a page of `limit`; true if there is another page.
pub(super) fn cut<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    (found, has_more)
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    rfc3339(at)
}

/// [`time`] of an event that may not have happened.
pub(super) fn optional_time(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(time)
}

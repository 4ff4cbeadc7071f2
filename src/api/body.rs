//! Reading a request's body: its type, its size, its JSON.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::problem::{Kind, Problem};
use super::validate::{Errors, wrong_type};

/// Most bytes of a body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Bytes read and thrown away beyond that, so that a client that sends first and reads then gets its answer.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;

/// Longest a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A body that is a JSON object.
#[derive(Debug)]
pub(super) struct JsonObject(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let patch = request.method() == Method::PATCH;
        check_type(request.headers(), patch)?;
        let declared = content_length(request.headers());
        let bytes = tokio::time::timeout(READ_TIMEOUT, read_bounded(request.into_body(), declared))
            .await
            .map_err(|_| Problem::new(Kind::RequestTimeout, "The body did not arrive in time."))??;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::new(Kind::MalformedJson, format!("The body is not JSON: {error}.")))?;
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => {
                let mut errors = Errors::default();
                let _: Option<()> = wrong_type("", &other, "an object", &mut errors);
                Err(Problem::invalid(errors))
            }
        }
    }
}

/// `application/json` with any parameters; a PATCH may also say what it is (RFC 7396).
fn check_type(headers: &HeaderMap, patch: bool) -> Result<(), Problem> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) || patch && essence.eq_ignore_ascii_case(MERGE_PATCH) {
        return Ok(());
    }
    let wanted = if patch {
        "application/merge-patch+json, application/json"
    } else {
        JSON
    };
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        format!("Content-Type must be {wanted}."),
    )
    .with_header(ACCEPT, HeaderValue::from_static(wanted)))
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read_bounded(body: Body, declared: Option<usize>) -> Result<Vec<u8>, Problem> {
    if declared.is_some_and(|length| length > MAX_DRAINED_BYTES) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::with_capacity(declared.unwrap_or_default().min(MAX_BODY_BYTES));
    let mut seen = 0;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(Kind::MalformedJson, "The body ended before it was complete."))?;
        seen += chunk.len();
        if seen > MAX_DRAINED_BYTES {
            break;
        }
        if seen <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > MAX_BODY_BYTES {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

fn too_large() -> Problem {
    Problem::new(
        Kind::BodyTooLarge,
        format!("A body has at most {MAX_BODY_BYTES} bytes."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_for_a_patch_merge_patch() {
        for (text, post, patch) in [
            ("application/json", true, true),
            ("Application/JSON; charset=utf-8", true, true),
            ("application/merge-patch+json", false, true),
            ("text/plain", false, false),
            ("application/jsonl", false, false),
            ("", false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(check_type(&headers, false).is_ok(), post, "{text}");
            assert_eq!(check_type(&headers, true).is_ok(), patch, "{text}");
        }
        assert!(check_type(&HeaderMap::new(), false).is_err());
    }
}

//! A request's body: its content type, its size, its JSON.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::field_errors::{FieldCode, FieldErrors};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::strict_json;

/// Most bytes of a body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most bytes that are read of a body that is too large. All but the first [`MAX_BODY_BYTES`] are
/// thrown away, so that a client that sends the whole body before it reads gets its answer.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;

/// Longest a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// U+FEFF in UTF-8, and in UTF-16 of either order.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE"];

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A body that is a JSON object.
#[derive(Debug)]
pub(super) struct JsonBody(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let is_patch = request.method() == Method::PATCH;
        check_content_type(request.headers(), is_patch)?;
        read_object(&read_body(request).await?).map(Self)
    }
}

async fn read_body(request: Request) -> Result<Vec<u8>, Problem> {
    let declared = content_length(request.headers());
    tokio::time::timeout(READ_TIMEOUT, read_bounded(request.into_body(), declared))
        .await
        .map_err(|_| timed_out())?
}

/// A body that is a JSON object, or no body at all, which counts as an empty object, whatever the
/// content type.
#[derive(Debug)]
pub(super) struct OptionalJsonBody(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let checked = check_content_type(request.headers(), false);
        let bytes = read_body(request).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        checked?;
        read_object(&bytes).map(Self)
    }
}

/// Reads an object in which no key is given twice.
fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if BYTE_ORDER_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(malformed(
            "The request body begins with a byte order mark (U+FEFF). Send UTF-8 without it.",
        ));
    }
    let read = strict_json::read(bytes)
        .map_err(|error| malformed(format!("The request body is not valid JSON: {error}.")))?;
    let mut errors = FieldErrors::default();
    for pointer in read.repeated {
        errors.add(pointer, FieldCode::Duplicate, "This key is given twice.");
    }
    match read.value {
        Value::Object(map) if errors.is_empty() => return Ok(map),
        Value::Object(_) => {}
        other => errors.add_wrong_type("", &other, "an object"),
    }
    Err(Problem::invalid(errors))
}

/// Accepts `application/json` in UTF-8, and for a PATCH the type of merge patches (RFC
/// 7396), uncompressed.
fn check_content_type(headers: &HeaderMap, is_patch: bool) -> Result<(), Problem> {
    // RFC 9110, section 15.5.16: the answer says which encodings it would have taken.
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !is_plain(value))
    {
        let detail = "The request body is compressed. Send it without a Content-Encoding.";
        return Err(Problem::new(ProblemType::UnsupportedMediaType, detail)
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if let Some(charset) = charset(given)
        && !charset.eq_ignore_ascii_case("utf-8")
    {
        let detail = "The charset of the Content-Type header must be utf-8, or left out: JSON is UTF-8.";
        return Err(Problem::new(ProblemType::UnsupportedMediaType, detail)
            .with_header(ACCEPT, HeaderValue::from_static(JSON)));
    }
    if essence.eq_ignore_ascii_case(JSON) || is_patch && essence.eq_ignore_ascii_case(MERGE_PATCH) {
        return Ok(());
    }
    let (accepted, detail) = if is_patch {
        (
            "application/merge-patch+json, application/json",
            "The Content-Type header must be application/merge-patch+json or application/json.",
        )
    } else {
        (JSON, "The Content-Type header must be application/json.")
    };
    Err(Problem::new(ProblemType::UnsupportedMediaType, detail)
        .with_header(ACCEPT, HeaderValue::from_static(accepted)))
}

/// The parameter `charset` of a media type, without quotes.
fn charset(media: &str) -> Option<&str> {
    media.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    })
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
    let mut received = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| malformed("The request body ended before it was complete."))?;
        received += chunk.len();
        if received > MAX_DRAINED_BYTES {
            break;
        }
        if received <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if received > MAX_BODY_BYTES {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::MalformedJson, detail)
}

/// The body did not arrive in time.
pub(super) fn timed_out() -> Problem {
    let seconds = READ_TIMEOUT.as_secs();
    let detail = format!("The request body did not arrive within {seconds} seconds.");
    Problem::new(ProblemType::RequestTimeout, detail)
}

fn too_large() -> Problem {
    let detail = format!("A request body may have at most {MAX_BODY_BYTES} bytes.");
    Problem::new(ProblemType::BodyTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_may_also_be_a_merge_patch() {
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
            assert_eq!(check_content_type(&headers, false).is_ok(), post, "{text}");
            assert_eq!(check_content_type(&headers, true).is_ok(), patch, "{text}");
        }
        assert!(check_content_type(&HeaderMap::new(), false).is_err());
    }

    #[test]
    fn a_compressed_body_is_refused_as_such() {
        for (encoding, is_taken) in [("gzip", false), ("br", false), ("Identity", true), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            let checked = check_content_type(&headers, false);
            assert_eq!(checked.is_ok(), is_taken, "{encoding}");
        }
    }

    #[test]
    fn a_byte_order_mark_of_any_encoding_is_named() {
        for body in [b"\xEF\xBB\xBF{}".as_slice(), b"\xFF\xFE{\0}\0", b"\xFE\xFF\0{\0}"] {
            let refused = read_object(body).expect_err("a refusal");
            assert!(format!("{refused:?}").contains("byte order mark"), "{refused:?}");
        }
    }
}

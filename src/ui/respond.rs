//! Answers: pages, redirections, and the headers that all of them have.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::assets::compress;
use super::session_cookie::CookieSlot;
use super::state::UiState;

/// Content-Security-Policy (CSP) of every page: only our own files, and no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    ),
];

/// A page of this template.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let html_type = (
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            );
            (status, [html_type], html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a template could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page that no cache and no history keeps.
pub(super) fn secret_page(template: &impl Template) -> Response {
    let mut response = page(StatusCode::OK, template);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 303: the browser reads `path` next.
pub(super) fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // Paths are made of escaped segments and ids.
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// Adds the headers that every page has.
pub(super) async fn add_headers(State(state): State<UiState>, mut request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT_ENCODING);
    let takes_gzip = accepts
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let cookie = CookieSlot::default();
    request.extensions_mut().insert(cookie.clone());
    let mut response = next.run(request).await;
    if takes_gzip {
        response = compressed(response).await;
    }
    if let Some(cookie) = cookie.take() {
        // The page's own cookie, which ends or replaces the session, counts.
        response.headers_mut().entry(header::SET_COOKIE).or_insert(cookie);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if state.config().is_https() {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

/// A page compressed, unless it holds a secret: its length would tell of it.
async fn compressed(response: Response) -> Response {
    let headers = response.headers();
    let has = |name: HeaderName, start: &str| {
        headers
            .get(name)
            .is_some_and(|value| value.as_bytes().starts_with(start.as_bytes()))
    };
    let is_page = has(header::CONTENT_TYPE, "text/html") && !headers.contains_key(header::CONTENT_ENCODING);
    if !is_page || has(header::CACHE_CONTROL, "no-store") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A page lies in memory already.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, compress(&bytes).into())
}

//! The document and the page that is made of it. Neither asks for a token.

mod page;
mod schema_table;
mod html;

use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::openapi::openapi;
use super::problem::Problem;
use super::query::refuse_needless;

/// The page has no script, and its one style is its own.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Path of the page's style.
pub(super) const STYLE_PATH: &str = "/api/docs.css";

/// `GET /api/openapi.json`
pub(super) async fn document(parts: Parts) -> Result<Response, Problem> {
    refuse_needless(&parts)?;
    Ok(with_type("application/json", openapi().to_string()))
}

/// `GET /api/docs`
pub(super) async fn page(parts: Parts) -> Result<Response, Problem> {
    refuse_needless(&parts)?;
    let mut response = with_type("text/html; charset=utf-8", page::render(openapi(), STYLE_PATH));
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `GET /api/docs.css`
pub(super) async fn style(parts: Parts) -> Result<Response, Problem> {
    refuse_needless(&parts)?;
    let style = include_str!("reference/style.css").to_owned();
    Ok(with_type("text/css; charset=utf-8", style))
}

fn with_type(media: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media))], body).into_response()
}

#[cfg(test)]
mod tests;

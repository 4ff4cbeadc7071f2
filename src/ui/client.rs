//! Calls of the API inside the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;

use super::failure::PageFailure;
use super::reply::Reply;
use super::state::UiState;
use crate::record::delivery_pages::{AlsoTried, CountUpTo};
use crate::record::sessions::{SignedIn, SiteOfPage};
use crate::record::tokens::TokenRecord;

/// Most bytes of an answer: a page of deliveries with their payloads and more.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The API with the rights of a session. Of all calls for one page the first counts against the
/// session's rate.
#[derive(Debug)]
pub(super) struct PageApi {
    state: UiState,
    token: TokenRecord,
    /// The page's site, if it was read with the session.
    site: Option<Arc<SiteOfPage>>,
    is_counted: AtomicBool,
}

impl PageApi {
    pub(super) fn new(state: UiState, token: TokenRecord, site: Option<Arc<SiteOfPage>>) -> Self {
        Self {
            state,
            token,
            site,
            is_counted: AtomicBool::new(false),
        }
    }

    /// The same rights, with a site that was read otherwise.
    pub(super) fn with_site(&self, site: Option<SiteOfPage>) -> Self {
        Self::new(self.state.clone(), self.token.clone(), site.map(Arc::new))
    }

    /// The page's site, if it was read with the session. Whether that may read it, a call tells.
    pub(super) fn known_site(&self) -> Option<&Arc<SiteOfPage>> {
        self.site.as_ref()
    }

    /// Reads something; anything but a success is a failure of the page.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PageFailure> {
        self.read(self.request(Method::GET, path, None, None)?).await
    }

    /// Reads a list, and with it what tells how a failing webhook fails.
    pub(super) async fn get_with_tried<T: DeserializeOwned>(&self, path: &str) -> Result<T, PageFailure> {
        let mut request = self.request(Method::GET, path, None, None)?;
        request.extensions_mut().insert(AlsoTried);
        self.read(request).await
    }

    async fn read<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, PageFailure> {
        let (parts, bytes) = answer(&self.state, request).await?;
        if !parts.status.is_success() {
            return Err(match parts.status {
                // The address of the page holds what the API cannot read.
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => PageFailure::unreadable_query(),
                _ => PageFailure::of_reply(&to_reply(parts, &bytes)?),
            });
        }
        // From the text: a payload is shown as it is.
        serde_json::from_slice(&bytes).map_err(|error| PageFailure::internal(&error))
    }

    /// Counts deliveries: up to `limit`, and one more if there are more.
    pub(super) async fn count(&self, path: &str, limit: u32) -> Result<usize, PageFailure> {
        let mut request = self.request(Method::GET, path, None, None)?;
        request.extensions_mut().insert(CountUpTo(limit));
        let reply = send(&self.state, request).await?.or_failure()?;
        let count = reply.body["count"].as_u64().unwrap_or_default();
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Calls for a change. The caller looks at the status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        once: Option<&str>,
    ) -> Result<Reply, PageFailure> {
        send(&self.state, self.request(method, path, body, once)?).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        once: Option<&str>,
    ) -> Result<Request<Body>, PageFailure> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(once) = once {
            request = request.header("idempotency-key", once);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request
            .body(body)
            .map_err(|error| PageFailure::internal(&error))?;
        request.extensions_mut().insert(SignedIn {
            token: self.token.clone(),
            is_counted: !self.is_counted.swap(true, Ordering::Relaxed),
        });
        if let Some(site) = &self.site {
            request.extensions_mut().insert(Arc::clone(site));
        }
        Ok(request)
    }
}

/// Sends a request to the API and reads its answer.
pub(super) async fn send(state: &UiState, request: Request<Body>) -> Result<Reply, PageFailure> {
    let (parts, bytes) = answer(state, request).await?;
    to_reply(parts, &bytes)
}

async fn answer(state: &UiState, request: Request<Body>) -> Result<(Parts, Bytes), PageFailure> {
    let Ok(response) = state.api().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_ANSWER_BYTES)
        .await
        .map_err(|error| PageFailure::internal(&error))?;
    Ok((parts, bytes))
}

fn to_reply(parts: Parts, bytes: &[u8]) -> Result<Reply, PageFailure> {
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(bytes).map_err(|error| PageFailure::internal(&error))?,
    };
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// Reads the body of a success.
pub(super) fn read<T: DeserializeOwned>(reply: Reply) -> Result<T, PageFailure> {
    serde_json::from_value(reply.body).map_err(|error| PageFailure::internal(&error))
}

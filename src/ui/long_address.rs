//! Refuses addresses that are longer than any of ours.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::failure::PageFailure;

/// Longest address of a page with its query.
const MAX_ADDRESS_BYTES: usize = 16 * 1024;

/// Answers a request with a long address by a page that says so. Of one that is longer than 64 KiB
/// the HTTP server itself says so, without a page.
pub(super) async fn refuse_long_addresses(request: Request, next: Next) -> Response {
    let address = request.uri();
    let query = address.query().map_or(0, str::len);
    match address.path().len() + query > MAX_ADDRESS_BYTES {
        true => PageFailure::long_address().into_response(),
        false => next.run(request).await,
    }
}

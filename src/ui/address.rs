//! The path and the query of a page: what cannot be read is answered by a page, too.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::failure::PageFailure;

/// The parameters in the path of a page.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

/// The query of a page.
#[derive(Debug)]
pub(super) struct PageQuery<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = PageFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageFailure> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        // A segment that is not UTF-8 names nothing.
        read.map(|axum::extract::Path(ids)| Self(ids))
            .map_err(|_| PageFailure::not_found())
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for PageQuery<T> {
    type Rejection = PageFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageFailure> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Self(query))
            .map_err(|_| PageFailure::unreadable_query())
    }
}

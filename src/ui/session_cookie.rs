//! The cookie that extends a session, on its way into the answer.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;

/// A place for the cookie that an answer takes along.
#[derive(Debug, Clone, Default)]
pub(super) struct CookieSlot(Arc<Mutex<Option<HeaderValue>>>);

impl CookieSlot {
    pub(super) fn set(&self, cookie: HeaderValue) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
    }

    /// Removes the cookie.
    pub(super) fn take(&self) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

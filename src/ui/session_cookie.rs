//! Cookies: reading them, writing them, and the one that extends a session on its way into the
//! answer.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use chrono::TimeDelta;

use super::state::UiState;

/// Longer than any of our cookies' texts.
const MAX_TEXT_BYTES: usize = 128;

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

/// The text of the cookie of this name.
pub(super) fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, text)| text)
        .filter(|text| text.len() <= MAX_TEXT_BYTES)
}

/// A cookie that no script reads and no other origin's form takes along. An empty life ends it.
pub(super) fn set_cookie(state: &UiState, name: &str, text: &str, life: TimeDelta) -> Option<HeaderValue> {
    let secure = if state.config().is_secure() {
        "; Secure"
    } else {
        ""
    };
    let seconds = life.num_seconds();
    HeaderValue::try_from(format!(
        "{name}={text}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    ))
    .ok()
}

/// The answer with a cookie more.
pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

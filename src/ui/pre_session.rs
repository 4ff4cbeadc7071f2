//! Forms before there is a session: signing in, and opening a link.
//!
//! Such a page gives the browser a cookie of its own, and its form the token of that cookie. Who
//! cannot read the page cannot make a browser send both: nobody is signed in by somebody else's
//! page, even if its `Origin` were believed.

use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::origin::form_token;
use super::session_cookie::{cookie_of, set_cookie, with_cookie};
use super::state::UiState;
use crate::chance;

const SECURE_COOKIE: &str = "__Host-bw-form";
const PLAIN_COOKIE: &str = "bw-form";
/// Time until the form has to be loaded again.
const LIFE: TimeDelta = TimeDelta::hours(1);
/// Characters of a cookie's text: 32 random bytes in base64.
const TEXT_CHARS: usize = 43;

/// The cookie of a browser without a session.
#[derive(Debug)]
pub(super) struct PreSession(String);

impl PreSession {
    /// The one that the browser has, or a new one. A second tab leaves the first one's form valid.
    pub(super) fn of(headers: &HeaderMap, state: &UiState) -> Self {
        let known = Self::known(headers, state);
        known.unwrap_or_else(|| Self(URL_SAFE_NO_PAD.encode(chance::bytes::<32>())))
    }

    fn known(headers: &HeaderMap, state: &UiState) -> Option<Self> {
        let text = cookie_of(headers, cookie_name(state))?;
        (text.len() == TEXT_CHARS).then(|| Self(text.to_owned()))
    }

    /// The text of the cookie: a secret of the browser.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The token of the form.
    pub(super) fn token(&self) -> String {
        form_token(&self.0)
    }

    /// True if the form was shown to the browser that sent it.
    pub(super) fn is_own_token(headers: &HeaderMap, state: &UiState, given: &str) -> bool {
        Self::known(headers, state).is_some_and(|known| known.token() == given)
    }

    /// Gives the cookie to the browser.
    pub(super) fn keep(&self, response: Response, state: &UiState) -> Response {
        with_cookie(response, set_cookie(state, cookie_name(state), &self.0, LIFE))
    }
}

fn cookie_name(state: &UiState) -> &'static str {
    match state.config().is_secure() {
        true => SECURE_COOKIE,
        false => PLAIN_COOKIE,
    }
}

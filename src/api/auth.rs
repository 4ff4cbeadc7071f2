//! Authentication: the token of a request, and how often it may be used.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::clock;
use crate::record::sessions::SignedIn;
use crate::record::tokens::{self, TOKEN_PREFIX, TokenRecord};

use super::caller::Caller;
use super::client_address::client_address;
use super::connection_share::with_share;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::ApiState;

/// More than any token has.
const MAX_TOKEN_BYTES: usize = 128;

/// Lets requests with a valid token through, within the rate of the token, and adds the `RateLimit`
/// headers to their answers. A page that calls from inside the process says itself who is signed
/// in: no request from outside has that extension.
pub(super) async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(signed_in) = request.extensions_mut().remove::<SignedIn>() {
        return let_through(&state, signed_in, request, next).await;
    }
    let address = client_address(&request, &state.config.trusted_proxies);
    let token = match find_token(&state, bearer(request.headers()), address).await {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let signed_in = SignedIn {
        token,
        is_counted: true,
    };
    let_through(&state, signed_in, request, next).await
}

/// Lets the request of a known caller through, within the rate of the caller.
async fn let_through(state: &ApiState, caller: SignedIn, mut request: Request, next: Next) -> Response {
    let SignedIn { token, is_counted } = caller;
    let id = token.id.uuid();
    request.extensions_mut().insert(Caller::new(token));
    let answer = with_share(state.shares.of_caller(id), next.run(request));
    if !is_counted {
        return answer.await;
    }
    let taken = state.token_rate.take(id);
    let allowance = taken.unwrap_or_else(|refused| refused);
    let mut response = if taken.is_ok() {
        answer.await
    } else {
        let detail = "Send fewer requests. The RateLimit-Policy header gives the number of requests that a token may make.";
        Problem::new(ProblemType::RateLimited, detail)
            .retry_after_seconds(allowance.retry_after_seconds)
            .into_response()
    };
    state.token_rate.describe(allowance, response.headers_mut());
    response
}

/// Looks the token up. A failure counts against `address`; once too many have failed, tokens that
/// were never valid here are looked up one at a time, and refused if another one is.
async fn find_token(state: &ApiState, token: Option<&str>, address: IpAddr) -> Result<TokenRecord, Problem> {
    let token = token.ok_or_else(Problem::unauthenticated)?;
    // A text that cannot be a token costs no query.
    let found = if token.starts_with(TOKEN_PREFIX) && token.len() <= MAX_TOKEN_BYTES {
        let suspect = state.failed_logins.wait(address, clock::monotonic());
        let hash = tokens::hash(token);
        let Some(permit) = state.shares.for_look_up(&hash, suspect.is_some()).await else {
            return Err(suspect.map_or_else(too_many_look_ups, too_many_failed));
        };
        let mut conn = state.look_up(permit).await?;
        let found = tokens::find(&mut conn, token, clock::now()).await?;
        let id = found.as_ref().map(|token| token.id.uuid());
        state.shares.looked_up(hash, id);
        found
    } else {
        None
    };
    found.ok_or_else(|| match state.failed_logins.count(address, clock::monotonic()) {
        Ok(()) => Problem::unauthenticated(),
        Err(seconds) => too_many_failed(seconds),
    })
}

fn too_many_failed(seconds: u64) -> Problem {
    let detail = "Wait for the time in the Retry-After header before the next attempt.";
    Problem::new(ProblemType::TooManyFailedLogins, detail).retry_after_seconds(seconds)
}

/// Too many look-ups wait, or the caller's own requests hold its share of connections.
fn too_many_look_ups() -> Problem {
    let detail = "The token could not be looked up in time. Try again.";
    Problem::new(ProblemType::Unavailable, detail).retry_after_seconds(1)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for (text, wanted) in [
            ("Bearer bw_x", Some("bw_x")),
            ("bearer  bw_x ", Some("bw_x")),
            ("Basic bw_x", None),
            ("bw_x", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(text));
            assert_eq!(bearer(&headers), wanted, "{text}");
        }
    }
}

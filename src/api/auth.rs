//! Who calls, and what they may see and do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use uuid::Uuid;

use crate::clock;
use crate::domain::site::SiteId;
use crate::record::audit;
use crate::record::tokens::{self, Role, Scope, TOKEN_PREFIX, TokenRecord};

use super::ApiState;
use super::problem::{Kind, Problem};

/// More than any token has.
const MAX_TOKEN_BYTES: usize = 128;

/// The owner of a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller(TokenRecord);

impl Caller {
    /// Whether the caller may see the site. One outside the token's scope does not exist for it.
    pub(super) fn may_read(&self, site_id: &SiteId) -> Result<(), Problem> {
        match &self.0.scope {
            Scope::Admin => Ok(()),
            Scope::Sites(sites) if sites.iter().any(|site| site == site_id.as_str()) => Ok(()),
            Scope::Sites(_) => Err(Problem::not_found("site")),
        }
    }

    /// Whether the caller may change what belongs to the site.
    pub(super) fn may_write(&self, site_id: &SiteId) -> Result<(), Problem> {
        self.may_read(site_id)?;
        match self.0.role {
            Role::Editor => Ok(()),
            Role::Viewer => Err(Problem::new(
                Kind::Forbidden,
                "This token is a viewer's: you can look but not change.",
            )),
        }
    }

    /// Which token it is.
    pub(super) fn token_id(&self) -> Uuid {
        self.0.id
    }

    /// The sites of the token, or `None` for all.
    pub(super) fn sites(&self) -> Option<&[String]> {
        match &self.0.scope {
            Scope::Admin => None,
            Scope::Sites(sites) => Some(sites),
        }
    }

    /// An entry for the audit log.
    pub(super) fn did<'a>(
        &'a self,
        action: &'a str,
        site_id: &'a SiteId,
        object: Option<&'a str>,
    ) -> audit::Entry<'a> {
        audit::Entry {
            token_id: Some(self.0.id),
            subject: &self.0.subject,
            action,
            site_id: Some(site_id.as_str()),
            object,
            fields: &[],
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // There on every route behind `authenticate`; a route that was put elsewhere by mistake is closed, not open.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(unauthenticated)
    }
}

/// Lets requests with a valid token through, as often as they may come, and tells them how often that is.
pub(super) async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = client_address(&request, &state.config.trusted_proxies);
    let token = match find(&state, bearer(request.headers()), address).await {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let taken = state.token_rate.take(token.id);
    let allowance = taken.unwrap_or_else(|refused| refused);
    let mut response = if taken.is_ok() {
        request.extensions_mut().insert(Caller(token));
        next.run(request).await
    } else {
        let detail = "Slow down; RateLimit-Policy says how often a token may be used.";
        Problem::new(Kind::RateLimited, detail)
            .retry_after(allowance.retry_after_seconds)
            .into_response()
    };
    state.token_rate.describe(allowance, response.headers_mut());
    response
}

async fn find(state: &ApiState, token: Option<&str>, address: IpAddr) -> Result<TokenRecord, Problem> {
    let token = token.ok_or_else(unauthenticated)?;
    // What cannot be a token is not looked for.
    let found = if token.starts_with(TOKEN_PREFIX) && token.len() <= MAX_TOKEN_BYTES {
        let mut conn = state.read().await?;
        tokens::find(&mut conn, token, clock::now()).await?
    } else {
        None
    };
    found.ok_or_else(|| match state.failed_logins.note(address, clock::monotonic()) {
        Ok(()) => unauthenticated(),
        Err(seconds) => {
            Problem::new(Kind::TooManyFailedLogins, "Wait before the next try.").retry_after(seconds)
        }
    })
}

fn unauthenticated() -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        "Send `Authorization: Bearer bw_…` with a token that is in force.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The address that the request came from. What a proxy says counts only if the proxy is ours to trust, and then the
/// last address that is not a proxy's: what stands before that, the client may have written itself.
fn client_address(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| {
            info.0.ip().to_canonical()
        });
    let forwarded = request.headers().get_all("x-forwarded-for");
    let hops: Vec<&str> = forwarded
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    for hop in hops.iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn came_from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut request = Request::new(Body::empty());
        let peer: IpAddr = peer.parse().expect("an address");
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from((peer, 1234))));
        for value in forwarded {
            request
                .headers_mut()
                .append("x-forwarded-for", HeaderValue::from_str(value).expect("a header"));
        }
        let trusted: Vec<IpNet> = trusted
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        client_address(&request, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_may_say_who_called() {
        let ours = ["10.0.0.0/8"];
        for (peer, forwarded, trusted, wanted) in [
            ("192.0.2.1", vec!["198.51.100.1"], &ours[..], "192.0.2.1"),
            ("10.0.0.1", vec!["198.51.100.1"], &[], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1"], &ours, "198.51.100.1"),
            (
                "10.0.0.1",
                vec!["203.0.113.7, 198.51.100.1, 10.0.0.2"],
                &ours,
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec!["203.0.113.7", "198.51.100.1"],
                &ours,
                "198.51.100.1",
            ),
            ("10.0.0.1", vec!["nonsense"], &ours, "10.0.0.1"),
            ("10.0.0.1", vec![], &ours, "10.0.0.1"),
            ("::ffff:10.0.0.1", vec!["2001:db8::1"], &ours, "2001:db8::1"),
        ] {
            assert_eq!(
                came_from(peer, &forwarded, trusted),
                wanted,
                "{peer} {forwarded:?}"
            );
        }
    }

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

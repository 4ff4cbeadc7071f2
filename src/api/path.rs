//! The ids in a request's path.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::id::{DeliveryId, GoalId, WebhookId};
use crate::domain::site::SiteId;

use super::problem::Problem;
use super::validate::Errors;

/// What need not be escaped in a segment (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parameters of the route, percent-decoded; each is one segment, so a site id may hold `/` as `%2F`.
#[derive(Debug)]
pub(super) struct PathIds(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for PathIds {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is no UTF-8 names nothing.
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("page"))?;
        Ok(Self(
            params
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }
}

impl PathIds {
    /// The site; an id that no site can have is one that no site has.
    pub(super) fn site(&self) -> Result<SiteId, Problem> {
        self.parse("site_id", "site")
    }

    /// The site of a call that may register it: here the caller learns what is wrong with the id.
    pub(super) fn new_site(&self) -> Result<SiteId, Problem> {
        self.value("site_id").parse().map_err(|error| {
            let mut errors = Errors::default();
            errors.add("/site_id", "invalid", format!("{error}"));
            Problem::invalid(errors)
        })
    }

    pub(super) fn webhook(&self) -> Result<WebhookId, Problem> {
        self.parse("webhook_id", "webhook")
    }

    pub(super) fn goal(&self) -> Result<GoalId, Problem> {
        self.parse("goal_id", "goal")
    }

    pub(super) fn delivery(&self) -> Result<DeliveryId, Problem> {
        self.parse("delivery_id", "delivery")
    }

    fn parse<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        self.value(name).parse().map_err(|_| Problem::not_found(what))
    }

    fn value(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

/// The path of a site's part of the API, for `Location`.
pub(super) fn site_path(site_id: &SiteId) -> String {
    format!("/api/sites/{}", utf8_percent_encode(site_id.as_str(), SEGMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_id_is_one_segment_of_a_location() {
        let site = |id: &str| site_path(&id.parse().expect("a site id"));
        assert_eq!(site("example.com"), "/api/sites/example.com");
        assert_eq!(site("a/b ü?#"), "/api/sites/a%2Fb%20%C3%BC%3F%23");
    }
}

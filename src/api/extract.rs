//! The ids in a request's path: the site, once the caller may use it, and the objects of that site.
//!
//! Handlers get the id of a site from [`ReadableSite`], [`WritableSite`] or [`RegistrableSite`]
//! only. A handler that takes none of them has no id to ask Postgres with, and does not compile.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::clock;
use crate::domain::id::{DeliveryId, GoalId, JobId, TokenId, WebhookId};
use crate::domain::site::{SiteId, escape_segment};
use crate::record::sessions::SiteOfPage;

use super::caller::{Caller, Change};
use super::field_errors::{FieldCode, FieldErrors};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::query;

/// A site that the caller may read.
#[derive(Debug)]
pub(super) struct ReadableSite {
    id: SiteId,
    of_page: Option<Arc<SiteOfPage>>,
}

impl ReadableSite {
    pub(super) fn id(&self) -> &SiteId {
        &self.id
    }

    /// The site itself, if a page has read it already: then it is registered.
    pub(super) fn of_page(&self) -> Option<&SiteOfPage> {
        self.of_page.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReadableSite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let site_id = PathIds::from_request_parts(parts, state).await?.site()?;
        caller.check_read(&site_id)?;
        query::refuse_needless(parts)?;
        let of_page = parts.extensions.get::<Arc<SiteOfPage>>();
        let of_page = of_page
            .filter(|page| page.site.site_id == site_id.as_str())
            .cloned();
        Ok(Self { id: site_id, of_page })
    }
}

/// A site that the caller may change, with the caller.
#[derive(Debug, Clone)]
pub(super) struct WritableSite {
    id: SiteId,
    caller: Caller,
}

impl WritableSite {
    fn new(id: SiteId, caller: Caller, parts: &Parts) -> Result<Self, Problem> {
        caller.check_write(&id)?;
        query::refuse_needless(parts)?;
        Ok(Self { id, caller })
    }

    pub(super) fn id(&self) -> &SiteId {
        &self.id
    }

    /// The path of the site in the API, as `Location` needs it.
    pub(super) fn path(&self) -> String {
        site_path(&self.id)
    }

    /// Writes a change of the site, or of `object` in it, to the audit log.
    pub(super) async fn write_audit(
        &self,
        conn: &mut PgConnection,
        action: &'static str,
        object: Option<String>,
        body: Option<&Map<String, Value>>,
    ) -> Result<(), sqlx::Error> {
        let change = Change {
            action,
            site: Some(&self.id),
            object,
            body,
        };
        self.caller.write_audit(conn, change, clock::now()).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WritableSite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let site_id = PathIds::from_request_parts(parts, state).await?.site()?;
        Self::new(site_id, caller, parts)
    }
}

/// A [`WritableSite`] of a call that may register it: an id that no site can have is explained
/// instead of not found.
#[derive(Debug)]
pub(super) struct RegistrableSite(pub(super) WritableSite);

impl<S: Send + Sync> FromRequestParts<S> for RegistrableSite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let site_id = PathIds::from_request_parts(parts, state).await?.new_site()?;
        WritableSite::new(site_id, caller, parts).map(Self)
    }
}

/// Proof that the caller may see the tokens.
#[derive(Debug)]
pub(super) struct Admin;

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.check_admin()?;
        query::refuse_needless(parts)?;
        Ok(Self)
    }
}

/// A caller that may make and revoke tokens.
#[derive(Debug)]
pub(super) struct AdminEditor(Caller);

impl<S: Send + Sync> FromRequestParts<S> for AdminEditor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.check_admin()?;
        caller.check_editor()?;
        query::refuse_needless(parts)?;
        Ok(Self(caller))
    }
}

/// Proof that the caller may change something. A transaction that writes asks for one.
pub(super) trait MayWrite {
    fn caller(&self) -> &Caller;
    /// The site that the change belongs to; `None` for tokens.
    fn changed_site(&self) -> Option<&SiteId>;
}

impl MayWrite for WritableSite {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn changed_site(&self) -> Option<&SiteId> {
        Some(&self.id)
    }
}

impl MayWrite for AdminEditor {
    fn caller(&self) -> &Caller {
        &self.0
    }

    fn changed_site(&self) -> Option<&SiteId> {
        None
    }
}

/// The parameters of the route, percent-decoded. Each is one segment: a site id holds `/` as `%2F`.
#[derive(Debug)]
pub(super) struct PathIds(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for PathIds {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // A segment that is not UTF-8 is the id of nothing.
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("path"))?;
        Ok(Self(
            params
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }
}

impl PathIds {
    pub(super) fn webhook(&self) -> Result<WebhookId, Problem> {
        self.parse("webhook_id", "webhook")
    }

    pub(super) fn goal(&self) -> Result<GoalId, Problem> {
        self.parse("goal_id", "goal")
    }

    pub(super) fn token(&self) -> Result<TokenId, Problem> {
        self.parse("token_id", "token")
    }

    pub(super) fn delivery(&self) -> Result<DeliveryId, Problem> {
        self.parse("delivery_id", "delivery")
    }

    pub(super) fn job(&self) -> Result<JobId, Problem> {
        self.parse("job_id", "recovery")
    }

    /// The site. It stays private here: handlers get a site with the proof that the caller may use
    /// it.
    fn site(&self) -> Result<SiteId, Problem> {
        self.parse("site_id", "site").inspect(record_in_span)
    }

    /// The site, with an explanation of an id that no site can have.
    fn new_site(&self) -> Result<SiteId, Problem> {
        let site_id = self.value("site_id").parse().map_err(|error| {
            let mut errors = FieldErrors::default();
            errors.add("/site_id", FieldCode::Invalid, format!("{error}"));
            Problem::invalid(errors)
        });
        site_id.inspect(record_in_span)
    }

    fn parse<T: std::str::FromStr>(&self, name: &str, noun: &str) -> Result<T, Problem> {
        let text = self.value(name);
        text.parse().map_err(|_| {
            if text.to_ascii_lowercase().parse::<T>().is_ok() {
                let detail = format!("There is no such {noun}: ids are written in lower case.");
                Problem::new(ProblemType::NotFound, detail)
            } else {
                Problem::not_found(noun)
            }
        })
    }

    fn value(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

/// Adds the site to the span of the request.
fn record_in_span(site_id: &SiteId) {
    tracing::Span::current().record("site.id", site_id.as_str());
}

fn site_path(site_id: &SiteId) -> String {
    format!("/api/sites/{}", escape_segment(site_id.as_str()))
}

#[cfg(test)]
mod tests;

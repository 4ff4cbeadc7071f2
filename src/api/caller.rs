//! The caller of a request: the owner of a valid token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;

#[cfg(test)]
use crate::domain::id::TokenId;
use crate::domain::site::SiteId;
use crate::record::audit;
use crate::record::tokens::{Role, Scope, TokenRecord};

use super::problem::Problem;
use super::problem_type::ProblemType;

/// The owner of a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller(TokenRecord);

impl Caller {
    pub(super) fn new(token: TokenRecord) -> Self {
        Self(token)
    }

    /// The owner of a token with this scope and role.
    #[cfg(test)]
    pub(super) fn of_test(scope: Scope, role: Role) -> Self {
        Self(TokenRecord {
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            subject: "a test".to_owned(),
            scope,
            role,
            prefix: String::new(),
            inserted_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
        })
    }

    /// Refuses a site outside the token's scope as if it did not exist.
    pub(super) fn check_read(&self, site_id: &SiteId) -> Result<(), Problem> {
        match self.0.covers(site_id.as_str()) {
            true => Ok(()),
            false => Err(Problem::not_found("site")),
        }
    }

    /// Refuses a site outside the token's scope, and any change by a viewer.
    pub(super) fn check_write(&self, site_id: &SiteId) -> Result<(), Problem> {
        self.check_read(site_id)?;
        self.check_editor()
    }

    /// Refuses any change by a viewer.
    pub(super) fn check_editor(&self) -> Result<(), Problem> {
        match self.0.role {
            Role::Editor => Ok(()),
            Role::Viewer => Err(Problem::new(
                ProblemType::Forbidden,
                "The token has the role `viewer`, which may look at a site but not change it.",
            )),
        }
    }

    /// Refuses a token that is not for all sites.
    pub(super) fn check_admin(&self) -> Result<(), Problem> {
        match &self.0.scope {
            Scope::Admin => Ok(()),
            Scope::Sites(_) => Err(Problem::new(
                ProblemType::Forbidden,
                "Only an admin token may manage tokens; this token is for some sites.",
            )),
        }
    }

    pub(super) fn token_id(&self) -> uuid::Uuid {
        self.0.id.uuid()
    }

    /// Name of the token's owner in the audit log.
    pub(super) fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The sites in the token's scope, or `None` if it covers all.
    pub(super) fn sites(&self) -> Option<&[String]> {
        match &self.0.scope {
            Scope::Admin => None,
            Scope::Sites(sites) => Some(sites),
        }
    }

    /// Writes a change to the audit log, with the names of the fields that were given.
    pub(super) async fn write_audit(
        &self,
        conn: &mut PgConnection,
        change: Change<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let fields: Vec<String> = change
            .body
            .into_iter()
            .flat_map(|body| body.keys().cloned())
            .collect();
        let entry = audit::AuditEntry {
            token_id: Some(self.0.id.uuid()),
            subject: &self.0.subject,
            action: change.action,
            site_id: change.site.map(SiteId::as_str),
            object: change.object.as_deref(),
            fields: &fields,
        };
        audit::write(conn, entry, now).await
    }
}

/// A change that a caller makes.
#[derive(Debug)]
pub(super) struct Change<'a> {
    /// `noun.verb`, such as `webhook.create`.
    pub(super) action: &'static str,
    pub(super) site: Option<&'a SiteId>,
    /// Id of what changes, unless that is the site itself.
    pub(super) object: Option<String>,
    /// Request whose fields are named.
    pub(super) body: Option<&'a Map<String, Value>>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // `authenticate` puts it there. A route outside that layer is closed, not open.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthenticated)
    }
}

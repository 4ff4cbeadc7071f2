//! Reading a token to be made from a request's body.

use chrono::{DateTime, Utc};

use crate::domain::site::SiteId;
use crate::record::tokens::{Role, Scope};

use super::field_errors::{FieldCode, FieldErrors};
use super::problem::Problem;
use super::validate::BodyObject;

const FIELDS: [&str; 5] = ["admin", "sites", "role", "subject", "expires_at"];
const READ_ONLY: [&str; 5] = ["id", "token", "prefix", "inserted_at", "last_used_at"];
/// Most sites of one token.
pub(super) const MAX_SITES: usize = 1_000;
const MAX_SITE_ID_CHARS: usize = 255;
pub(super) use crate::record::tokens::MAX_SUBJECT_CHARS;

/// A token as it was asked for.
#[derive(Debug)]
pub(super) struct TokenInput {
    pub(super) subject: String,
    pub(super) scope: Scope,
    pub(super) role: Role,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// Reads a body, and names every bad field.
pub(super) fn read(body: &BodyObject<'_>, now: DateTime<Utc>) -> Result<TokenInput, Problem> {
    let mut errors = FieldErrors::default();
    body.refuse_other_fields(&FIELDS, &READ_ONLY, &mut errors);
    let scope = read_scope(body, &mut errors);
    let role = body.word::<Role>("role", Role::WORDS, &mut errors);
    if role.is_none() && body.get("role").is_none() {
        body.require("role", "viewer or editor", &mut errors);
    }
    body.require("subject", "the name that the audit log shows", &mut errors);
    let subject = body.text("subject", MAX_SUBJECT_CHARS, &mut errors);
    let expires_at = body.time("expires_at", &mut errors);
    if expires_at.is_some_and(|at| at <= now) {
        let detail = "The time has passed already.";
        errors.add("/expires_at", FieldCode::OutOfRange, detail);
    }
    match (scope, role, subject) {
        (Some(scope), Some(role), Some(subject)) if errors.is_empty() => Ok(TokenInput {
            subject: subject.to_owned(),
            scope,
            role,
            expires_at,
        }),
        _ => Err(Problem::invalid(errors)),
    }
}

fn read_scope(body: &BodyObject<'_>, errors: &mut FieldErrors) -> Option<Scope> {
    let is_admin = body.boolean("admin", errors);
    let given = body.get("sites").is_some();
    if is_admin == Some(true) {
        if given {
            let detail = "An admin token is for every site: leave this field out.";
            errors.add("/sites", FieldCode::NotApplicable, detail);
        }
        return Some(Scope::Admin);
    }
    if !given {
        body.require(
            "sites",
            "the sites of the token, or `admin`: true for all",
            errors,
        );
        return None;
    }
    let texts = body.texts("sites", MAX_SITES, MAX_SITE_ID_CHARS, errors)?;
    for (index, text) in texts.iter().enumerate() {
        if let Err(error) = text.parse::<SiteId>() {
            errors.add(format!("/sites/{index}"), FieldCode::Invalid, error.to_string());
        }
    }
    Some(Scope::Sites(texts))
}

//! The call that makes a link which opens the pages of a site.

use axum::extract::State;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::record::portal_links::{self, NewLink};
use crate::record::tokens::Role;

use super::answer::{self, time};
use super::body::OptionalJsonBody;
use super::extract::{MayWrite as _, WritableSite};
use super::field_errors::FieldErrors;
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::sites::find as find_site;
use super::state::ApiState;
use super::validate::BodyObject;

const FIELDS: [&str; 2] = ["role", "expires_in_seconds"];
pub(super) const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<u32> = 1..=3_600;
/// Fifteen minutes: time to send a mail and to open it.
pub(super) const DEFAULT_EXPIRES_IN_SECONDS: u32 = 900;

/// `POST /api/sites/{site_id}/portal-links`
pub(super) async fn create(
    State(state): State<ApiState>,
    site: WritableSite,
    key: IdempotencyKey,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let path = format!("{}/portal-links", site.path());
    let base = base_url(&state, &headers);
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        async move { create_once(state, site, &base, body, execution).await }.boxed()
    })
    .await
}

async fn create_once(
    state: &ApiState,
    site: &WritableSite,
    base: &str,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let (role, seconds) = read(&BodyObject::root(body))?;
    let now = clock::now();
    let mut tx = state.write(site).await?;
    find_site(&mut tx, site.id()).await?;
    let expires_at = now + TimeDelta::seconds(seconds.unwrap_or(DEFAULT_EXPIRES_IN_SECONDS).into());
    let caller = site.caller();
    let link = NewLink {
        parent: Some(caller.token_id()),
        subject: caller.subject(),
        sites: &[site.id().as_str().to_owned()],
        role: role.unwrap_or(Role::Editor),
        expires_at,
    };
    let link = portal_links::create_link(&mut tx, link, now).await?;
    site.write_audit(&mut tx, "portal_link.create", None, Some(body))
        .await?;
    let mut answered = json!({"expires_at": time(expires_at)});
    execution
        .store_answer(&mut tx, StatusCode::CREATED, None, &answered)
        .await?;
    tx.commit().await?;
    answered["url"] = format!("{base}/p/{link}").into();
    Ok(answer::created_without_location(&answered))
}

/// Reads the role and the seconds of validity, both of which may be left out.
pub(super) fn read(body: &BodyObject<'_>) -> Result<(Option<Role>, Option<u32>), Problem> {
    let mut errors = FieldErrors::default();
    body.refuse_unknown(&FIELDS, &mut errors);
    // Only editors get here, so no role is above the caller's.
    let role = body.word("role", Role::WORDS, &mut errors);
    let seconds = body.integer("expires_in_seconds", EXPIRES_IN_SECONDS, &mut errors);
    Problem::check(errors)?;
    Ok((role, seconds))
}

/// The address at which users reach the pages: `http.public_url`, or the one that the caller used.
fn base_url(state: &ApiState, headers: &HeaderMap) -> String {
    match &state.config.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            format!("http://{}", host.unwrap_or("localhost"))
        }
    }
}

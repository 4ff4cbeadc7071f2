//! The calls that make, list and revoke tokens.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::domain::id::TokenId;
use crate::record::tokens::{self, NewToken, Scope, TokenRecord};

use super::answer::{self, Page, optional_time, time};
use super::body::JsonBody;
use super::caller::Change;
use super::extract::{Admin, AdminEditor, MayWrite as _, PathIds};
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use super::token_input;
use super::validate::BodyObject;

const PATH: &str = "/api/tokens";

/// `GET /api/tokens?limit=&after=`: tokens that are not revoked, newest first.
pub(super) async fn list(State(state): State<ApiState>, _: Admin, query: Query) -> Result<Response, Problem> {
    let mut errors = query.check_names();
    let (limit, after) = (query.limit(&mut errors), query.after::<TokenId>(&mut errors));
    Problem::check(errors)?;
    let mut conn = state.read().await?;
    let found = tokens::list(&mut conn, after, i64::from(limit) + 1).await?;
    let (found, has_more) = answer::cut(found, limit);
    let next = found
        .last()
        .filter(|_| has_more)
        .map(|token| token.id.to_string());
    let data: Vec<Value> = found.iter().map(to_answer).collect();
    Ok(answer::ok(&Page { data, next }))
}

/// `POST /api/tokens`
pub(super) async fn create(
    State(state): State<ApiState>,
    admin: AdminEditor,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let path = PATH.to_owned();
    key.run_once(state, admin, path, body, move |state, admin, body, execution| {
        create_once(state, admin, body, execution).boxed()
    })
    .await
}

async fn create_once(
    state: &ApiState,
    admin: &AdminEditor,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let now = clock::now();
    let input = token_input::read(&BodyObject::root(body), now)?;
    let new = NewToken {
        subject: &input.subject,
        scope: &input.scope,
        role: input.role,
        expires_at: input.expires_at,
    };
    let mut tx = state.write(admin).await?;
    let (id, token) = tokens::create(&mut tx, new, now).await?;
    let change = Change {
        action: "token.create",
        site: None,
        object: Some(id.to_string()),
        body: Some(body),
    };
    admin.caller().write_audit(&mut tx, change, now).await?;
    let stored = tokens::get(&mut tx, id)
        .await?
        .ok_or_else(|| Problem::not_found("token"))?;
    let mut answered = to_answer(&stored);
    let location = format!("{PATH}/{id}");
    execution
        .store_answer(&mut tx, StatusCode::CREATED, Some(&location), &answered)
        .await?;
    tx.commit().await?;
    answered["token"] = token.into();
    Ok(answer::created(&location, &answered))
}

/// `DELETE /api/tokens/{token_id}`
pub(super) async fn revoke(
    State(state): State<ApiState>,
    admin: AdminEditor,
    ids: PathIds,
) -> Result<Response, Problem> {
    let id = ids.token()?;
    let now = clock::now();
    let mut tx = state.write(&admin).await?;
    if !tokens::revoke(&mut tx, id, now).await? {
        return Err(Problem::not_found("token"));
    }
    let change = Change {
        action: "token.revoke",
        site: None,
        object: Some(id.to_string()),
        body: None,
    };
    admin.caller().write_audit(&mut tx, change, now).await?;
    tx.commit().await?;
    Ok(answer::no_content())
}

fn to_answer(token: &TokenRecord) -> Value {
    let (is_admin, sites) = match &token.scope {
        Scope::Admin => (true, [].as_slice()),
        Scope::Sites(sites) => (false, sites.as_slice()),
    };
    json!({
        "id": token.id,
        "subject": token.subject,
        "admin": is_admin,
        "sites": sites,
        "role": token.role,
        "prefix": token.prefix,
        "expires_at": optional_time(token.expires_at),
        "last_used_at": optional_time(token.last_used_at),
        "inserted_at": time(token.inserted_at),
    })
}

//! The calls that make, read, change and delete goals.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::domain::goal::GoalRule;
use crate::domain::id::GoalId;
use crate::domain::site::SiteId;
use crate::record::goals::{self, GoalError, GoalRecord};
use crate::record::{audit, sites};
use crate::{chance, clock};

use super::ApiState;
use super::answer::{self, Page, time};
use super::auth::Caller;
use super::body::JsonObject;
use super::goal_input::read_settings;
use super::idempotency::{IdempotencyKey, Work};
use super::path::{PathIds, site_path};
use super::problem::{Kind, Problem};
use super::validate::{Errors, Object};

/// `POST /api/sites/{site_id}/goals`
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    key: IdempotencyKey,
    JsonObject(body): JsonObject,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_write(&site_id)?;
    let path = format!("{}/goals", site_path(&site_id));
    let make = async |work: &Work| make(&state, &caller, &site_id, &body, work).await;
    key.once(&state, &caller, &path, &body, make).await
}

async fn make(
    state: &ApiState,
    caller: &Caller,
    site_id: &SiteId,
    body: &Map<String, Value>,
    work: &Work,
) -> Result<Response, Problem> {
    let mut errors = Errors::default();
    let settings = read_settings(&Object::root(body), &mut errors).ok_or_else(|| Problem::invalid(errors))?;
    let now = clock::now();
    let id = GoalId::new_v7(now.timestamp_millis(), chance::bytes());
    let mut tx = state.write().await?;
    goals::create(&mut tx, site_id, id, &settings, now).await?;
    note(&mut tx, caller, "goal.create", site_id, id, body).await?;
    let made = to_answer(&read(&mut tx, site_id, id).await?);
    let location = format!("{}/goals/{id}", site_path(site_id));
    work.keep(&mut tx, &location, &made).await?;
    tx.commit().await?;
    Ok(answer::created(&location, &made))
}

/// `GET /api/sites/{site_id}/goals`
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let mut conn = state.read().await?;
    if sites::get(&mut conn, &site_id).await?.is_none() {
        return Err(Problem::not_found("site"));
    }
    // As many as a site may have: one page.
    let goals = goals::list(&mut conn, Some(&[site_id.as_str().to_owned()])).await?;
    Ok(answer::json(
        StatusCode::OK,
        &Page {
            data: goals.iter().map(to_answer).collect(),
            next: None,
        },
    ))
}

/// `GET /api/sites/{site_id}/goals/{goal_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let mut conn = state.read().await?;
    let goal = read(&mut conn, &site_id, path.goal()?).await?;
    Ok(answer::json(StatusCode::OK, &to_answer(&goal)))
}

/// `PUT /api/sites/{site_id}/goals/{goal_id}`: replaces.
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    JsonObject(body): JsonObject,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_write(&site_id)?;
    let id = path.goal()?;
    let mut tx = state.write().await?;
    read(&mut tx, &site_id, id).await?;
    let mut errors = Errors::default();
    let settings =
        read_settings(&Object::root(&body), &mut errors).ok_or_else(|| Problem::invalid(errors))?;
    goals::replace(&mut tx, &site_id, id, &settings, clock::now()).await?;
    note(&mut tx, &caller, "goal.replace", &site_id, id, &body).await?;
    let goal = read(&mut tx, &site_id, id).await?;
    tx.commit().await?;
    Ok(answer::json(StatusCode::OK, &to_answer(&goal)))
}

/// `DELETE /api/sites/{site_id}/goals/{goal_id}`
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_write(&site_id)?;
    let id = path.goal()?;
    let mut tx = state.write().await?;
    if !goals::delete(&mut tx, &site_id, id).await? {
        return Err(Problem::not_found("goal"));
    }
    note(&mut tx, &caller, "goal.delete", &site_id, id, &Map::new()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl From<GoalError> for Problem {
    fn from(error: GoalError) -> Self {
        match error {
            GoalError::NoSuchSite => Self::new(
                Kind::NotFound,
                "There is no such site. It is registered by PUT /api/sites/{site_id} or by its first webhook.",
            ),
            GoalError::NoSuchGoal => Self::not_found("goal"),
            GoalError::DuplicateName => Self::new(
                Kind::DuplicateGoal,
                "The names of a site's goals are all different.",
            ),
            GoalError::LimitReached => Self::new(
                Kind::GoalLimit,
                format!("A site has at most {} goals.", goals::MAX_PER_SITE),
            ),
            GoalError::Postgres(error) => error.into(),
        }
    }
}

async fn read(conn: &mut PgConnection, site_id: &SiteId, id: GoalId) -> Result<GoalRecord, Problem> {
    goals::get(conn, site_id, id)
        .await?
        .ok_or_else(|| Problem::not_found("goal"))
}

async fn note(
    conn: &mut PgConnection,
    caller: &Caller,
    action: &str,
    site_id: &SiteId,
    id: GoalId,
    body: &Map<String, Value>,
) -> Result<(), sqlx::Error> {
    let fields: Vec<String> = body.keys().cloned().collect();
    let object = id.to_string();
    audit::write(
        conn,
        audit::Entry {
            fields: &fields,
            ..caller.did(action, site_id, Some(&object))
        },
        clock::now(),
    )
    .await
}

fn to_answer(record: &GoalRecord) -> Value {
    let goal = &record.goal;
    let mut answer = Map::new();
    let mut insert = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    insert("id", json!(goal.id));
    insert("site_id", json!(record.site_id));
    insert("name", json!(goal.name));
    match &goal.rule {
        GoalRule::Event { event } => {
            insert("kind", json!("event"));
            insert("event", json!(event));
        }
        GoalRule::Page { path } => {
            insert("kind", json!("page"));
            insert("path", json!(path));
        }
        GoalRule::Scroll {
            path,
            scroll_threshold,
        } => {
            insert("kind", json!("scroll"));
            insert("path", json!(path));
            insert("scroll_threshold", json!(scroll_threshold));
        }
    }
    let props: Map<String, Value> = goal
        .props
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    insert("props", Value::Object(props));
    insert("inserted_at", json!(time(record.inserted_at)));
    insert("updated_at", json!(time(record.updated_at)));
    Value::Object(answer)
}

//! The calls that create, read, change and delete goals.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::domain::goal::GoalRule;
use crate::domain::id::GoalId;
use crate::domain::site::SiteId;
use crate::record::goals::{self, GoalError, GoalRecord};
use crate::{chance, clock};

use super::answer::{self, Page, time};
use super::body::JsonBody;
use super::extract::{PathIds, ReadableSite, WritableSite};
use super::field_errors::FieldErrors;
use super::goal_input::{READ_ONLY, read_settings};
use super::idempotency::{Execution, IdempotencyKey};
use super::merge;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::sites::check_registered;
use super::state::ApiState;
use super::validate::BodyObject;

/// `POST /api/sites/{site_id}/goals`
pub(super) async fn create(
    State(state): State<ApiState>,
    site: WritableSite,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let path = format!("{}/goals", site.path());
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        create_once(state, site, body, execution).boxed()
    })
    .await
}

async fn create_once(
    state: &ApiState,
    site: &WritableSite,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let mut errors = FieldErrors::default();
    let settings =
        read_settings(&BodyObject::root(body), &mut errors).ok_or_else(|| Problem::invalid(errors))?;
    let now = clock::now();
    let id = GoalId::new_v7(now.timestamp_millis(), chance::bytes());
    let mut tx = state.write(site).await?;
    goals::create(&mut tx, site.id(), id, &settings, now).await?;
    site.write_audit(&mut tx, "goal.create", Some(id.to_string()), Some(body))
        .await?;
    let created = to_answer(&find(&mut tx, site.id(), id).await?);
    let location = format!("{}/goals/{id}", site.path());
    execution
        .store_answer(&mut tx, StatusCode::CREATED, Some(&location), &created)
        .await?;
    tx.commit().await?;
    Ok(answer::created(&location, &created))
}

/// `GET /api/sites/{site_id}/goals`
pub(super) async fn list(State(state): State<ApiState>, site: ReadableSite) -> Result<Response, Problem> {
    let mut conn = state.read().await?;
    // The limit of goals a site may have keeps them on one page.
    let goals = goals::list(&mut conn, Some(&[site.id().as_str().to_owned()])).await?;
    if goals.is_empty() {
        check_registered(&mut conn, &site).await?;
    }
    Ok(answer::ok(&Page::only(goals.iter().map(to_answer).collect())))
}

/// `GET /api/sites/{site_id}/goals/{goal_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    site: ReadableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let mut conn = state.read().await?;
    let goal = find(&mut conn, site.id(), ids.goal()?).await?;
    Ok(answer::ok(&to_answer(&goal)))
}

/// `PUT /api/sites/{site_id}/goals/{goal_id}`: replaces the goal, and its name in webhooks.
pub(super) async fn replace(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let id = ids.goal()?;
    let mut tx = state.write(&site).await?;
    let before = find(&mut tx, site.id(), id).await?;
    let before = to_answer(&before).as_object().cloned().unwrap_or_default();
    let input = merge::without_read_only(&body, &before, &READ_ONLY, &["updated_at"]);
    let mut errors = FieldErrors::default();
    let settings =
        read_settings(&BodyObject::root(&input), &mut errors).ok_or_else(|| Problem::invalid(errors))?;
    let followed = goals::replace(&mut tx, site.id(), id, &settings, clock::now()).await?;
    site.write_audit(&mut tx, "goal.replace", Some(id.to_string()), Some(&body))
        .await?;
    let triggers = Map::from_iter([("triggers".to_owned(), Value::Null)]);
    for webhook in followed {
        site.write_audit(
            &mut tx,
            "webhook.update",
            Some(webhook.to_string()),
            Some(&triggers),
        )
        .await?;
    }
    let goal = find(&mut tx, site.id(), id).await?;
    tx.commit().await?;
    Ok(answer::ok(&to_answer(&goal)))
}

/// `DELETE /api/sites/{site_id}/goals/{goal_id}`
pub(super) async fn delete(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let id = ids.goal()?;
    let mut tx = state.write(&site).await?;
    goals::delete(&mut tx, site.id(), id).await?;
    site.write_audit(&mut tx, "goal.delete", Some(id.to_string()), None)
        .await?;
    tx.commit().await?;
    Ok(answer::no_content())
}

impl From<GoalError> for Problem {
    fn from(error: GoalError) -> Self {
        match error {
            GoalError::NoSuchSite => Self::new(
                ProblemType::NotFound,
                "There is no such site. A site is registered by PUT /api/sites/{site_id} or by its first webhook.",
            ),
            GoalError::NoSuchGoal => Self::not_found("goal"),
            GoalError::DuplicateName => Self::new(
                ProblemType::DuplicateGoal,
                "The names of the goals of a site must be unique.",
            ),
            GoalError::LimitReached => Self::new(
                ProblemType::GoalLimit,
                format!("A site may have at most {} goals.", goals::MAX_PER_SITE),
            ),
            GoalError::Watched(webhooks) => {
                let names: Vec<String> = webhooks.iter().map(|name| format!("`{name}`")).collect();
                let detail = format!(
                    "Without this goal its silence would be reported for ever, to {}. Change `error_condition` there \
                     first.",
                    names.join(" and ")
                );
                Self::new(ProblemType::GoalWatched, detail)
            }
            GoalError::Postgres(error) => error.into(),
        }
    }
}

async fn find(conn: &mut PgConnection, site_id: &SiteId, id: GoalId) -> Result<GoalRecord, Problem> {
    goals::get(conn, site_id, id)
        .await?
        .ok_or_else(|| Problem::not_found("goal"))
}

fn to_answer(record: &GoalRecord) -> Value {
    let goal = &record.goal;
    let mut answer = Map::new();
    let mut insert = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    insert("id", json!(goal.id));
    insert("site_id", json!(record.site_id));
    insert("name", json!(goal.name));
    insert("kind", json!(goal.rule.kind()));
    match &goal.rule {
        GoalRule::Event { event } => {
            insert("event", json!(event));
        }
        GoalRule::Page { path } => {
            insert("path", json!(path));
        }
        GoalRule::Scroll {
            path,
            scroll_threshold,
        } => {
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

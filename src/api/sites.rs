//! The calls that register, change and read sites.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::domain::id::JobId;
use crate::domain::site::{MAX_ALIASES, SiteId};
use crate::record::jobs;
use crate::record::sites::{self, SiteError, SiteRecord};
use crate::{chance, clock};

use super::answer::{self, Page};
use super::body::JsonBody;
use super::caller::Caller;
use super::extract::{MayWrite as _, ReadableSite, RegistrableSite, WritableSite};
use super::field_errors::{FieldCode, FieldErrors};
use super::merge;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::query::Query;
use super::site_answer::{self, own_fields};
use super::site_input::{MOVING, READ_ONLY, SiteInput, read_settings};
use super::state::ApiState;
use super::validate::BodyObject;

/// `PUT /api/sites/{site_id}`: registers the site or replaces its settings.
pub(super) async fn put(
    State(state): State<ApiState>,
    RegistrableSite(site): RegistrableSite,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let mut errors = FieldErrors::default();
    let mut tx = state.register(&site).await?;
    let now = clock::now();
    let before = match sites::get(&mut tx, site.id()).await? {
        Some(before) => own_fields(&before),
        None => Map::new(),
    };
    let settings = merge::without_read_only(&body, &before, &READ_ONLY, &MOVING);
    let input = read_settings(site.id(), &BodyObject::root(&settings), &mut errors);
    refuse_foreign_aliases(&mut tx, &site, &input.aliases, &mut errors).await?;
    if !errors.is_empty() {
        refuse_own_taken_aliases(&mut tx, &site, &input, &mut errors).await?;
        return Err(Problem::invalid(errors));
    }
    let is_new = match sites::put(&mut tx, site.id(), &input.settings(), now).await {
        Err(SiteError::AliasesTaken(taken)) => {
            refuse_taken_aliases(&input, &taken, &mut errors);
            return Err(Problem::invalid(errors));
        }
        other => other?,
    };
    site.write_audit(&mut tx, "site.put", None, Some(&body)).await?;
    let stored = answer_of(&mut tx, site.id()).await?;
    tx.commit().await?;
    Ok(if is_new {
        answer::created(&site.path(), &stored)
    } else {
        answer::ok(&stored)
    })
}

/// `DELETE /api/sites/{site_id}`: the site is gone at once; a job erases its history.
pub(super) async fn delete(State(state): State<ApiState>, site: WritableSite) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = state.write(&site).await?;
    let webhooks = sites::delete(&mut tx, site.id())
        .await?
        .ok_or_else(|| Problem::not_found("site"))?;
    let job = JobId::new_v7(now.timestamp_millis(), chance::bytes());
    jobs::begin_erasure(&mut tx, job, site.id(), &webhooks, now).await?;
    site.write_audit(&mut tx, "site.delete", None, None).await?;
    tx.commit().await?;
    Ok(answer::no_content())
}

/// `GET /api/sites/{site_id}`
pub(super) async fn get(State(state): State<ApiState>, site: ReadableSite) -> Result<Response, Problem> {
    // No page of one site shows what is counted.
    if let Some(known) = site.of_page() {
        return Ok(answer::ok(&own_fields(&known.site)));
    }
    let mut conn = state.read().await?;
    Ok(answer::ok(&answer_of(&mut conn, site.id()).await?))
}

/// `GET /api/sites?q=&limit=&after=`: the sites in the caller's scope, by id.
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Result<Response, Problem> {
    let mut errors = query.check_names();
    let part = query.part(&mut errors);
    let limit = query.limit(&mut errors);
    let after: Option<SiteId> = query.after(&mut errors);
    Problem::check(errors)?;
    let mut conn = state.read().await?;
    let after = after.as_ref().map(SiteId::as_str);
    // One more than a page holds shows that there is another page.
    let found = sites::list(
        &mut conn,
        caller.sites(),
        part.as_deref(),
        after,
        i64::from(limit) + 1,
    )
    .await?;
    let (found, has_more) = answer::cut(found, limit);
    let next = found.last().filter(|_| has_more).cloned();
    let counted = sites::counted(&mut conn, &found, clock::now()).await?;
    let data: Vec<Value> = counted.iter().map(site_answer::shown).collect();
    Ok(answer::ok(&Page { data, next }))
}

pub(super) async fn find(conn: &mut PgConnection, site_id: &SiteId) -> Result<SiteRecord, Problem> {
    sites::get(conn, site_id)
        .await?
        .ok_or_else(|| Problem::not_found("site"))
}

/// Refuses a site that is not registered, for lists whose emptiness does not tell.
pub(super) async fn check_registered(conn: &mut PgConnection, site: &ReadableSite) -> Result<(), Problem> {
    match site.of_page() {
        Some(_) => Ok(()),
        None => find(conn, site.id()).await.map(drop),
    }
}

async fn answer_of(conn: &mut PgConnection, site_id: &SiteId) -> Result<Value, Problem> {
    let counted = sites::counted(conn, &[site_id.to_string()], clock::now()).await?;
    counted
        .first()
        .map(site_answer::shown)
        .ok_or_else(|| Problem::not_found("site"))
}

/// Refuses new aliases outside the caller's scope: an alias decides the meaning of an id, which
/// only a caller that may write the id may do.
///
/// The answer is the same for the id of another site and for a free one: a site outside the scope
/// does not exist for the caller.
async fn refuse_foreign_aliases(
    conn: &mut PgConnection,
    site: &WritableSite,
    aliases: &[(usize, SiteId)],
    errors: &mut FieldErrors,
) -> Result<(), Problem> {
    let is_foreign = |alias: &SiteId| site.caller().check_write(alias).is_err();
    if !aliases.iter().any(|(_, alias)| is_foreign(alias)) {
        return Ok(());
    }
    sites::lock_meanings(conn).await?;
    // Locked until the end: an alias that the site has now must still be there when it is written.
    sites::lock(conn, site.id()).await?;
    let known = sites::get(conn, site.id())
        .await?
        .map(|site| site.aliases)
        .unwrap_or_default();
    for (index, alias) in aliases {
        if is_foreign(alias) && !known.iter().any(|one| one == alias.as_str()) {
            errors.add(
                format!("/aliases/{index}"),
                FieldCode::OutOfScope,
                "A token may add only aliases that lie within its own scope.",
            );
        }
    }
    Ok(())
}

/// Refuses aliases that belong to another site, of those that the caller may know of.
async fn refuse_own_taken_aliases(
    conn: &mut PgConnection,
    site: &WritableSite,
    input: &SiteInput,
    errors: &mut FieldErrors,
) -> Result<(), Problem> {
    let aliases = input.aliases.iter().map(|(_, alias)| alias);
    let own = aliases.filter(|alias| site.caller().check_write(alias).is_ok());
    let own: Vec<String> = own.take(MAX_ALIASES).map(SiteId::to_string).collect();
    let taken = sites::taken_aliases(conn, site.id(), &own).await?;
    refuse_taken_aliases(input, &taken, errors);
    Ok(())
}

fn refuse_taken_aliases(input: &SiteInput, taken: &[String], errors: &mut FieldErrors) {
    for (index, alias) in &input.aliases {
        if taken.iter().any(|one| one == alias.as_str()) {
            errors.add(
                format!("/aliases/{index}"),
                FieldCode::Taken,
                "This id already belongs to another site.",
            );
        }
    }
}

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::IsAlias => Self::new(
                ProblemType::SiteIsAlias,
                "Use the id of the site that this id is an alias of.",
            ),
            SiteError::AliasesTaken(_) => Self::new(
                ProblemType::SiteIsAlias,
                "Some of these aliases already belong to another site.",
            ),
            SiteError::Postgres(error) => error.into(),
        }
    }
}

//! The calls that make, read, change and delete webhooks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::trigger::NameFilter;
use crate::domain::webhook::WebhookSettings;
use crate::record::sites::{self, SiteError};
use crate::record::webhooks::{self, Changed, CreateError, NewWebhook, WebhookRecord};
use crate::record::{audit, goals};
use crate::{chance, clock};

use super::ApiState;
use super::answer::{self, Page};
use super::auth::Caller;
use super::body::JsonObject;
use super::idempotency::{IdempotencyKey, Work};
use super::merge;
use super::path::{PathIds, site_path};
use super::problem::{Kind, Problem};
use super::validate::{Errors, Object};
use super::webhook_answer::{is_silent, masked, warnings, with_secret};
use super::webhook_input::{
    MASK, read_secret, read_settings, refuse_other_fields, refuse_unknown_nulls, to_body,
};

/// `POST /api/sites/{site_id}/webhooks`
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    key: IdempotencyKey,
    JsonObject(body): JsonObject,
) -> Result<Response, Problem> {
    let site_id = path.new_site()?;
    caller.may_write(&site_id)?;
    let path = format!("{}/webhooks", site_path(&site_id));
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
    let object = Object::root(body);
    let mut errors = Errors::default();
    refuse_other_fields(&object, &mut errors);
    let secret = read_secret(&object, &mut errors);
    let settings = read_settings(&object, &state.config.webhooks, None, &mut errors);
    let (Some(settings), true) = (settings, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let secret = secret.unwrap_or_else(|| Secret::generate(chance::bytes()));

    let now = clock::now();
    let id = WebhookId::new_v7(now.timestamp_millis(), chance::bytes());
    let mut tx = state.write().await?;
    sites::register(&mut tx, site_id, now).await?;
    let new = NewWebhook {
        id,
        site_id,
        settings: &settings,
        secret: &secret,
    };
    webhooks::create(&mut tx, &state.keyring, new, state.config.max_per_site, now)
        .await
        .map_err(|error| match error {
            CreateError::LimitReached => {
                let limit = state.config.max_per_site;
                Problem::new(
                    Kind::WebhookLimit,
                    format!("A site has at most {limit} webhooks. Delete one to add another."),
                )
            }
            CreateError::NoSuchSite => Problem::not_found("site"),
            CreateError::Postgres(error) => error.into(),
        })?;
    let unknown_goals = unknown_goals(&mut tx, site_id, &settings).await?;
    let silent = sites::get(&mut tx, site_id)
        .await?
        .is_some_and(|site| is_silent(&site, now));
    let object_id = id.to_string();
    let entry = audit::Entry {
        fields: &names(body),
        ..caller.did("webhook.create", site_id, Some(&object_id))
    };
    audit::write(&mut tx, entry, now).await?;
    let created = read(&mut tx, state, site_id, id).await?;
    let warnings = warnings(&settings, Some(&secret), &unknown_goals, silent);
    let location = format!("{}/webhooks/{id}", site_path(site_id));
    let mut kept = masked(&created);
    kept.insert("warnings".to_owned(), json!(warnings));
    work.keep(&mut tx, &location, &Value::Object(kept)).await?;
    tx.commit().await?;

    Ok(answer::created(
        &location,
        &with_secret(&created, &secret, &warnings),
    ))
}

/// `GET /api/sites/{site_id}/webhooks`
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
    let webhooks = webhooks::list(&mut conn, &state.keyring, &site_id).await?;
    Ok(answer::json(
        StatusCode::OK,
        &Page {
            data: webhooks.iter().map(masked).collect(),
            next: None,
        },
    ))
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let mut conn = state.read().await?;
    let webhook = read(&mut conn, &state, &site_id, path.webhook()?).await?;
    Ok(answer::json(StatusCode::OK, &masked(&webhook)))
}

/// `PATCH /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    JsonObject(patch): JsonObject,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_write(&site_id)?;
    let id = path.webhook()?;
    let now = clock::now();
    let mut tx = state.write().await?;
    // Two patches at once are merged one after the other.
    if !webhooks::lock(&mut tx, &site_id, id).await? {
        return Err(Problem::not_found("webhook"));
    }
    let before = read(&mut tx, &state, &site_id, id).await?;

    let mut errors = Errors::default();
    let object = Object::root(&patch);
    refuse_other_fields(&object, &mut errors);
    refuse_secret(&object, &mut errors);
    refuse_unknown_nulls(&object, &before.settings, &mut errors);
    let current = to_body(&before.settings, before.is_enabled());
    let merged = merge::apply_to_webhook(&current, &before.settings.url.masked(), &patch);
    let rules = &state.config.webhooks;
    let settings = read_settings(&Object::root(&merged), rules, Some(&before.settings), &mut errors);
    let (Some(settings), true) = (settings, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };

    let mut changed = webhooks::update(&mut tx, &state.keyring, id, &settings, now).await?;
    // An answer that is edited and sent back says `enabled` too: what is off already keeps the reason it is off for.
    if settings.enabled != before.is_enabled() {
        changed = webhooks::switch(&mut tx, id, settings.enabled, now).await?;
    }
    if changed == Changed::Gone {
        return Err(Problem::not_found("webhook"));
    }
    let unknown_goals = unknown_goals(&mut tx, &site_id, &settings).await?;
    let object_id = id.to_string();
    let entry = audit::Entry {
        fields: &names(&patch),
        ..caller.did("webhook.update", &site_id, Some(&object_id))
    };
    audit::write(&mut tx, entry, now).await?;
    let after = read(&mut tx, &state, &site_id, id).await?;
    tx.commit().await?;

    let mut answer = masked(&after);
    answer.insert(
        "warnings".to_owned(),
        json!(warnings(&settings, None, &unknown_goals, false)),
    );
    Ok(answer::json(StatusCode::OK, &answer))
}

/// `DELETE /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_write(&site_id)?;
    let id = path.webhook()?;
    let now = clock::now();
    let mut tx = state.write().await?;
    if webhooks::delete(&mut tx, &site_id, id, now).await? == Changed::Gone {
        return Err(Problem::not_found("webhook"));
    }
    let object_id = id.to_string();
    audit::write(
        &mut tx,
        caller.did("webhook.delete", &site_id, Some(&object_id)),
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::IsAlias => Self::new(
                Kind::SiteIsAlias,
                "Use the id of the site that this id is an alias of.",
            ),
            SiteError::AliasesTaken(_) => {
                Self::new(Kind::SiteIsAlias, "Some of these aliases mean another site.")
            }
            SiteError::Postgres(error) => error.into(),
        }
    }
}

async fn read(
    conn: &mut PgConnection,
    state: &ApiState,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<WebhookRecord, Problem> {
    match webhooks::get(conn, &state.keyring, site_id, id).await? {
        Some(Ok(webhook)) => Ok(webhook),
        Some(Err(unreadable)) => {
            tracing::error!(webhook.id = %unreadable.id, error = %unreadable, "a stored webhook cannot be read");
            Err(Problem::new(
                Kind::Internal,
                "What is stored of this webhook cannot be read. Delete it and make it anew.",
            ))
        }
        None => Err(Problem::not_found("webhook")),
    }
}

async fn unknown_goals(
    conn: &mut PgConnection,
    site_id: &SiteId,
    settings: &WebhookSettings,
) -> Result<Vec<String>, sqlx::Error> {
    match &settings.triggers.goal_completion {
        Some(NameFilter::Only(names)) => goals::unknown_names(conn, site_id, names).await,
        _ => Ok(Vec::new()),
    }
}

/// A secret is changed by a rotation, which lets the old one hold on for a while; the mask of an answer that was sent
/// back changes nothing.
fn refuse_secret(patch: &Object<'_>, errors: &mut Errors) {
    let masked = patch.get("secret").is_some_and(|secret| secret == MASK);
    if !masked && patch.names().any(|name| name == "secret") {
        let detail = "a secret is not changed here but rotated, so that its old value holds for a while; rotating is not \
                      available yet";
        errors.add("/secret", "not_available", detail);
    }
}

fn names(body: &Map<String, Value>) -> Vec<String> {
    body.keys().cloned().collect()
}

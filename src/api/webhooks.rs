//! The calls that create, read, change and delete webhooks.

use futures_util::FutureExt as _;
use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::health::HealthState;
use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::trigger::NameFilter;
use crate::domain::webhook::WebhookSettings;
use crate::record::delivery_pages::AlsoTried;
use crate::record::keyring::Keyring;
use crate::record::webhooks::{self, Changed, CreateError, NewWebhook, WebhookRecord};
use crate::record::{delivery_pages, goals, secrets, sites};
use crate::telemetry::throttle::SharedThrottle;
use crate::{chance, clock};

use super::answer::{self, Page};
use super::body::JsonBody;
use super::delivery_answer::DeliveryAnswer;
use super::extract::{PathIds, ReadableSite, RegistrableSite, WritableSite};
use super::field_errors::{FieldCode, FieldErrors};
use super::idempotency::{Execution, IdempotencyKey};
use super::merge;
use super::parameter::{Included, Parameter};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::query::Query;
use super::sites::check_registered;
use super::state::ApiState;
use super::validate::BodyObject;
use super::webhook_answer::{
    goal_warnings, insert_secret, is_silent, masked, schedule_warning, shown, warnings, with_secret,
    with_warnings,
};
use super::webhook_input::{
    MASK, MOVING, READ_ONLY, STANDARD_SECRET, read_secret, read_settings, refuse_other_fields,
    refuse_unknown_nulls, to_body,
};

/// Bound of the log lines about what cannot be read, which every request may ask for.
static UNREADABLE: SharedThrottle = SharedThrottle::new();

/// `POST /api/sites/{site_id}/webhooks`
pub(super) async fn create(
    State(state): State<ApiState>,
    RegistrableSite(site): RegistrableSite,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let path = format!("{}/webhooks", site.path());
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
    let (settings, secret) = read_new(state, body, clock::now())?;
    let mut tx = state.register(site).await?;
    let now = clock::now();
    let id = WebhookId::new_v7(now.timestamp_millis(), chance::bytes());
    sites::register(&mut tx, site.id(), now).await?;
    let new = NewWebhook {
        id,
        site_id: site.id(),
        settings: &settings,
        secret: &secret,
    };
    let max_per_site = state.config.max_per_site;
    webhooks::create(&mut tx, &state.keyring, new, max_per_site, now)
        .await
        .map_err(|error| not_created(error, max_per_site))?;
    let unknown_goals = unknown_goals(&mut tx, site.id(), &settings).await?;
    let is_silent = sites::get(&mut tx, site.id())
        .await?
        .is_some_and(|site| is_silent(&site, now));
    site.write_audit(&mut tx, "webhook.create", Some(id.to_string()), Some(body))
        .await?;
    let created = find(&mut tx, &state.keyring, site.id(), id).await?;
    let rules = &state.config.webhooks;
    let warnings = warnings(&settings, rules, Some(&secret), &unknown_goals, is_silent);
    let location = format!("{}/webhooks/{id}", site.path());
    let without_secret = Value::Object(with_warnings(masked(&created), &warnings));
    execution
        .store_answer(&mut tx, StatusCode::CREATED, Some(&location), &without_secret)
        .await?;
    tx.commit().await?;

    let shown = with_warnings(with_secret(&created, &secret), &warnings);
    Ok(answer::created(&location, &shown))
}

/// Reads the settings and the secret of a new webhook. A secret that is not given is generated.
fn read_new(
    state: &ApiState,
    body: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<(WebhookSettings, Secret), Problem> {
    let object = BodyObject::root(body);
    let mut errors = FieldErrors::default();
    refuse_other_fields(&object, &mut errors);
    let secret = read_secret(&object, &mut errors);
    match read_settings(&object, &state.config.webhooks, None, now, &mut errors) {
        Some(settings) if errors.is_empty() => {
            let secret = secret.unwrap_or_else(|| Secret::generate(chance::bytes()));
            Ok((settings, secret))
        }
        _ => Err(Problem::invalid(errors)),
    }
}

fn not_created(error: CreateError, max_per_site: u32) -> Problem {
    match error {
        CreateError::LimitReached => {
            let limit = match max_per_site {
                1 => "1 webhook".to_owned(),
                limit => format!("{limit} webhooks"),
            };
            let detail = format!("A site may have at most {limit}. Delete one to add another.");
            Problem::new(ProblemType::WebhookLimit, detail)
        }
        CreateError::NoSuchSite => Problem::not_found("site"),
        CreateError::ExternalIdTaken => external_id_taken(),
        CreateError::Postgres(error) => error.into(),
    }
}

fn external_id_taken() -> Problem {
    Problem::new(
        ProblemType::ExternalIdTaken,
        "Another webhook of this site has this `external_id`. It is free again once that one is deleted.",
    )
}

/// `GET /api/sites/{site_id}/webhooks`
///
/// `?include=recent` adds the newest deliveries of each.
pub(super) async fn list(
    State(state): State<ApiState>,
    site: ReadableSite,
    query: Query,
    tried: Option<Extension<AlsoTried>>,
) -> Result<Response, Problem> {
    let mut errors = query.check_names();
    let included: Vec<Included> = query.many(Parameter::Include, &mut errors);
    Problem::check(errors)?;
    let mut conn = state.read().await?;
    // The limit of webhooks a site may have keeps them on one page.
    let webhooks = webhooks::list(&mut conn, &state.keyring, site.id()).await?;
    if webhooks.is_empty() {
        check_registered(&mut conn, &site).await?;
    }
    let mut answers: Vec<Map<String, Value>> = webhooks
        .iter()
        .map(|webhook| shown(webhook, &state.config.webhooks))
        .collect();
    if included.contains(&Included::Recent) {
        add_recent(&mut conn, site.id(), &webhooks, &mut answers, tried.is_some()).await?;
    }
    Ok(answer::ok(&Page::only(answers)))
}

/// Most deliveries that are added to a webhook.
const RECENT_DELIVERIES: u32 = 20;

/// Adds to each answer the newest deliveries of its webhook.
async fn add_recent(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhooks: &[WebhookRecord],
    answers: &mut [Map<String, Value>],
    also_tried: bool,
) -> Result<(), Problem> {
    let ids: Vec<Uuid> = webhooks.iter().map(|webhook| webhook.id.uuid()).collect();
    let mut recent: HashMap<Uuid, Vec<Value>> = HashMap::new();
    let mut found = delivery_pages::newest(conn, site_id, &ids, RECENT_DELIVERIES).await?;
    if also_tried {
        let is_told = |id: Uuid| {
            let mut of = found.iter().filter(|(one, _)| one.webhook_id == id);
            of.any(|(one, _)| one.attempts > 0 && one.status != DeliveryStatus::Delivered.as_str())
        };
        let failing = webhooks
            .iter()
            .filter(|one| one.health.state == HealthState::Open);
        let failing = failing.map(|one| one.id.uuid());
        let failing: Vec<Uuid> = failing.filter(|id| !is_told(*id)).collect();
        if !failing.is_empty() {
            found.extend(delivery_pages::last_tried(conn, &failing).await?);
        }
    }
    for (delivery, last) in found {
        let of = recent.entry(delivery.webhook_id).or_default();
        of.push(json!(DeliveryAnswer::new(delivery, last, None)));
    }
    for (answer, id) in answers.iter_mut().zip(&ids) {
        answer.insert(
            Included::Recent.as_str().to_owned(),
            recent.remove(id).unwrap_or_default().into(),
        );
    }
    Ok(())
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    site: ReadableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let mut conn = state.read().await?;
    let webhook = find(&mut conn, &state.keyring, site.id(), ids.webhook()?).await?;
    let unknown_goals = unknown_goals(&mut conn, site.id(), &webhook.settings).await?;
    let mut warnings = schedule_warning(&webhook.settings, &state.config.webhooks);
    warnings.extend(goal_warnings(&webhook.settings, &unknown_goals));
    Ok(answer::ok(&with_warnings(masked(&webhook), &warnings)))
}

/// `PATCH /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn change(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    let id = ids.webhook()?;
    let now = clock::now();
    let mut tx = state.write(&site).await?;
    // The lock merges simultaneous patches one after the other.
    if !webhooks::lock(&mut tx, site.id(), id).await? {
        return Err(Problem::not_found("webhook"));
    }
    let before = find(&mut tx, &state.keyring, site.id(), id).await?;
    let mut answered = masked(&before);
    if patch.contains_key(STANDARD_SECRET) {
        let stored = secrets::read(&mut tx, &state.keyring, id).await?;
        insert_secret(&mut answered, &stored.at(now).current);
    }
    let settings = read_patched(&state, &before, &answered, &patch, now)?;

    let is_new_url = settings.url != before.settings.url;
    let mut changed = webhooks::update(&mut tx, &state.keyring, id, &settings, is_new_url, now).await?;
    if changed == Changed::Yes && is_switched(&before, &patch, settings.enabled) {
        changed = webhooks::switch(&mut tx, id, settings.enabled, now).await?;
    }
    match changed {
        Changed::Yes => {}
        Changed::Gone => return Err(Problem::not_found("webhook")),
        Changed::ExternalIdTaken => return Err(external_id_taken()),
    }
    let unknown_goals = unknown_goals(&mut tx, site.id(), &settings).await?;
    site.write_audit(&mut tx, "webhook.update", Some(id.to_string()), Some(&patch))
        .await?;
    let after = find(&mut tx, &state.keyring, site.id(), id).await?;
    tx.commit().await?;

    let warnings = warnings(&settings, &state.config.webhooks, None, &unknown_goals, false);
    Ok(answer::ok(&with_warnings(masked(&after), &warnings)))
}

/// True if the owner switches the webhook on or off. Switching on what is on already counts if
/// Bellwether has switched it off meanwhile.
fn is_switched(before: &WebhookRecord, patch: &Map<String, Value>, enabled: bool) -> bool {
    let is_given = patch.get("enabled").is_some();
    is_given && (enabled != before.settings.enabled || enabled && before.disabled.is_some())
}

/// Reads the settings that `patch` makes of the webhook, which was `answered` before.
fn read_patched(
    state: &ApiState,
    before: &WebhookRecord,
    answered: &Map<String, Value>,
    patch: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<WebhookSettings, Problem> {
    let mut errors = FieldErrors::default();
    let patch = &merge::without_read_only(patch, answered, &READ_ONLY, &MOVING);
    let object = BodyObject::root(patch);
    refuse_other_fields(&object, &mut errors);
    refuse_secret(&object, &mut errors);
    refuse_unknown_nulls(&object, &before.settings, &mut errors);
    let current = to_body(&before.settings);
    let merged = merge::apply_to_webhook(&current, &before.settings.url.masked(), patch);
    let merged = BodyObject::root(&merged);
    match read_settings(
        &merged,
        &state.config.webhooks,
        Some(&before.settings),
        now,
        &mut errors,
    ) {
        Some(settings) if errors.is_empty() => Ok(settings),
        _ => Err(Problem::invalid(errors)),
    }
}

/// `DELETE /api/sites/{site_id}/webhooks/{webhook_id}`
pub(super) async fn delete(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let id = ids.webhook()?;
    let now = clock::now();
    let mut tx = state.write(&site).await?;
    if webhooks::delete(&mut tx, site.id(), id, now).await? == Changed::Gone {
        return Err(Problem::not_found("webhook"));
    }
    site.write_audit(&mut tx, "webhook.delete", Some(id.to_string()), None)
        .await?;
    tx.commit().await?;
    Ok(answer::no_content())
}

/// Refuses a webhook that the site never had; the history of a deleted one can still be read.
pub(super) async fn check_existed(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<(), Problem> {
    match webhooks::existed(conn, site_id, id).await? {
        true => Ok(()),
        false => Err(Problem::not_found("webhook")),
    }
}

pub(super) async fn find(
    conn: &mut PgConnection,
    keyring: &Keyring,
    site_id: &SiteId,
    id: WebhookId,
) -> Result<WebhookRecord, Problem> {
    match webhooks::get(conn, keyring, site_id, id).await? {
        Some(Ok(webhook)) => Ok(webhook),
        Some(Err(unreadable)) => {
            if let Some(suppressed) = UNREADABLE.admit() {
                tracing::error!(
                    webhook.id = %unreadable.id, error = %unreadable, suppressed, "a stored webhook cannot be read"
                );
            }
            // A process that has the key reads it.
            if unreadable.lacks_key() {
                let detail = "The process that answers lacks the key of this webhook's settings. Ask again.";
                return Err(Problem::new(ProblemType::Unavailable, detail).retry_after_seconds(1));
            }
            Err(Problem::new(
                ProblemType::Internal,
                "The stored settings of this webhook cannot be read. Delete the webhook and create it again.",
            ))
        }
        None => Err(Problem::not_found("webhook")),
    }
}

/// The goals that the webhook's triggers name and that the site does not have.
async fn unknown_goals(
    conn: &mut PgConnection,
    site_id: &SiteId,
    settings: &WebhookSettings,
) -> Result<Vec<String>, sqlx::Error> {
    let triggers = &settings.triggers;
    let mut names = match triggers.goal_completion.as_ref().map(|goals| &goals.names) {
        Some(NameFilter::Only(names)) => names.clone(),
        _ => Vec::new(),
    };
    names.extend(triggers.silent_goal().map(str::to_owned));
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => goals::unknown_names(conn, site_id, &names).await,
    }
}

/// Refuses to change the secret, which only a rotation may do. A masked secret that is sent back
/// changes nothing.
fn refuse_secret(patch: &BodyObject<'_>, errors: &mut FieldErrors) {
    let is_masked = patch.get("secret").is_some_and(|secret| secret == MASK);
    if !is_masked && patch.names().any(|name| name == "secret") {
        let detail =
            "A secret is changed by POST …/rotate-secret, which keeps the old one valid for a while.";
        errors.add("/secret", FieldCode::NotApplicable, detail);
    }
}

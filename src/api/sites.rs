//! The calls that register, change and read sites.

use std::collections::HashSet;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::clock;
use crate::domain::site::{MAX_SITE_ID_BYTES, SiteId};
use crate::record::audit;
use crate::record::sites::{self, MAX_ALIASES, SiteError, SiteRecord, SiteSettings};

use super::ApiState;
use super::answer::{self, Page, optional_time, time};
use super::auth::Caller;
use super::body::JsonObject;
use super::path::{PathIds, site_path};
use super::problem::Problem;
use super::query::Query;
use super::validate::{Errors, Object, wrong_type};

const MAX_NAME_CHARS: usize = 100;
const MAX_TIME_ZONE_CHARS: usize = 100;
const DEFAULT_TIME_ZONE: &str = "UTC";
const FIELDS: [&str; 3] = ["name", "time_zone", "aliases"];

/// `PUT /api/sites/{site_id}`: registers the site or replaces its settings.
pub(super) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
    JsonObject(body): JsonObject,
) -> Result<Response, Problem> {
    let site_id = path.new_site()?;
    caller.may_write(&site_id)?;
    let mut errors = Errors::default();
    let settings = read_settings(&site_id, &Object::root(&body), &mut errors);
    let now = clock::now();
    let mut tx = state.write().await?;
    refuse_foreign_aliases(&mut tx, &caller, &site_id, &settings.aliases, &mut errors).await?;
    if !errors.is_empty() {
        let own = settings.aliases.iter().map(|(_, alias)| alias);
        let own = own.filter(|alias| caller.may_write(alias).is_ok());
        let own: Vec<String> = own.take(MAX_ALIASES).map(SiteId::to_string).collect();
        let taken = sites::taken_aliases(&mut tx, &site_id, &own).await?;
        refuse_taken(&settings, &taken, &mut errors);
        return Err(Problem::invalid(errors));
    }
    let new = match sites::put(&mut tx, &site_id, &settings.plain(), now).await {
        Err(SiteError::AliasesTaken(taken)) => {
            refuse_taken(&settings, &taken, &mut errors);
            return Err(Problem::invalid(errors));
        }
        other => other?,
    };
    let fields: Vec<String> = body.keys().cloned().collect();
    audit::write(
        &mut tx,
        audit::Entry {
            fields: &fields,
            ..caller.did("site.put", &site_id, None)
        },
        now,
    )
    .await?;
    let site = sites::get(&mut tx, &site_id)
        .await?
        .ok_or_else(|| Problem::not_found("site"))?;
    tx.commit().await?;
    Ok(if new {
        answer::created(&site_path(&site_id), &to_answer(&site))
    } else {
        answer::json(StatusCode::OK, &to_answer(&site))
    })
}

/// `GET /api/sites/{site_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    path: PathIds,
) -> Result<Response, Problem> {
    let site_id = path.site()?;
    caller.may_read(&site_id)?;
    let mut conn = state.read().await?;
    let site = sites::get(&mut conn, &site_id)
        .await?
        .ok_or_else(|| Problem::not_found("site"))?;
    Ok(answer::json(StatusCode::OK, &to_answer(&site)))
}

/// `GET /api/sites?limit=&after=`: by id.
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref());
    let mut errors = Errors::default();
    query.refuse_unknown(&["limit", "after"], &mut errors);
    let limit = query.limit(&mut errors);
    let after: Option<SiteId> = query.one("after", "the `next` of a page before", &mut errors);
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let mut conn = state.read().await?;
    let after = after.as_ref().map(SiteId::as_str);
    let mut found = sites::list(&mut conn, caller.sites(), after, i64::from(limit) + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|site| site.site_id.clone());
    Ok(answer::json(
        StatusCode::OK,
        &Page {
            data: found.iter().map(to_answer).collect(),
            next,
        },
    ))
}

fn to_answer(site: &SiteRecord) -> Value {
    json!({
        "site_id": site.site_id,
        "name": site.name,
        "time_zone": site.time_zone,
        "aliases": site.aliases,
        "first_event_at": optional_time(site.first_event_at),
        "last_event_at": optional_time(site.last_event_at),
        "inserted_at": time(site.inserted_at),
        "updated_at": time(site.updated_at),
    })
}

/// Whoever makes an id an alias decides what it means, so an id that is new here has to be in the caller's scope. The
/// answer is the same whether it means a site already or not: what is out of scope does not exist.
async fn refuse_foreign_aliases(
    conn: &mut PgConnection,
    caller: &Caller,
    site_id: &SiteId,
    aliases: &[(usize, SiteId)],
    errors: &mut Errors,
) -> Result<(), Problem> {
    if aliases.iter().all(|(_, alias)| caller.may_write(alias).is_ok()) {
        return Ok(());
    }
    // Held until the end: what is an alias now must still be one when it is written.
    sites::lock(conn, site_id).await?;
    let known = sites::get(conn, site_id)
        .await?
        .map(|site| site.aliases)
        .unwrap_or_default();
    for (index, alias) in aliases {
        if caller.may_write(alias).is_err() && !known.iter().any(|one| one == alias.as_str()) {
            errors.add(
                format!("/aliases/{index}"),
                "out_of_scope",
                "this token may only add ids that it may write itself",
            );
        }
    }
    Ok(())
}

fn refuse_taken(settings: &GivenSettings, taken: &[String], errors: &mut Errors) {
    for (index, alias) in &settings.aliases {
        if taken.iter().any(|one| one == alias.as_str()) {
            errors.add(format!("/aliases/{index}"), "taken", "means another site already");
        }
    }
}

/// A site's settings as they were given; each alias with its place in the list.
struct GivenSettings {
    name: Option<String>,
    time_zone: String,
    aliases: Vec<(usize, SiteId)>,
}

impl GivenSettings {
    fn plain(&self) -> SiteSettings {
        SiteSettings {
            name: self.name.clone(),
            time_zone: self.time_zone.clone(),
            aliases: self.aliases.iter().map(|(_, alias)| alias.to_string()).collect(),
        }
    }
}

/// What is left out is as it is at first: this call replaces.
fn read_settings(site_id: &SiteId, body: &Object<'_>, errors: &mut Errors) -> GivenSettings {
    body.refuse_unknown(&FIELDS, errors);
    let time_zone = body
        .text("time_zone", MAX_TIME_ZONE_CHARS, errors)
        .unwrap_or(DEFAULT_TIME_ZONE);
    if time_zone.parse::<chrono_tz::Tz>().is_err() {
        errors.add(
            "/time_zone",
            "unknown",
            "is no IANA time zone, such as UTC or Europe/Berlin",
        );
    }
    GivenSettings {
        name: body.text("name", MAX_NAME_CHARS, errors).map(str::to_owned),
        time_zone: time_zone.to_owned(),
        aliases: read_aliases(site_id, body, errors),
    }
}

fn read_aliases(site_id: &SiteId, body: &Object<'_>, errors: &mut Errors) -> Vec<(usize, SiteId)> {
    let Some(list) = body.list("aliases", errors) else {
        return Vec::new();
    };
    if list.len() > MAX_ALIASES {
        errors.add(
            "/aliases",
            "too_many",
            format!(
                "a site has at most {MAX_ALIASES} aliases, these are {}",
                list.len()
            ),
        );
    }
    let mut seen = HashSet::new();
    let mut aliases = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let pointer = format!("/aliases/{index}");
        let Value::String(text) = value else {
            let allowed = format!("text of 1 to {MAX_SITE_ID_BYTES} bytes");
            let _: Option<()> = wrong_type(&pointer, value, &allowed, errors);
            continue;
        };
        match text.parse::<SiteId>() {
            Err(error) => errors.add(pointer, "invalid", error.to_string()),
            Ok(alias) if alias == *site_id => errors.add(pointer, "duplicate", "is the site's own id"),
            Ok(_) if !seen.insert(text) => errors.add(pointer, "duplicate", "is in the list already"),
            Ok(alias) => aliases.push((index, alias)),
        }
    }
    aliases
}

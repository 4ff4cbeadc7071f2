//! The settings of a site, and its end.

use std::sync::Arc;

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::json;

use crate::ui::address::Path;
use crate::ui::edited::{Edited, changed_meanwhile};
use crate::ui::escape::field_value;
use crate::ui::failure::PageFailure;
use crate::ui::form::Form;
use crate::ui::form_errors::FormErrors;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::SiteView;
use crate::ui::posted::Posted;
use crate::ui::reply::Reply;
use crate::ui::respond::{page, see_other};
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::settings_words::SettingWords;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    l: Layout,
    action: String,
    site_id: String,
    fields: SiteFields,
    edited: Edited,
    errors: FormErrors,
}

struct SiteFields {
    name: String,
    time_zone: String,
    aliases: String,
    include_paths: bool,
}

#[derive(Template)]
#[template(path = "erase.html")]
struct ErasePage {
    l: Layout,
    action: String,
    cancel: String,
    site_id: String,
    errors: FormErrors,
}

impl SettingsPage {
    fn value(text: &str) -> String {
        field_value(text)
    }
}

/// `GET /sites/{site_id}/settings`
pub(in crate::ui) async fn show(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let fields = fields(&site.site);
    let shown = settings_page(&visit, &site, fields, FormErrors::default());
    Ok(page(StatusCode::OK, &shown))
}

fn fields(site: &SiteView) -> SiteFields {
    SiteFields {
        name: site.name.clone().unwrap_or_default(),
        time_zone: site.time_zone.clone(),
        aliases: site.aliases.join("\n"),
        include_paths: site.include_paths,
    }
}

fn sent(form: &Form) -> SiteFields {
    SiteFields {
        name: form.raw("name").to_owned(),
        time_zone: form.text("time_zone").to_owned(),
        aliases: form.raw("aliases").to_owned(),
        include_paths: form.is_ticked("include_paths"),
    }
}

fn settings_page(
    visit: &PageVisit,
    site: &SiteVisit,
    fields: SiteFields,
    errors: FormErrors,
) -> SettingsPage {
    let edited = match errors.of("now") {
        Some(_) => edited(&site.site).showing(settings_now(&site.site)),
        None => edited(&site.site),
    };
    SettingsPage {
        l: visit
            .site_layout(site, Section::Settings, "Settings")
            .with_error(!errors.is_empty()),
        action: site.path.page("/settings"),
        site_id: site.site.site_id.clone(),
        fields,
        edited,
        errors,
    }
}

fn edited(site: &SiteView) -> Edited {
    Edited::of(&(&site.name, &site.time_zone, &site.aliases, site.include_paths))
}

fn settings_now(site: &SiteView) -> Vec<SettingWords> {
    let paths = if site.include_paths { "yes" } else { "no" };
    let words = [
        ("Name", site.name.clone().unwrap_or_default()),
        ("Time zone", site.time_zone.clone()),
        ("Other ids", site.aliases.join(", ")),
        ("Paths in notifications", paths.to_owned()),
    ];
    words.map(|(name, value)| SettingWords { name, value }).into()
}

/// `POST /sites/{site_id}/settings`
pub(in crate::ui) async fn save(
    Path(site_id): Path<String>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let _turn = posted.turn().await;
        let site = visit.site(&site_id).await?;
        let form = &posted.form;
        if edited(&site.site).is_another(form) {
            let errors = changed_meanwhile("these settings");
            let shown = settings_page(visit, &site, sent(form), errors);
            return Ok(page(StatusCode::CONFLICT, &shown));
        }
        let aliases = form.raw("aliases").lines().map(str::trim);
        let aliases: Vec<&str> = aliases.filter(|alias| !alias.is_empty()).collect();
        let body = json!({
            "name": form.given("name"),
            "time_zone": form.text("time_zone"),
            "aliases": aliases,
            "include_paths": form.is_ticked("include_paths"),
        });
        let reply = visit
            .api
            .send(Method::PUT, &site.path.api(""), Some(&body), None)
            .await?;
        if reply.status.is_success() {
            return Ok(see_other(&site.path.page("/settings")));
        }
        let shown = settings_page(visit, &site, sent(form), errors(&reply)?);
        Ok(page(reply.status, &shown))
    };
    posted.run_once(run).await
}

fn errors(reply: &Reply) -> Result<FormErrors, PageFailure> {
    if reply.problem_type() != "invalid-fields" {
        return Err(PageFailure::of_reply(reply));
    }
    let mut errors = FormErrors::default();
    for problem in reply.fields() {
        let detail = problem.reason();
        let field = problem.pointer.split('/').nth(1).unwrap_or_default();
        let (field, words) = match field {
            "time_zone" => (
                "time_zone",
                "Enter a time zone such as UTC or Europe/Berlin".to_owned(),
            ),
            "aliases" if problem.code == "out_of_scope" => (
                "aliases",
                "Other ids: you may add only those of sites that you may see".to_owned(),
            ),
            "aliases" => ("aliases", format!("Other ids: {detail}")),
            _ => ("name", format!("Name: {detail}")),
        };
        errors.add(field.to_owned(), words);
    }
    Ok(errors)
}

/// `GET /sites/{site_id}/settings/erase`
pub(in crate::ui) async fn ask_erase(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let site = visit.site(&site_id).await?;
    Ok(page(
        StatusCode::OK,
        &erase_page(&visit, &site, FormErrors::default()),
    ))
}

fn erase_page(visit: &PageVisit, site: &SiteVisit, errors: FormErrors) -> ErasePage {
    ErasePage {
        l: visit
            .site_layout(site, Section::Settings, "Erase this site")
            .with_error(!errors.is_empty()),
        action: site.path.page("/settings/erase"),
        cancel: site.path.page("/settings"),
        site_id: site.site.site_id.clone(),
        errors,
    }
}

/// `POST /sites/{site_id}/settings/erase`
pub(in crate::ui) async fn erase(
    Path(site_id): Path<String>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let site = visit.site(&site_id).await?;
        if posted.form.text("confirm") != site.site.site_id {
            let errors = FormErrors::one("confirm", "Type the site’s id exactly as it stands above");
            return Ok(page(
                StatusCode::UNPROCESSABLE_ENTITY,
                &erase_page(visit, &site, errors),
            ));
        }
        let reply = visit
            .api
            .send(Method::DELETE, &site.path.api(""), None, None)
            .await?;
        reply.or_failure()?;
        Ok(see_other("/sites"))
    };
    posted.run_once(run).await
}

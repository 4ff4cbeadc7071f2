//! Creating and changing a webhook: one page, one form.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::secret::{SecretPage, ShownFor};
use crate::domain::webhook::Format;
use crate::ui::address::Path;
use crate::ui::client::read;
use crate::ui::edited::{Edited, changed_meanwhile};
use crate::ui::escape::field_value;
use crate::ui::failure::PageFailure;
use crate::ui::form_errors::FormErrors;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{GoalView, Listed, ShownSecret, WebhookView};
use crate::ui::posted::Posted;
use crate::ui::respond::{page, secret_page, see_other};
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::settings_words::{self, SettingWords};
use crate::ui::visitor_levels::VisitorLevels;
use crate::ui::webhook_errors;
use crate::ui::webhook_form::{self, Options, WebhookForm};
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit};
use crate::ui::words;

#[derive(Template)]
#[template(path = "webhook_edit.html")]
struct EditPage {
    l: Layout,
    heading: String,
    action: String,
    cancel: String,
    form: WebhookForm,
    edited: Edited,
    errors: FormErrors,
    formats: Vec<&'static str>,
    schedules: Vec<String>,
    allow_http: bool,
    is_new: bool,
    levels: VisitorLevels,
    /// True if one of the rarer fields has a problem.
    is_more_open: bool,
}

impl EditPage {
    fn value(text: &str) -> String {
        field_value(text)
    }
}

/// `GET …/webhooks/new`
pub(in crate::ui) async fn new(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let site = visit.site(&site_id).await?;
    let there: Listed<WebhookView> = visit.api.get(&site.path.api("/webhooks")).await?;
    if there.data.len() >= visit.state.config().max_per_site as usize {
        // The list says that no more fit, and what to do.
        return Ok(see_other(&site.path.page("/webhooks")));
    }
    let shown = edit_page(&visit, &site, WebhookForm::new(), FormErrors::default(), None).await?;
    Ok(page(StatusCode::OK, &shown))
}

/// `GET …/{webhook_id}/edit`
pub(in crate::ui) async fn edit(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = WebhookVisit::find(&visit, &ids).await?;
    let form = WebhookForm::of(&found.webhook);
    let shown = edit_page(
        &visit,
        &found.site,
        form,
        FormErrors::default(),
        Some(&found.webhook),
    )
    .await?;
    Ok(page(StatusCode::OK, &shown))
}

/// The state of a webhook as its form shows it: no pause and no health is part of that.
fn edited(webhook: &WebhookView) -> Edited {
    Edited::of(&(
        (&webhook.name, &webhook.url, &webhook.format, &webhook.headers),
        (&webhook.events, &webhook.triggers),
        (
            webhook.failure_threshold,
            webhook.rate_limit_per_second,
            webhook.max_concurrency,
        ),
        (&webhook.retry_schedule, webhook.max_age_seconds),
    ))
}

fn settings_now(visit: &PageVisit, webhook: &WebhookView) -> Vec<SettingWords> {
    let own = [("Name", &webhook.name), ("Address", &webhook.url)].map(|(name, value)| SettingWords {
        name,
        value: value.clone(),
    });
    let others = settings_words::settings(webhook, visit.state.config());
    own.into_iter().chain(others).collect()
}

async fn edit_page(
    visit: &PageVisit,
    site: &SiteVisit,
    mut form: WebhookForm,
    errors: FormErrors,
    webhook: Option<&WebhookView>,
) -> Result<EditPage, PageFailure> {
    let edited = match webhook {
        None => Edited::default(),
        Some(webhook) if errors.of("now").is_some() => edited(webhook).showing(settings_now(visit, webhook)),
        Some(webhook) => edited(webhook),
    };
    let goals: Listed<GoalView> = visit.api.get(&site.path.api("/goals")).await?;
    form.offer_goals(goals.data.into_iter().map(|goal| goal.name).collect());
    let levels = VisitorLevels::read(visit, site).await?;
    let config = visit.state.config();
    let (heading, action, cancel) = match webhook {
        None => (
            "Add a webhook".to_owned(),
            site.path.page("/webhooks/new"),
            site.path.page("/webhooks"),
        ),
        Some(webhook) => {
            let href = site.path.page(&format!("/webhooks/{}", webhook.id));
            (format!("Change {}", webhook.name), format!("{href}/edit"), href)
        }
    };
    let rare = [
        "secret",
        "header_",
        "rate_limit",
        "max_",
        "failure_threshold",
        "retry_",
        "format",
    ];
    let is_more_open = errors.all().iter().any(|error| {
        rare.iter()
            .any(|start| error.field.starts_with(start) && error.field != "secret")
    });
    Ok(EditPage {
        l: visit
            .site_layout(site, Section::Webhooks, &heading)
            .with_error(!errors.is_empty()),
        heading,
        action,
        cancel,
        form,
        edited,
        errors,
        formats: Format::WORDS.to_vec(),
        schedules: config.retry_schedules.clone(),
        allow_http: config.allow_http,
        is_new: webhook.is_none(),
        levels,
        is_more_open,
    })
}

/// `POST …/webhooks/new`: answers with the secret.
pub(in crate::ui) async fn create(
    Path(site_id): Path<String>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let visit = &posted.visit;
            let site = visit.site(&site_id).await?;
            let errors = webhook_errors::headers_named_twice(&posted.form);
            if !errors.is_empty() {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return refused(&posted, &site, None, status, errors).await;
            }
            let body = webhook_form::body(&posted.form, None);
            let path = site.path.api("/webhooks");
            let reply = visit
                .api
                .send(Method::POST, &path, Some(&body), Some(posted.once()))
                .await?;
            if reply.status != StatusCode::CREATED {
                let errors = refusal(visit, &reply, &posted)?;
                return refused(&posted, &site, None, reply.status, errors).await;
            }
            let created: WebhookView =
                serde_json::from_value(reply.body.clone()).map_err(|error| PageFailure::internal(&error))?;
            let secret: ShownSecret = read(reply)?;
            let href = site.path.page(&format!("/webhooks/{}", created.id));
            // A repetition was answered without the secret.
            if secret.is_masked() {
                return Ok(see_other(&href));
            }
            let warnings = created.warnings.into_iter().map(words::warning).collect();
            let l = visit.site_layout(&site, Section::Webhooks, &format!("Secret of {}", created.name));
            let shown = SecretPage::new(l, ShownFor::New, created.name, href, secret, None, warnings);
            Ok(secret_page(&shown))
        })
        .await
}

/// `POST …/{webhook_id}/edit`
pub(in crate::ui) async fn change(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let visit = &posted.visit;
            let _turn = posted.turn().await;
            let found = WebhookVisit::find(visit, &ids).await?;
            if edited(&found.webhook).is_another(&posted.form) {
                let errors = changed_meanwhile("this webhook");
                let status = StatusCode::CONFLICT;
                return refused(&posted, &found.site, Some(&found.webhook), status, errors).await;
            }
            let errors = webhook_errors::headers_named_twice(&posted.form);
            if !errors.is_empty() {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return refused(&posted, &found.site, Some(&found.webhook), status, errors).await;
            }
            let body = webhook_form::body(&posted.form, Some(&found.webhook));
            let reply = visit
                .api
                .send(Method::PATCH, &found.api, Some(&body), None)
                .await?;
            if reply.status.is_success() {
                return Ok(see_other(&found.href));
            }
            let errors = refusal(visit, &reply, &posted)?;
            refused(&posted, &found.site, Some(&found.webhook), reply.status, errors).await
        })
        .await
}

/// The form as it was sent, with what is wrong with it.
async fn refused(
    posted: &Posted,
    site: &SiteVisit,
    webhook: Option<&WebhookView>,
    status: StatusCode,
    errors: FormErrors,
) -> Result<Response, PageFailure> {
    let form = WebhookForm::sent(&posted.form, webhook);
    let shown = edit_page(&posted.visit, site, form, errors, webhook).await?;
    Ok(page(status, &shown))
}

/// The objections of the API that a form can show; anything else is a failure of the page.
fn refusal(
    visit: &PageVisit,
    reply: &crate::ui::reply::Reply,
    posted: &Posted,
) -> Result<FormErrors, PageFailure> {
    match reply.problem_type() {
        "invalid-fields" => Ok(webhook_errors::errors(
            &reply.fields(),
            &posted.form,
            visit.state.config().allow_http,
        )),
        "webhook-limit" => {
            let max = visit.state.config().max_per_site;
            let words = format!("{max} of {max} webhooks are used. Delete one to add another");
            Ok(FormErrors::one("name", words))
        }
        "body-too-large" => Ok(FormErrors::one("name", "All of this together is too long")),
        _ => Err(PageFailure::of_reply(reply)),
    }
}

//! Pages that show a secret, and the one that asks before it is rotated.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::ui::address::Path;
use crate::ui::client::read;
use crate::ui::failure::PageFailure;
use crate::ui::form::number;
use crate::ui::form_errors::FormErrors;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::ShownSecret;
use crate::ui::posted::Posted;
use crate::ui::respond::{page, secret_page, see_other};
use crate::ui::session::PageVisit;
use crate::ui::times::Stamp;
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit};

/// The occasion on which a secret is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownFor {
    New,
    Rotated,
    Asked,
}

#[derive(Template)]
#[template(path = "secret.html")]
pub(super) struct SecretPage {
    l: Layout,
    occasion: ShownFor,
    name: String,
    href: String,
    secret: String,
    standard: Option<String>,
    /// The one that takes its place.
    next: Option<String>,
    /// End of the time in which both are valid.
    both_until: Option<Stamp>,
    warnings: Vec<String>,
}

impl SecretPage {
    pub(super) fn new(
        l: Layout,
        occasion: ShownFor,
        name: String,
        href: String,
        shown: ShownSecret,
        both_until: Option<Stamp>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            l,
            occasion,
            name,
            href,
            secret: shown.secret,
            standard: shown.standard_webhooks_secret,
            next: shown.next.map(|next| next.secret),
            both_until,
            warnings,
        }
    }

    fn is_new(&self) -> bool {
        self.occasion == ShownFor::New
    }

    fn is_rotated(&self) -> bool {
        self.occasion == ShownFor::Rotated
    }
}

impl ShownSecret {
    /// True for an answer that was given before, without its secret.
    pub(super) fn is_masked(&self) -> bool {
        self.secret.bytes().all(|one| one == b'*')
    }
}

/// `POST …/secret`
pub(in crate::ui) async fn show(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let visit = &posted.visit;
            let found = WebhookVisit::find(visit, &ids).await?;
            let secret: ShownSecret = visit.api.get(&format!("{}/secret", found.api)).await?;
            Ok(shown_page(visit, found, ShownFor::Asked, secret))
        })
        .await
}

/// The page that shows the secret of a webhook that was there before.
fn shown_page(visit: &PageVisit, found: WebhookVisit, occasion: ShownFor, secret: ShownSecret) -> Response {
    let until = found.webhook.secret_overlap_until;
    let both_until = until.map(|until| found.site.zone.minute(until));
    let name = found.webhook.name;
    let title = match occasion {
        ShownFor::Rotated => format!("New secret of {name}"),
        ShownFor::New | ShownFor::Asked => format!("Secret of {name}"),
    };
    let l = visit.site_layout(&found.site, Section::Webhooks, &title);
    let shown = SecretPage::new(l, occasion, name, found.href, secret, both_until, Vec::new());
    secret_page(&shown)
}

#[derive(Template)]
#[template(path = "rotate.html")]
struct RotatePage {
    l: Layout,
    name: String,
    href: String,
    errors: FormErrors,
    is_own: bool,
    /// True if an older secret ends with this rotation.
    has_overlap: bool,
}

/// `GET …/rotate`
pub(in crate::ui) async fn ask_rotate(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = WebhookVisit::find(&visit, &ids).await?;
    Ok(page(
        StatusCode::OK,
        &rotate_page(&visit, found, FormErrors::default(), false),
    ))
}

fn rotate_page(visit: &PageVisit, found: WebhookVisit, errors: FormErrors, is_own: bool) -> RotatePage {
    let title = format!("Rotate the secret of {}", found.webhook.name);
    RotatePage {
        l: visit
            .site_layout(&found.site, Section::Webhooks, &title)
            .with_error(!errors.is_empty()),
        has_overlap: found.webhook.secret_overlap_until.is_some(),
        name: found.webhook.name,
        href: found.href,
        errors,
        is_own,
    }
}

/// `POST …/rotate`: answers with the new secret.
pub(in crate::ui) async fn rotate(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let visit = &posted.visit;
            let found = WebhookVisit::find(visit, &ids).await?;
            let is_own = posted.form.text("secret_choice") == "own";
            let mut body = json!({"overlap_seconds": number(posted.form.text("overlap"))});
            if is_own {
                body["secret"] = Value::from(posted.form.raw("secret"));
            }
            let path = format!("{}/rotate-secret", found.api);
            let reply = visit
                .api
                .send(Method::POST, &path, Some(&body), Some(posted.once()))
                .await?;
            if reply.problem_type() == "invalid-fields" {
                let mut errors = FormErrors::default();
                for problem in reply.fields() {
                    let field = match problem.pointer.as_str() {
                        "/secret" => "secret",
                        _ => "overlap",
                    };
                    errors.add(field.to_owned(), problem.reason());
                }
                return Ok(page(reply.status, &rotate_page(visit, found, errors, is_own)));
            }
            let secret: ShownSecret = read(reply.or_failure()?)?;
            if secret.is_masked() {
                return Ok(see_other(&found.href));
            }
            Ok(shown_page(visit, found, ShownFor::Rotated, secret))
        })
        .await
}

#[derive(Template)]
#[template(path = "webhook_delete.html")]
struct DeletePage {
    l: Layout,
    name: String,
    href: String,
    waiting: Option<String>,
}

/// `GET …/delete`
pub(in crate::ui) async fn ask_delete(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = WebhookVisit::find(&visit, &ids).await?;
    let waiting = found.webhook.health.waiting;
    let name = found.webhook.name;
    let shown = DeletePage {
        l: visit.site_layout(&found.site, Section::Webhooks, &format!("Delete {name}")),
        name,
        href: found.href,
        waiting: match waiting {
            0 => None,
            1 => Some("the 1 that waits is dropped".to_owned()),
            many => Some(format!("{} that wait are dropped", crate::ui::times::count(many))),
        },
    };
    Ok(page(StatusCode::OK, &shown))
}

/// `POST …/delete`
pub(in crate::ui) async fn delete(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    posted
        .run_once(|posted| async move {
            let visit = &posted.visit;
            let found = WebhookVisit::find(visit, &ids).await?;
            let reply = visit.api.send(Method::DELETE, &found.api, None, None).await?;
            reply.or_failure()?;
            Ok(see_other(&found.site.path.page("/webhooks")))
        })
        .await
}

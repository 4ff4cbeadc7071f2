//! Sending everything that a webhook missed.

use std::sync::Arc;

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::site::escape_segment;
use crate::ui::address::Path;
use crate::ui::client::read;
use crate::ui::failure::PageFailure;
use crate::ui::form_errors::FormErrors;
use crate::ui::layout::{Layout, Section};
use crate::ui::missed::MissedCount;
use crate::ui::model::RecoveryView;
use crate::ui::posted::Posted;
use crate::ui::respond::{page, see_other};
use crate::ui::session::PageVisit;
use crate::ui::times::{Stamp, Zone, count};
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit};

/// Span of which is told what was missed if a form gives no time.
const DEFAULT_SPAN: TimeDelta = TimeDelta::hours(24);

#[derive(Template)]
#[template(path = "recover.html")]
struct RecoverPage {
    l: Layout,
    name: String,
    href: String,
    since: String,
    until: String,
    /// Deliveries that failed or were cancelled since then, in words.
    missed: String,
    zone: String,
    /// True if the webhook is off, and is switched on before anything is sent.
    is_off: bool,
    errors: FormErrors,
}

/// `GET …/recover`
pub(in crate::ui) async fn ask_recover(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = WebhookVisit::find(&visit, &ids).await?;
    let missed = found.missed(&visit).await?;
    let fields = (found.site.zone.field(missed.since), String::new());
    let shown = recover_page(&visit, &found, missed, fields, FormErrors::default());
    Ok(page(StatusCode::OK, &shown))
}

const HOW_IT_GOES: &str =
    "is sent once more, beside what is new; what arrived since, or is on its way, is passed over.";

fn recover_page(
    visit: &PageVisit,
    found: &WebhookVisit,
    missed: MissedCount,
    (since_field, until_field): (String, String),
    errors: FormErrors,
) -> RecoverPage {
    let words = missed.words();
    let missed = match (missed.is_none(), missed.is_one()) {
        (true, _) => format!("{words} then."),
        (_, true) => format!("{words} then. It {HOW_IT_GOES}"),
        _ => format!("{words} then. Each {HOW_IT_GOES}"),
    };
    let name = found.webhook.name.clone();
    RecoverPage {
        l: visit
            .site_layout(
                &found.site,
                Section::Webhooks,
                &format!("Send what {name} missed"),
            )
            .with_error(!errors.is_empty()),
        name,
        href: found.href.clone(),
        since: since_field,
        until: until_field,
        missed,
        zone: found.site.zone.label(),
        is_off: found.is_off(),
        errors,
    }
}

/// Reads the two times of the form; the second one may be left out.
fn read_span(
    zone: &Zone,
    since: &str,
    until: &str,
    errors: &mut FormErrors,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let (since, end) = (zone.read_field(since), zone.read_field(until));
    if since.is_none() {
        let words = "Enter the time from which on to send again";
        errors.add("since".to_owned(), words.to_owned());
    }
    if end.is_none() && !until.is_empty() {
        let words = "Enter a time, or leave it empty for now";
        errors.add("until".to_owned(), words.to_owned());
    }
    let now = zone.now();
    if since.is_some_and(|since| since > end.unwrap_or(now).min(now)) {
        let words = "The time must lie before the end, and before now";
        errors.add("since".to_owned(), words.to_owned());
    }
    (since, end)
}

/// `POST …/recover`
pub(in crate::ui) async fn recover(
    Path(ids): Path<WebhookIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let found = WebhookVisit::find(&posted.visit, &ids).await?;
        let zone = found.site.zone;
        let fields = (posted.form.text("since"), posted.form.text("until"));
        let mut errors = FormErrors::default();
        let (since, until) = read_span(&zone, fields.0, fields.1, &mut errors);
        let mut status = StatusCode::UNPROCESSABLE_ENTITY;
        if errors.is_empty() && found.is_off() {
            match posted.form.given(SWITCH_ON) {
                Some(_) => switch_on(&posted, &found).await?,
                None => {
                    status = StatusCode::CONFLICT;
                    errors.add("send".to_owned(), OFF_MEANWHILE.to_owned());
                }
            }
        }
        if errors.is_empty() {
            let mut body = json!({"since": since});
            if let Some(until) = until {
                body["until"] = json!(until);
            }
            match begin_recovery(&posted, &found, &body).await? {
                Ok(job) => return Ok(see_other(&format!("{}/recoveries/{}", found.href, job.id))),
                Err((refused, why)) => (status, errors) = (refused, why),
            }
        }
        let since = since.unwrap_or(zone.now() - DEFAULT_SPAN);
        let fields = (fields.0.to_owned(), fields.1.to_owned());
        let missed = found.missed_since(&posted.visit, since).await?;
        let shown = recover_page(&posted.visit, &found, missed, fields, errors);
        Ok(page(status, &shown))
    };
    posted.run_once(run).await
}

/// The field of a form that was shown while the webhook was off.
const SWITCH_ON: &str = "switch_on";
const OFF_MEANWHILE: &str = "This webhook is off. The button switches it on and sends what was missed";

/// Switches a webhook on, so that it may be sent what it missed.
async fn switch_on(posted: &Posted, found: &WebhookVisit) -> Result<(), PageFailure> {
    let api = &posted.visit.api;
    let patch = json!({"enabled": true});
    let reply = api.send(Method::PATCH, &found.api, Some(&patch), None).await?;
    reply.or_failure().map(drop)
}

/// Begins a recovery, or tells which fields of the form the API refuses.
async fn begin_recovery(
    posted: &Posted,
    found: &WebhookVisit,
    body: &Value,
) -> Result<Result<RecoveryView, (StatusCode, FormErrors)>, PageFailure> {
    let path = format!("{}/recover", found.api);
    let api = &posted.visit.api;
    let reply = api
        .send(Method::POST, &path, Some(body), Some(posted.once()))
        .await?;
    if reply.problem_type() != "invalid-fields" {
        return read(reply.or_failure()?).map(Ok);
    }
    let mut errors = FormErrors::default();
    for problem in reply.fields() {
        let is_until = problem.pointer == "/until";
        let field = if is_until { "until" } else { "since" };
        errors.add(field.to_owned(), problem.reason());
    }
    Ok(Err((reply.status, errors)))
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    l: Layout,
    name: String,
    webhook_href: String,
    href: String,
    words: String,
    since: Option<Stamp>,
    until: Option<Stamp>,
    is_running: bool,
    total: i64,
    sent: i64,
}

#[derive(Debug, Deserialize)]
pub(in crate::ui) struct RecoveryIds {
    site_id: String,
    webhook_id: String,
    job_id: String,
}

impl RecoveryIds {
    fn webhook(&self) -> WebhookIds {
        WebhookIds {
            site_id: self.site_id.clone(),
            webhook_id: self.webhook_id.clone(),
        }
    }

    fn end(&self) -> String {
        format!("/recoveries/{}", escape_segment(&self.job_id))
    }
}

/// `GET …/recoveries/{job_id}`
pub(in crate::ui) async fn progress(
    visit: PageVisit,
    Path(ids): Path<RecoveryIds>,
) -> Result<Response, PageFailure> {
    let found = WebhookVisit::find(&visit, &ids.webhook()).await?;
    let job: RecoveryView = visit.api.get(&format!("{}{}", found.api, ids.end())).await?;
    let zone = &found.site.zone;
    let name = found.webhook.name;
    let shown = RecoveryPage {
        l: visit.site_layout(
            &found.site,
            Section::Webhooks,
            &format!("Sending what {name} missed"),
        ),
        name,
        href: format!("{}{}", found.href, ids.end()),
        webhook_href: found.href,
        words: progress_words(&job),
        since: job.since.map(|at| zone.minute(at)),
        until: job.until.map(|at| zone.minute(at)),
        is_running: job.status == "running",
        total: job.total.max(1),
        sent: job.sent + job.skipped,
    };
    Ok(page(StatusCode::OK, &shown))
}

fn progress_words(job: &RecoveryView) -> String {
    let number = |number: i64| count(u64::try_from(number).unwrap_or(0));
    let (sent, total, skipped) = (number(job.sent), number(job.total), number(job.skipped));
    let passed = match job.skipped {
        0 => String::new(),
        1 => " 1 needed no sending: it arrived since, or is on its way.".to_owned(),
        _ => format!(" {skipped} needed no sending: they arrived since, or are on their way."),
    };
    match job.status.as_str() {
        "running" if job.total == 0 => "Looking for what was missed.".to_owned(),
        "running" => format!("Sent {sent} of {total}.{passed}"),
        "finished" if job.total == 0 => "Nothing was missed in this time.".to_owned(),
        "finished" => format!("Done: sent {sent} of {total}.{passed}"),
        "cancelled" => format!("Stopped: sent {sent} of {total}. A later one takes up the rest.{passed}"),
        _ => format!(
            "Ended early: sent {sent} of {total}, then the webhook was switched off or deleted.{passed}"
        ),
    }
}

/// `POST …/recoveries/{job_id}`: stops it.
pub(in crate::ui) async fn stop(
    Path(ids): Path<RecoveryIds>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let found = WebhookVisit::find(visit, &ids.webhook()).await?;
        let path = format!("{}{}", found.api, ids.end());
        let reply = visit.api.send(Method::DELETE, &path, None, None).await?;
        reply.or_failure()?;
        Ok(see_other(&format!("{}{}", found.href, ids.end())))
    };
    posted.run_once(run).await
}

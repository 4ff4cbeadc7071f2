//! The goals of a site.

use std::sync::Arc;

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::site::escape_segment;
use crate::ui::address::Path;
use crate::ui::edited::{Edited, changed_meanwhile};
use crate::ui::escape::field_value;
use crate::ui::failure::PageFailure;
use crate::ui::form::{Form, number};
use crate::ui::form_errors::FormErrors;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{GoalView, Listed, WebhookView};
use crate::ui::posted::Posted;
use crate::ui::reply::Reply;
use crate::ui::respond::{page, see_other};
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::settings_words::SettingWords;
use crate::ui::words;

#[derive(Template)]
#[template(path = "goals.html")]
struct GoalsPage {
    l: Layout,
    goals: Vec<GoalLine>,
    base: String,
}

struct GoalLine {
    name: String,
    rule: String,
    id: String,
}

#[derive(Template)]
#[template(path = "goal_edit.html")]
struct GoalPage {
    l: Layout,
    heading: String,
    action: String,
    cancel: String,
    fields: GoalInputs,
    edited: Edited,
    errors: FormErrors,
}

/// The values of the form.
struct GoalInputs {
    name: String,
    kind: String,
    event: String,
    path: String,
    scroll: String,
    props: String,
}

#[derive(Template)]
#[template(path = "goal_delete.html")]
struct GoalDeletePage {
    l: Layout,
    name: String,
    action: String,
    cancel: String,
    /// Names of the webhooks that tell about this goal by its name.
    used_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::ui) struct GoalIds {
    site_id: String,
    goal_id: String,
}

struct GoalVisit {
    site: SiteVisit,
    goal: GoalView,
    api: String,
    base: String,
}

impl GoalVisit {
    async fn find(visit: &PageVisit, ids: &GoalIds) -> Result<Self, PageFailure> {
        let site = visit.site(&ids.site_id).await?;
        let api = site.path.api(&format!("/goals/{}", escape_segment(&ids.goal_id)));
        let goal: GoalView = visit.api.get(&api).await?;
        let base = site.path.page("/goals");
        Ok(Self {
            site,
            goal,
            api,
            base,
        })
    }
}

impl GoalPage {
    fn value(text: &str) -> String {
        field_value(text)
    }
}

/// `GET /sites/{site_id}/goals`
pub(in crate::ui) async fn list(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let goals: Listed<GoalView> = visit.api.get(&site.path.api("/goals")).await?;
    let line = |goal: GoalView| GoalLine {
        rule: words::goal_rule(&goal),
        name: goal.name,
        id: goal.id,
    };
    let shown = GoalsPage {
        l: visit.site_layout(&site, Section::Goals, "Goals"),
        goals: goals.data.into_iter().map(line).collect(),
        base: site.path.page("/goals"),
    };
    Ok(page(StatusCode::OK, &shown))
}

/// `GET …/goals/new`
pub(in crate::ui) async fn new(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let site = visit.site(&site_id).await?;
    let fields = GoalInputs {
        name: String::new(),
        kind: "event".to_owned(),
        event: String::new(),
        path: String::new(),
        scroll: "50".to_owned(),
        props: String::new(),
    };
    let shown = goal_page(&visit, &site, None, fields, FormErrors::default());
    Ok(page(StatusCode::OK, &shown))
}

/// `GET …/goals/{goal_id}/edit`
pub(in crate::ui) async fn edit(visit: PageVisit, Path(ids): Path<GoalIds>) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = GoalVisit::find(&visit, &ids).await?;
    let goal = &found.goal;
    let props = goal.props.iter().map(|(name, value)| prop(name, value));
    let fields = GoalInputs {
        name: goal.name.clone(),
        kind: goal.kind.clone(),
        event: goal.event.clone().unwrap_or_default(),
        path: goal.path.clone().unwrap_or_default(),
        scroll: goal.scroll_threshold.unwrap_or(50).to_string(),
        props: props.collect::<Vec<_>>().join("\n"),
    };
    let shown = goal_page(&visit, &found.site, Some(goal), fields, FormErrors::default());
    Ok(page(StatusCode::OK, &shown))
}

fn goal_page(
    visit: &PageVisit,
    site: &SiteVisit,
    goal: Option<&GoalView>,
    fields: GoalInputs,
    errors: FormErrors,
) -> GoalPage {
    let base = site.path.page("/goals");
    let (heading, action) = match goal {
        None => ("Add a goal".to_owned(), format!("{base}/new")),
        Some(goal) => (
            format!("Change {}", goal.name),
            format!("{base}/{}/edit", goal.id),
        ),
    };
    let edited = match goal {
        None => Edited::default(),
        Some(goal) if errors.of("now").is_some() => edited(goal).showing(goal_now(goal)),
        Some(goal) => edited(goal),
    };
    GoalPage {
        l: visit
            .site_layout(site, Section::Goals, &heading)
            .with_error(!errors.is_empty()),
        heading,
        action,
        cancel: base,
        fields,
        edited,
        errors,
    }
}

fn edited(goal: &GoalView) -> Edited {
    Edited::of(&(
        (&goal.name, &goal.kind, &goal.event, &goal.path),
        (goal.scroll_threshold, &goal.props),
    ))
}

fn goal_now(goal: &GoalView) -> Vec<SettingWords> {
    let props = goal.props.iter().map(|(name, value)| prop(name, value));
    let words = [
        ("Name", goal.name.clone()),
        ("Reached by", words::goal_rule(goal)),
        ("Properties", props.collect::<Vec<_>>().join(", ")),
    ];
    let given = words.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| SettingWords { name, value }).collect()
}

/// A property as the form has it.
fn prop(name: &str, value: &Value) -> String {
    format!("{name}={}", value.as_str().unwrap_or_default())
}

fn sent(form: &Form) -> GoalInputs {
    GoalInputs {
        name: form.raw("name").to_owned(),
        kind: form.text("kind").to_owned(),
        event: form.raw("event").to_owned(),
        path: form.raw("path").to_owned(),
        scroll: form.text("scroll").to_owned(),
        props: form.raw("props").to_owned(),
    }
}

fn body(form: &Form) -> Value {
    let mut body = Map::new();
    let kind = form.text("kind");
    body.insert("name".to_owned(), form.text("name").into());
    body.insert("kind".to_owned(), kind.into());
    if kind == "event" {
        body.insert("event".to_owned(), form.text("event").into());
    } else {
        body.insert("path".to_owned(), form.text("path").into());
    }
    if kind == "scroll" {
        body.insert("scroll_threshold".to_owned(), number(form.text("scroll")));
    }
    let lines = form
        .raw("props")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let props: Map<String, Value> = lines
        .map(|line| match line.split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), value.trim().into()),
            // The API says that it is missing.
            None => (line.to_owned(), Value::Null),
        })
        .collect();
    if !props.is_empty() {
        body.insert("props".to_owned(), Value::Object(props));
    }
    Value::Object(body)
}

fn errors(reply: &Reply) -> Result<FormErrors, PageFailure> {
    match reply.problem_type() {
        "duplicate-goal" => Ok(FormErrors::one("name", "Another goal of this site has this name")),
        "goal-limit" => Ok(FormErrors::one("name", reply.detail().trim_end_matches('.'))),
        "invalid-fields" => {
            let mut errors = FormErrors::default();
            for problem in reply.fields() {
                let name = problem.pointer.split('/').nth(1).unwrap_or_default();
                let detail = problem.reason();
                let (field, words) = match (name, problem.code.as_str()) {
                    ("name", "empty") => ("name", "Enter a name".to_owned()),
                    ("event", "empty") => ("event", "Enter the name of the event".to_owned()),
                    ("path", "empty") => ("path", "Enter a path, such as /welcome".to_owned()),
                    ("scroll_threshold", _) => {
                        ("scroll", "Enter a number of percent from 0 to 100".to_owned())
                    }
                    ("props", "wrong_type" | "empty") => {
                        ("props", "Write each property as name=value".to_owned())
                    }
                    ("event" | "path" | "kind" | "props", _) => (name, format!("{}: {detail}", label(name))),
                    _ => ("name", format!("Name: {detail}")),
                };
                errors.add(field.to_owned(), words);
            }
            Ok(errors)
        }
        _ => Err(PageFailure::of_reply(reply)),
    }
}

fn label(field: &str) -> &'static str {
    match field {
        "event" => "Event",
        "path" => "Path",
        "kind" => "Kind",
        _ => "Properties",
    }
}

/// `POST …/goals/new`
pub(in crate::ui) async fn create(
    Path(site_id): Path<String>,
    posted: Posted,
) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let site = visit.site(&site_id).await?;
        let path = site.path.api("/goals");
        let body = body(&posted.form);
        let reply = visit
            .api
            .send(Method::POST, &path, Some(&body), Some(posted.once()))
            .await?;
        if reply.status.is_success() {
            return Ok(see_other(&site.path.page("/goals")));
        }
        let errors = errors(&reply)?;
        let shown = goal_page(visit, &site, None, sent(&posted.form), errors);
        Ok(page(reply.status, &shown))
    };
    posted.run_once(run).await
}

/// `POST …/goals/{goal_id}/edit`
pub(in crate::ui) async fn change(Path(ids): Path<GoalIds>, posted: Posted) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let _turn = posted.turn().await;
        let found = GoalVisit::find(visit, &ids).await?;
        let refused = |status, errors| {
            let fields = sent(&posted.form);
            page(
                status,
                &goal_page(visit, &found.site, Some(&found.goal), fields, errors),
            )
        };
        if edited(&found.goal).is_another(&posted.form) {
            return Ok(refused(StatusCode::CONFLICT, changed_meanwhile("this goal")));
        }
        let body = body(&posted.form);
        let reply = visit.api.send(Method::PUT, &found.api, Some(&body), None).await?;
        if reply.status.is_success() {
            return Ok(see_other(&found.base));
        }
        Ok(refused(reply.status, errors(&reply)?))
    };
    posted.run_once(run).await
}

/// `GET …/goals/{goal_id}/delete`
pub(in crate::ui) async fn ask_delete(
    visit: PageVisit,
    Path(ids): Path<GoalIds>,
) -> Result<Response, PageFailure> {
    visit.check_editor()?;
    let found = GoalVisit::find(&visit, &ids).await?;
    let webhooks: Listed<WebhookView> = visit.api.get(&found.site.path.api("/webhooks")).await?;
    let uses = |webhook: &WebhookView| {
        let goals = webhook
            .triggers
            .get("goal_completion")
            .and_then(|options| options.get("goals"));
        let names = goals.and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(&found.goal.name)))
    };
    let used_by = webhooks.data.iter().filter(|webhook| uses(webhook));
    let shown = GoalDeletePage {
        l: visit.site_layout(
            &found.site,
            Section::Goals,
            &format!("Delete {}", found.goal.name),
        ),
        used_by: used_by.map(|webhook| webhook.name.clone()).collect(),
        action: format!("{}/{}/delete", found.base, found.goal.id),
        name: found.goal.name,
        cancel: found.base,
    };
    Ok(page(StatusCode::OK, &shown))
}

/// `POST …/goals/{goal_id}/delete`
pub(in crate::ui) async fn delete(Path(ids): Path<GoalIds>, posted: Posted) -> Result<Response, PageFailure> {
    let run = |posted: Arc<Posted>| async move {
        let visit = &posted.visit;
        let found = GoalVisit::find(visit, &ids).await?;
        let reply = visit.api.send(Method::DELETE, &found.api, None, None).await?;
        reply.or_failure()?;
        Ok(see_other(&found.base))
    };
    posted.run_once(run).await
}

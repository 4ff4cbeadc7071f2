//! The history of a site's alerts.

use std::collections::HashMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{SecondsFormat, TimeDelta};
use serde::Deserialize;

use super::deliveries::{Choice, event_choices, since_choices, since_hours};
use crate::domain::event::EventType;
use crate::ui::address::{PageQuery, Path};
use crate::ui::failure::PageFailure;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{AlertView, Listed, WebhookView};
use crate::ui::paths::query;
use crate::ui::respond::page;
use crate::ui::session::PageVisit;
use crate::ui::times::{Stamp, Zone, count, span_words};
use crate::ui::words;

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    l: Layout,
    action: String,
    events: Vec<Choice>,
    sinces: Vec<Choice>,
    alerts: Vec<AlertLine>,
    older: Option<String>,
    nothing: String,
    may_widen: bool,
    wider: String,
    is_utc: bool,
}

/// One alert.
struct AlertLine {
    what: String,
    is_open: bool,
    started_at: Stamp,
    ended_at: Option<Stamp>,
    lasted: String,
    figures: String,
    heard: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct AlertFilters {
    event: String,
    since: String,
    after: String,
}

/// `GET /sites/{site_id}/alerts?event=&since=&after=`: the last 30 days unless asked otherwise.
pub(in crate::ui) async fn list(
    visit: PageVisit,
    Path(site_id): Path<String>,
    PageQuery(filters): PageQuery<AlertFilters>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let wanted = if filters.since.is_empty() {
        "30d"
    } else {
        &filters.since
    };
    let (since, since_words, hours) = since_hours(wanted);
    let from = site.zone.now() - TimeDelta::hours(hours);
    let from = from.to_rfc3339_opts(SecondsFormat::Secs, true);
    let asked = [
        ("event", filters.event.as_str()),
        ("since", &from),
        ("after", &filters.after),
    ];
    let path = format!("{}?{}", site.path.api("/alerts"), query(&asked));
    let found: Listed<AlertView> = visit.api.get(&path).await?;
    let webhooks: Listed<WebhookView> = visit.api.get(&site.path.api("/webhooks")).await?;
    let names = site.webhook_names();
    let offered = offered(&webhooks.data, &found.data, &filters.event);
    let action = site.path.page("/alerts");
    let link = |since: &str, after: &str| {
        let asked = [
            ("event", filters.event.as_str()),
            ("since", since),
            ("after", after),
        ];
        site.zone.link(format!("{action}?{}", query(&asked)))
    };
    let shown = AlertsPage {
        l: visit.site_layout(&site, Section::Alerts, "Alerts"),
        events: event_choices(&offered, &filters.event),
        sinces: since_choices(since),
        alerts: found
            .data
            .iter()
            .map(|alert| line(alert, &names, &site.zone))
            .collect(),
        older: found.next.map(|after| link(since, &after)),
        nothing: format!("Nothing fired in {since_words}."),
        may_widen: since != "30d",
        wider: link("30d", ""),
        is_utc: site.zone.is_switched(),
        action,
    };
    Ok(page(StatusCode::OK, &shown))
}

/// The event types to choose from: those of which the site can have alerts, or has some here. Of
/// single events only those that are counted lead to any.
fn offered(webhooks: &[WebhookView], alerts: &[AlertView], chosen: &str) -> Vec<EventType> {
    let is_counted = |webhook: &WebhookView, event: &str| {
        let options = webhook.triggers.get(event);
        options.is_some_and(|options| options.get("at_least").is_some())
    };
    let can_be = |event: &EventType| match event {
        EventType::GoalCompletion | EventType::CustomEvent => {
            let word = event.as_str();
            word == chosen
                || webhooks.iter().any(|webhook| is_counted(webhook, word))
                || alerts.iter().any(|alert| alert.event == word)
        }
        _ => true,
    };
    EventType::WITH_EPISODES.into_iter().filter(can_be).collect()
}

fn line(alert: &AlertView, names: &HashMap<String, &str>, zone: &Zone) -> AlertLine {
    let heard: Vec<&str> = alert
        .webhook_ids
        .iter()
        .map(|id| names.get(id.as_str()).copied().unwrap_or("a deleted webhook"))
        .collect();
    let peak_word = if alert.event == "visitor_drop" {
        "down to"
    } else {
        "up to"
    };
    let threshold = alert.threshold.map(|threshold| count(threshold as u64));
    let fires = threshold.map_or_else(String::new, |threshold| format!(", fires at {threshold}"));
    AlertLine {
        what: words::event(&alert.event).to_owned(),
        is_open: alert.ended_at.is_none(),
        started_at: zone.listed(alert.started_at),
        ended_at: alert.ended_at.map(|at| zone.second(at)),
        lasted: span_words(alert.ended_at.unwrap_or(zone.now()) - alert.started_at),
        figures: format!("{peak_word} {}{fires}", count(alert.peak)),
        heard: match (alert.suppressed, heard.is_empty()) {
            (true, _) => "held back: nobody was told".to_owned(),
            (false, true) => "no webhook was told".to_owned(),
            (false, false) => format!("told {}", heard.join(", ")),
        },
    }
}

//! The present of a site: visitors against what is usual, the chart of the last hours, triggers.

use std::collections::HashMap;

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::ui::address::Path;
use crate::ui::chart::Chart;
use crate::ui::failure::PageFailure;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{Activity, AlertView, Listed, Status, WebhookView};
use crate::ui::respond::page;
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::times::{Stamp, count};
use crate::ui::words;

/// Span of the chart.
const SPAN: TimeDelta = TimeDelta::hours(3);
/// Minutes between two rows of the table.
const TABLE_STEP: usize = 15;
/// Days until everything about a week is known: three of each hour.
const DAYS_TO_LEARN: i64 = 21;
/// Age of the newest event from which a site is said to be quiet.
const QUIET_AFTER: TimeDelta = TimeDelta::hours(24);

#[derive(Template)]
#[template(path = "now.html")]
struct NowPage {
    l: Layout,
    now: LiveNow,
    poll: String,
    as_of: Option<Stamp>,
    chart: String,
    /// Empty if nothing was counted.
    rows: Vec<(Stamp, String)>,
    usual: Option<String>,
    fires_at: Option<String>,
}

/// The part of the page that the script keeps up to date.
#[derive(Debug, Clone, Serialize)]
struct LiveNow {
    visitors: String,
    /// The state in a sentence, which is said aloud when it changes.
    state: String,
    usual: String,
    as_of: Option<String>,
    /// Time of the count in UTC.
    as_of_utc: Option<String>,
    triggers: Vec<String>,
    last_event: String,
}

/// `GET /sites/{site_id}`
pub(in crate::ui) async fn show(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let (now, status) = live(&visit, &site).await?;
    // The site's own clock: that of a log that is read again is not ours.
    let to = status.as_of.unwrap_or(site.zone.now());
    let from = to - SPAN;
    let rfc = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let path = format!("{}?from={}&to={}", site.path.api("/activity"), rfc(from), rfc(to));
    let activity: Activity = visit.api.get(&path).await?;
    let path = format!(
        "{}?since={}",
        site.path.api("/alerts"),
        rfc(from - TimeDelta::days(7))
    );
    let alerts: Listed<AlertView> = visit.api.get(&path).await?;
    let points: Vec<_> = activity
        .data
        .iter()
        .map(|sample| (sample.at, sample.visitors))
        .collect();
    let spans: Vec<_> = alerts
        .data
        .iter()
        .map(|alert| (alert.started_at, alert.ended_at.unwrap_or(to)))
        .filter(|(_, end)| *end >= from)
        .collect();
    let fires_at = fires_at(&status);
    let usual = status.baseline.as_ref().map(|usual| usual.expected);
    let most = points.iter().filter_map(|(_, visitors)| *visitors).max();
    let chart = Chart {
        from,
        to,
        points: &points,
        usual,
        fires_at,
        alerts: &spans,
        title: "Visitors of the last 3 hours".to_owned(),
        finding: finding(most, spans.len(), fires_at),
        zone: &site.zone,
    };
    let rows = match most {
        Some(_) => table_rows(&site, &points),
        None => Vec::new(),
    };
    let shown = NowPage {
        l: visit.site_layout(&site, Section::Now, "Now"),
        poll: site.zone.link(site.path.page("/now")),
        as_of: status.as_of.map(|at| site.zone.second(at)),
        chart: chart.svg(),
        rows,
        usual: usual.map(|usual| count(usual.round() as u64)),
        fires_at: fires_at.map(count),
        now,
    };
    Ok(page(StatusCode::OK, &shown))
}

/// The points of the chart as rows of a table, one of several.
fn table_rows(site: &SiteVisit, points: &[(DateTime<Utc>, Option<u64>)]) -> Vec<(Stamp, String)> {
    let shown = points.iter().step_by(TABLE_STEP);
    shown
        .map(|(at, visitors)| {
            let visitors = visitors.map_or_else(|| "no data".to_owned(), count);
            (site.zone.minute(*at), visitors)
        })
        .collect()
}

fn finding(most: Option<u64>, alerts: usize, fires_at: Option<u64>) -> String {
    let Some(most) = most else {
        return "Nothing was counted in these hours.".to_owned();
    };
    let alerts = match alerts {
        0 => "no alert".to_owned(),
        1 => "1 alert".to_owned(),
        many => format!("{many} alerts"),
    };
    let fires = fires_at.map_or_else(String::new, |at| format!(" A spike begins at {}.", count(at)));
    format!("At most {} visitors at once, {alerts}.{fires}", count(most))
}

/// The lowest number of visitors at which a spike fires.
fn fires_at(status: &Status) -> Option<u64> {
    let spikes = status
        .triggers
        .iter()
        .filter(|trigger| trigger.event == "visitor_spike");
    spikes.filter_map(|trigger| trigger.threshold).min()
}

async fn live(visit: &PageVisit, site: &SiteVisit) -> Result<(LiveNow, Status), PageFailure> {
    let status: Status = visit.api.get(&site.path.api("/status")).await?;
    let webhooks: Listed<WebhookView> = visit.api.get(&site.path.api("/webhooks")).await?;
    let names: HashMap<&str, &str> = webhooks
        .data
        .iter()
        .map(|webhook| (webhook.id.as_str(), webhook.name.as_str()))
        .collect();
    let zone = &site.zone;
    let triggers = status.triggers.iter().map(|trigger| {
        let name = names
            .get(trigger.webhook_id.as_str())
            .copied()
            .unwrap_or("a deleted webhook");
        let state = match trigger.state.as_str() {
            "waiting" => "waiting until enough is known",
            other => other,
        };
        let since = trigger.since.filter(|_| trigger.state == "firing");
        let since = since.map_or_else(String::new, |at| format!(" since {}", zone.minute(at).text));
        format!("{} ({name}) {state}{since}", words::event(&trigger.event))
    });
    let now = LiveNow {
        visitors: status.current_visitors.map_or_else(|| "?".to_owned(), count),
        state: state(&status),
        usual: usual(&status, site),
        as_of: status.as_of.map(|at| zone.second(at).text),
        as_of_utc: status.as_of.map(|at| zone.second(at).utc),
        triggers: triggers.collect(),
        last_event: last_event(&status, site),
    };
    Ok((now, status))
}

/// The state of the site in a sentence.
fn state(status: &Status) -> String {
    let firing: Vec<&str> = status
        .triggers
        .iter()
        .filter(|trigger| trigger.state == "firing")
        .map(|trigger| words::event(&trigger.event))
        .collect();
    let fires = fires_at(status).map_or_else(String::new, |at| format!(" A spike begins at {}.", count(at)));
    match (status.as_of, firing.first()) {
        (None, _) if status.current_visitors.is_none() => {
            "It is not known yet how many visitors there are.".to_owned()
        }
        (None, _) => "Nothing has been counted yet.".to_owned(),
        (_, Some(event)) => format!("{event} now.{fires}"),
        (_, None) => format!("Normal.{fires}"),
    }
}

fn usual(status: &Status, site: &SiteVisit) -> String {
    let hour = site.zone.hour_of_week();
    match &status.baseline {
        Some(usual) if usual.status == "ready" => {
            format!("Usual for {hour}: {}.", count(usual.expected.round() as u64))
        }
        _ => {
            let begun = site.site.first_event_at;
            let days = begun.map_or(0, |at| (site.zone.now() - at).num_days());
            let days = days.clamp(0, DAYS_TO_LEARN);
            format!("Learning what is usual here: {days} of {DAYS_TO_LEARN} days.")
        }
    }
}

fn last_event(status: &Status, site: &SiteVisit) -> String {
    if let Some(at) = status.source_silent_since {
        let since = site.zone.minute(at).text;
        return format!("No events from any site since {since}. Drops wait.");
    }
    match status.last_event_at {
        None => "No event yet.".to_owned(),
        Some(at) if site.zone.now() - at > QUIET_AFTER => {
            format!("No events since {}.", site.zone.minute(at).text)
        }
        Some(at) => format!("Last event {}.", site.zone.second(at).text),
    }
}

/// `GET /sites/{site_id}/now`: what the script asks for every 5 s.
pub(in crate::ui) async fn poll(
    visit: PageVisit,
    Path(site_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageFailure> {
    let read = async {
        let site = visit.site(&site_id).await?;
        let (now, _) = live(&visit, &site).await?;
        let text = serde_json::to_vec(&now).map_err(|error| PageFailure::internal(&error))?;
        Ok::<_, PageFailure>(Bytes::from(text))
    };
    // The answer is the same for everybody who may read the site.
    let text = match visit.token.covers(&site_id) {
        true => visit.state.live().get(visit.live_key(&site_id), read).await?,
        false => read.await?,
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&text)[..8]));
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            ([json], text).into_response()
        }
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

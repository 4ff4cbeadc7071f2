//! The present of a site: visitors against what is usual, the last hours, triggers. All of it is
//! polled.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::ui::address::Path;
use crate::ui::failure::PageFailure;
use crate::ui::last_hours::LastHours;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{Status, is_fresh};
use crate::ui::respond::page;
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::times::{ago, count};
use crate::ui::words;

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
    /// Our time in UTC, by which the script knows how old the count is, whatever its own clock.
    our_time: String,
    /// The age of the count in words.
    age: String,
    is_fresh: bool,
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
    #[serde(flatten)]
    hours: LastHours,
}

/// `GET /sites/{site_id}`
pub(in crate::ui) async fn show(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let (now, as_of) = live(&visit, &site).await?;
    let our_time = site.zone.now();
    let shown = NowPage {
        l: visit.site_layout(&site, Section::Now, "Now"),
        poll: site.zone.link(site.path.page("/now")),
        our_time: our_time.to_rfc3339_opts(SecondsFormat::Millis, true),
        age: as_of.map_or_else(String::new, |at| ago(our_time - at)),
        is_fresh: as_of.is_some_and(|at| is_fresh(our_time - at)),
        now,
    };
    Ok(page(StatusCode::OK, &shown))
}

async fn live(visit: &PageVisit, site: &SiteVisit) -> Result<(LiveNow, Option<DateTime<Utc>>), PageFailure> {
    let status: Status = visit.api.get(&site.path.api("/status")).await?;
    let names = site.webhook_names();
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
        visitors: status.visitors().map_or_else(|| "–".to_owned(), count),
        state: state(&status),
        usual: usual(&status, site),
        as_of: status.as_of.map(|at| zone.second(at).text),
        as_of_utc: status.as_of.map(|at| zone.second(at).utc),
        triggers: triggers.collect(),
        last_event: last_event(&status, site),
        hours: LastHours::read(visit, site, &status).await?,
    };
    Ok((now, status.as_of))
}

/// The state of the site in a sentence.
fn state(status: &Status) -> String {
    let firing: Vec<&str> = status
        .triggers
        .iter()
        .filter(|trigger| trigger.state == "firing")
        .map(|trigger| words::event(&trigger.event))
        .collect();
    let fires = status
        .fires_at()
        .map_or_else(String::new, |at| format!(" A spike begins at {}.", count(at)));
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
        let visit = visit.watching(&site_id).await?;
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

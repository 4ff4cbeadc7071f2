//! The history of a webhook.

use askama::Template;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{SecondsFormat, TimeDelta};
use serde::Deserialize;
use serde_json::json;

use crate::clock;
use crate::domain::event::EventType;
use crate::ui::address::{PageQuery, Path};
use crate::ui::delivery_line::{DeliveryLine, line};
use crate::ui::failure::PageFailure;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{DeliveryView, Listed, WebhookView};
use crate::ui::paths::{SitePath, query};
use crate::ui::respond::page;
use crate::ui::session::PageVisit;
use crate::ui::times::Zone;
use crate::ui::webhook_visit::{WebhookIds, WebhookVisit, webhook_end};
use crate::ui::words;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    l: Layout,
    name: String,
    href: String,
    /// The webhook's page, or if that is gone, the list.
    back: String,
    is_deleted: bool,
    shows: Vec<Choice>,
    events: Vec<Choice>,
    sinces: Vec<Choice>,
    lines: Vec<DeliveryLine>,
    older: Option<String>,
    /// Said if the list is empty.
    nothing: String,
    /// True if a longer time may show something.
    may_widen: bool,
    wider: String,
    is_utc: bool,
    is_newest: bool,
}

/// An option of a choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) words: &'static str,
    pub(super) is_chosen: bool,
}

/// The filters of the page, as its form sends them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct DeliveryFilters {
    show: String,
    event: String,
    since: String,
    after: String,
    newer_than: String,
}

const SHOWS: [(&str, &str, &str); 5] = [
    ("", "any", ""),
    ("delivered", "delivered", "delivered"),
    ("undelivered", "not delivered", "undelivered"),
    ("moving", "on its way", "pending,retrying"),
    ("waiting", "waiting", "pending,retrying"),
];
const SINCES: [(&str, &str, i64); 4] = [
    ("1h", "1 hour", 1),
    ("24h", "24 hours", 24),
    ("7d", "7 days", 168),
    ("30d", "30 days", 720),
];

pub(super) fn since_choices(chosen: &str) -> Vec<Choice> {
    let choice = |(value, words, _): &(&'static str, &'static str, i64)| Choice {
        value,
        words,
        is_chosen: *value == chosen,
    };
    SINCES.iter().map(choice).collect()
}

/// The event types of `events` to choose from.
pub(super) fn event_choices(events: &[EventType], chosen: &str) -> Vec<Choice> {
    let any = Choice {
        value: "",
        words: "anything",
        is_chosen: chosen.is_empty(),
    };
    let others = events.iter().map(|event| Choice {
        value: event.as_str(),
        words: words::event(event.as_str()),
        is_chosen: event.as_str() == chosen,
    });
    std::iter::once(any).chain(others).collect()
}

/// The hours that a choice stands for, with the choice itself.
pub(super) fn since_hours(chosen: &str) -> (&'static str, &'static str, i64) {
    let found = SINCES.iter().find(|(value, ..)| *value == chosen);
    *found.unwrap_or(&SINCES[1])
}

impl DeliveryFilters {
    fn show(&self) -> (&'static str, &'static str, &'static str) {
        let found = SHOWS.iter().find(|(value, ..)| *value == self.show);
        *found.unwrap_or(&SHOWS[0])
    }

    /// The query of the API. A delivery that waits is pending or retrying.
    fn api_query(&self, zone: &Zone, after: &str, limit: usize) -> String {
        let (_, _, hours) = since_hours(&self.since);
        let since = zone.now() - TimeDelta::hours(hours);
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let limit = limit.to_string();
        query(&[
            ("status", self.show().2),
            ("event", &self.event),
            ("since", &since),
            ("limit", &limit),
            ("after", after),
        ])
    }

    /// The query of the page with other values.
    fn page_query(&self, since: &str, after: &str) -> String {
        query(&[
            ("show", &self.show),
            ("event", &self.event),
            ("since", since),
            ("after", after),
        ])
    }

    /// The words for an empty list.
    fn nothing(&self) -> &'static str {
        match self.show().0 {
            "" => "Nothing",
            "delivered" => "None delivered",
            "undelivered" => "None not delivered",
            "moving" => "None on its way",
            _ => "None waiting",
        }
    }

    /// True if the delivery is in what the visitor asked for beyond its status.
    fn takes(&self, delivery: &DeliveryView) -> bool {
        match self.show().0 {
            "moving" => delivery.parked_reason.is_none(),
            "waiting" => delivery.parked_reason.is_some(),
            _ => true,
        }
    }
}

/// `GET …/deliveries?show=&event=&since=&after=`, also as JSON: how many are newer than one.
pub(in crate::ui) async fn list(
    visit: PageVisit,
    Path(ids): Path<WebhookIds>,
    PageQuery(filters): PageQuery<DeliveryFilters>,
    headers: HeaderMap,
) -> Result<Response, PageFailure> {
    if wants_json(&headers) {
        return newer(&visit, &ids, &filters).await;
    }
    let History {
        site,
        api,
        href,
        name,
        webhook,
    } = history_of(&visit, &ids).await?;
    let zone = site.zone;
    let query = filters.api_query(&zone, &filters.after, 50);
    let found: Listed<DeliveryView> = visit.api.get(&format!("{api}/deliveries?{query}")).await?;
    let (since, since_words, _) = since_hours(&filters.since);
    let older = found
        .next
        .map(|after| zone.link(format!("{href}/deliveries?{}", filters.page_query(since, &after))));
    let lines: Vec<DeliveryLine> = found
        .data
        .iter()
        .filter(|one| filters.takes(one))
        .map(|one| line(one, &zone, &href))
        .collect();
    let choice = |(value, words, _): &(&'static str, &'static str, &'static str)| Choice {
        value,
        words,
        is_chosen: *value == filters.show().0,
    };
    let what = filters.nothing();
    let shown = DeliveriesPage {
        l: visit.site_layout(&site, Section::Webhooks, &format!("Deliveries of {name}")),
        back: site.zone.link(match webhook {
            Some(_) => href.clone(),
            None => site.path.page("/webhooks"),
        }),
        is_deleted: webhook.is_none(),
        name,
        shows: SHOWS.iter().map(choice).collect(),
        events: event_choices(&EventType::ALL, &filters.event),
        sinces: since_choices(since),
        nothing: match older {
            Some(_) => format!("{what} among these; older ones may be."),
            None => format!("{what} in {since_words}."),
        },
        may_widen: since != "30d" && older.is_none(),
        wider: zone.link(format!("{href}/deliveries?{}", filters.page_query("30d", ""))),
        is_utc: zone.is_switched(),
        lines,
        older,
        is_newest: filters.after.is_empty(),
        href,
    };
    Ok(with_vary(page(StatusCode::OK, &shown)))
}

/// Counts the deliveries that are newer than one, for the script: that needs no more of the site
/// than its path.
async fn newer(
    visit: &PageVisit,
    ids: &WebhookIds,
    filters: &DeliveryFilters,
) -> Result<Response, PageFailure> {
    let api = SitePath::new(&ids.site_id).api(&webhook_end(&ids.webhook_id));
    let query = filters.api_query(&Zone::switched(clock::now()), "", 50);
    let newest: Listed<DeliveryView> = visit.api.get(&format!("{api}/deliveries?{query}")).await?;
    let newer = newest.data.iter().filter(|one| filters.takes(one));
    let newer = newer.take_while(|one| one.id > filters.newer_than).count();
    Ok(with_vary(Json(json!({"newer": newer})).into_response()))
}

/// A webhook's history, which outlives the webhook.
pub(super) struct History {
    pub(super) site: crate::ui::session::SiteVisit,
    pub(super) api: String,
    pub(super) href: String,
    pub(super) name: String,
    /// `None` if it was deleted.
    pub(super) webhook: Option<WebhookView>,
}

/// Finds a webhook, or one that was deleted and has a history.
pub(super) async fn history_of(visit: &PageVisit, ids: &WebhookIds) -> Result<History, PageFailure> {
    match WebhookVisit::find(visit, ids).await {
        Ok(found) => Ok(History {
            site: found.site,
            api: found.api,
            href: found.href,
            name: found.webhook.name.clone(),
            webhook: Some(found.webhook),
        }),
        Err(failure) if failure.status() == StatusCode::NOT_FOUND => {
            let site = visit.site(&ids.site_id).await?;
            let end = webhook_end(&ids.webhook_id);
            let names = site.webhook_names();
            let name = names.get(&ids.webhook_id).copied();
            Ok(History {
                api: site.path.api(&end),
                href: site.path.page(&end),
                name: name.unwrap_or("a deleted webhook").to_owned(),
                site,
                webhook: None,
            })
        }
        Err(failure) => Err(failure),
    }
}

pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == b"application/json")
}

pub(super) fn with_vary(mut response: Response) -> Response {
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

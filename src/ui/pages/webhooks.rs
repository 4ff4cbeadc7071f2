//! The webhooks of a site.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;

use crate::ui::address::Path;
use crate::ui::failure::PageFailure;
use crate::ui::health::{self, HealthFacts, StateBox};
use crate::ui::html::Html;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{DeliveryView, Listed, WebhookView};
use crate::ui::respond::page;
use crate::ui::session::{PageVisit, SiteVisit};
use crate::ui::times::Stamp;
use crate::ui::webhook_visit::{history_href, webhook_end};
use crate::ui::words;

/// Time without events after which a site is said to be silent.
const SILENT_AFTER: TimeDelta = TimeDelta::hours(24);

/// Deliveries whose outcomes are told; one more may tell how a webhook fails.
const RECENT: usize = 20;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    l: Layout,
    new_href: String,
    webhooks: Vec<WebhookLine>,
    used: String,
    is_full: bool,
    /// Said if no event came for a day.
    silence: Option<Html>,
    deleted: Vec<DeletedLine>,
}

/// One that was deleted lately.
struct DeletedLine {
    name: String,
    at: Stamp,
    history: String,
}

/// One webhook.
struct WebhookLine {
    name: String,
    href: String,
    state: StateBox,
    url: String,
    about: String,
    /// The outcomes of its newest deliveries.
    recent: Option<String>,
}

/// `GET /sites/{site_id}/webhooks`
pub(in crate::ui) async fn list(
    visit: PageVisit,
    Path(site_id): Path<String>,
) -> Result<Response, PageFailure> {
    let site = visit.site(&site_id).await?;
    let path = site.path.api("/webhooks?include=recent");
    let found: Listed<WebhookView> = visit.api.get_with_tried(&path).await?;
    let webhooks = found.data.iter().map(|webhook| line(&site, webhook)).collect();
    let max = visit.state.config().max_per_site as usize;
    let count = found.data.len();
    let shown = WebhooksPage {
        l: visit.site_layout(&site, Section::Webhooks, "Webhooks"),
        new_href: site.path.page("/webhooks/new"),
        webhooks,
        used: format!("{count} of {max} used"),
        is_full: count >= max,
        silence: silence(&site),
        deleted: deleted(&site),
    };
    Ok(page(StatusCode::OK, &shown))
}

fn deleted(site: &SiteVisit) -> Vec<DeletedLine> {
    let deleted = site.deleted_webhooks().into_iter();
    deleted
        .map(|(id, name, at)| DeletedLine {
            name: name.to_owned(),
            at: site.zone.dated(at),
            history: site.zone.link(history_href(&site.path.page(&webhook_end(&id)))),
        })
        .collect()
}

fn line(site: &SiteVisit, webhook: &WebhookView) -> WebhookLine {
    let facts = HealthFacts {
        webhook,
        newest: &webhook.recent,
        triggers: &[],
        visitors: None,
        zone: &site.zone,
        missed: None,
        knows_tests: false,
    };
    let about = webhook.events.iter().map(|event| words::events(event));
    WebhookLine {
        name: webhook.name.clone(),
        href: site.path.page(&format!("/webhooks/{}", webhook.id)),
        state: health::line(&facts),
        url: webhook.url.clone(),
        about: about.collect::<Vec<_>>().join(", "),
        recent: recent(&webhook.recent[..webhook.recent.len().min(RECENT)]),
    }
}

/// `last 20: 18 delivered, 2 not delivered`; `None` before the first delivery.
fn recent(newest: &[DeliveryView]) -> Option<String> {
    let number = |wanted: &[&str]| {
        let with = newest.iter().filter(|one| wanted.contains(&one.status.as_str()));
        with.count()
    };
    let parts = [
        (number(&["delivered"]), "delivered"),
        (number(&["failed", "cancelled"]), "not delivered"),
        (number(&["pending", "retrying"]), "on the way"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, word)| format!("{number} {word}")).collect();
    (!newest.is_empty()).then(|| format!("last {}: {}", newest.len(), parts.join(", ")))
}

/// Says since when no event of the site came, if that is a day or more.
pub(super) fn silence(site: &SiteVisit) -> Option<Html> {
    let words = Html::text("No events from ").foreign(site.site.title());
    match site.site.last_event_at {
        Some(at) if site.zone.now() - at <= SILENT_AFTER => None,
        Some(at) => Some(
            words
                .and(" since ")
                .time(&site.zone.minute(at))
                .and(". Webhooks have nothing to report."),
        ),
        None => Some(words.and(" yet. Webhooks have nothing to report.")),
    }
}

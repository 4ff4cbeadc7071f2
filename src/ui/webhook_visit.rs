//! A webhook as its pages find it.

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;

use super::failure::PageFailure;
use super::missed::{MOST_MISSED, MissedCount};
use super::model::WebhookView;
use super::session::{PageVisit, SiteVisit};
use crate::domain::site::escape_segment;

/// The ids in a webhook's address.
#[derive(Debug, Deserialize)]
pub(super) struct WebhookIds {
    pub(super) site_id: String,
    pub(super) webhook_id: String,
}

/// A webhook with its site.
pub(super) struct WebhookVisit {
    pub(super) site: SiteVisit,
    pub(super) webhook: WebhookView,
    /// Address of its page.
    pub(super) href: String,
    /// Path of it in the API.
    pub(super) api: String,
}

impl WebhookVisit {
    pub(super) async fn find(visit: &PageVisit, ids: &WebhookIds) -> Result<Self, PageFailure> {
        let site = visit.site(&ids.site_id).await?;
        let end = webhook_end(&ids.webhook_id);
        let api = site.path.api(&end);
        let webhook: WebhookView = visit.api.get(&api).await?;
        Ok(Self {
            href: site.path.page(&end),
            api,
            site,
            webhook,
        })
    }

    /// Counts what was missed since the webhook worked last; if it never did, since it was made, or
    /// a day at least.
    pub(super) async fn missed(&self, visit: &PageVisit) -> Result<MissedCount, PageFailure> {
        let (webhook, day_ago) = (&self.webhook, self.site.zone.now() - TimeDelta::days(1));
        let made = webhook.inserted_at.map_or(day_ago, |made| made.min(day_ago));
        let since = webhook.health.last_success_at.unwrap_or(made);
        // As the field of a form shows it: what is counted is what is sent.
        let since = since.duration_trunc(TimeDelta::minutes(1)).unwrap_or(since);
        self.missed_since(visit, since).await
    }

    /// Counts what was missed since a time.
    pub(super) async fn missed_since(
        &self,
        visit: &PageVisit,
        since: DateTime<Utc>,
    ) -> Result<MissedCount, PageFailure> {
        let from = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let path = format!("{}/deliveries?status=undelivered&since={from}", self.api);
        let number = visit.api.count(&path, MOST_MISSED).await?;
        Ok(MissedCount { since, number })
    }

    /// True if nothing is sent to it, by whomever it was switched off.
    pub(super) fn is_off(&self) -> bool {
        self.webhook.health.state == "disabled"
    }
}

/// End of the paths of a webhook.
pub(super) fn webhook_end(webhook_id: &str) -> String {
    format!("/webhooks/{}", escape_segment(webhook_id))
}

/// Address of the whole history of the webhook at `href`.
pub(super) fn history_href(href: &str) -> String {
    format!("{href}/deliveries?since=30d")
}

//! New deliveries of a webhook as they come, asked for once a second.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::arguments::SiteArgs;
use super::client::ApiClient;
use super::list::{self, PAGE, PageArgs};
use crate::domain::id::WebhookId;
use crate::domain::time::rfc3339;

/// Time between two looks.
pub(in crate::cli) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time for which a delivery may be recorded later than newer ones and is still found.
const OVERLAP: TimeDelta = TimeDelta::minutes(1);
/// Most deliveries of one look.
const MAX_ENTRIES: u32 = 20 * PAGE;

/// A reader of the deliveries that come from now on.
#[derive(Debug)]
pub(in crate::cli) struct DeliveryFollower {
    api: ApiClient,
    site: String,
    webhook: String,
    filters: Vec<(&'static str, String)>,
    /// Deliveries of the last look, which are not new in the next one.
    seen: BTreeSet<String>,
    /// Creation of the newest one.
    newest: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    created_at: DateTime<Utc>,
}

impl DeliveryFollower {
    /// A reader of one webhook's deliveries; `filters` are parameters of the list, a `since` only
    /// of its beginning.
    pub(in crate::cli) fn new(
        api: ApiClient,
        site: &SiteArgs,
        webhook: WebhookId,
        filters: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            api,
            site: site.site.to_string(),
            webhook: webhook.to_string(),
            filters,
            seen: BTreeSet::new(),
            newest: None,
        }
    }

    /// Reads the newest `limit` deliveries, the oldest of them first, from which on new ones are
    /// found.
    pub(in crate::cli) async fn begin(&mut self, limit: u32) -> anyhow::Result<Vec<Box<RawValue>>> {
        let mut first = self.look(PAGE, None).await?;
        let old = first.len().saturating_sub(limit as usize);
        Ok(first.split_off(old))
    }

    /// Reads the deliveries that came since the last look, the oldest first.
    pub(in crate::cli) async fn next(&mut self) -> anyhow::Result<Vec<Box<RawValue>>> {
        let since = self.newest.map(|newest| newest - OVERLAP);
        self.look(MAX_ENTRIES, since).await
    }

    async fn look(&mut self, limit: u32, since: Option<DateTime<Utc>>) -> anyhow::Result<Vec<Box<RawValue>>> {
        let path = ["sites", &self.site, "webhooks", &self.webhook, "deliveries"];
        let mut query = self.filters.clone();
        if let Some(at) = since {
            query.retain(|(name, _)| *name != "since");
            query.push(("since", rfc3339(at)));
        }
        let list = list::read(&self.api, &path, &query, &PageArgs::newest(limit)).await?;
        let mut seen = BTreeSet::new();
        let mut new = Vec::new();
        for row in list.data {
            let head: Head = serde_json::from_str(row.get())?;
            self.newest = self.newest.max(Some(head.created_at));
            if !self.seen.contains(&head.id) {
                new.push(row);
            }
            seen.insert(head.id);
        }
        self.seen = seen;
        new.reverse();
        Ok(new)
    }
}

//! The deliveries that a webhook missed: one count for its state and for the page that sends them.

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};

use super::counted_up_to::CountedUpTo;
use super::failure::PageFailure;
use super::session::PageVisit;
use super::webhook_visit::WebhookVisit;

/// The deliveries that did not arrive since some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissedCount {
    pub(super) since: DateTime<Utc>,
    number: CountedUpTo,
}

impl MissedCount {
    /// Counts them since the webhook worked last; if it never did, since it was made, or a day at
    /// least.
    pub(super) async fn read(visit: &PageVisit, found: &WebhookVisit) -> Result<Self, PageFailure> {
        let (webhook, day_ago) = (&found.webhook, found.site.zone.now() - TimeDelta::days(1));
        let made = webhook.inserted_at.map_or(day_ago, |made| made.min(day_ago));
        let since = webhook.health.last_success_at.unwrap_or(made);
        // As the field of a form shows it: what is counted is what is sent.
        let since = since.duration_trunc(TimeDelta::minutes(1)).unwrap_or(since);
        Self::since(visit, found, since).await
    }

    /// Counts them since a time.
    pub(super) async fn since(
        visit: &PageVisit,
        found: &WebhookVisit,
        since: DateTime<Utc>,
    ) -> Result<Self, PageFailure> {
        let from = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let filter = format!("status=undelivered&since={from}");
        let number = CountedUpTo::read(visit, &found.api, &filter).await?;
        Ok(Self { since, number })
    }

    pub(super) fn is_none(self) -> bool {
        self.number.is_none()
    }

    pub(super) fn is_one(self) -> bool {
        self.number.is_one()
    }

    /// `37 were not delivered since`, which a time or `then` ends.
    pub(super) fn words(self) -> String {
        match (self.is_none(), self.is_one()) {
            (true, _) => "Nothing was missed since".to_owned(),
            (_, true) => "1 was not delivered since".to_owned(),
            _ => format!("{} were not delivered since", self.number.words()),
        }
    }

    #[cfg(test)]
    pub(super) fn exactly(number: usize, since: DateTime<Utc>) -> Self {
        let number = CountedUpTo::Exactly(number);
        Self { since, number }
    }
}

//! The visitors of a site now and in the past, beside the numbers at which its owner wants to know.

use chrono::TimeDelta;

use super::failure::PageFailure;
use super::model::{Status, is_fresh};
use super::session::{PageVisit, SiteVisit};
use super::times::count;
use crate::domain::event::EventType;

/// Days of the past that are told.
const DAYS: i64 = 28;

/// Such numbers in words.
#[derive(Debug, Default)]
pub(super) struct VisitorLevels {
    /// `Now: 87. `, or empty.
    now: String,
    /// The fewest and the most at once.
    range: Option<(u64, u64)>,
}

impl VisitorLevels {
    /// Reads them: one statement beside those of the page's calls.
    pub(super) async fn read(visit: &PageVisit, site: &SiteVisit) -> Result<Self, PageFailure> {
        let status: Status = visit.api.get(&site.path.api("/status")).await?;
        let zone = &site.zone;
        let now = status.as_of.zip(status.visitors());
        let since = status.as_of.unwrap_or(zone.now()) - TimeDelta::days(DAYS);
        let range = match site.site.site_id.parse() {
            Ok(id) => visit.state.visitors_range(&visit.token, &id, since).await?,
            Err(_) => None,
        };
        let range = range.map(|(fewest, most)| (u64::from(fewest), u64::from(most)));
        Ok(Self {
            // The present is part of it: the last minutes may not have been written yet.
            range: range.map(|(fewest, most)| match now {
                Some((_, now)) => (fewest.min(now), most.max(now)),
                None => (fewest, most),
            }),
            now: match now {
                Some((at, now)) if is_fresh(zone.now() - at) => format!("Now: {}. ", count(now)),
                Some((at, now)) => format!("At {}: {}. ", zone.minute(at).text, count(now)),
                None => String::new(),
            },
        })
    }

    /// `Now: 87. Most in 28 days: 512. `; of a drop the fewest.
    pub(super) fn words(&self, event: &str) -> String {
        let is_drop = event == EventType::VisitorDrop.as_str();
        let range = match self.range {
            Some((fewest, _)) if is_drop => format!("Fewest in {DAYS} days: {}. ", count(fewest)),
            Some((_, most)) => format!("Most in {DAYS} days: {}. ", count(most)),
            None => String::new(),
        };
        format!("{}{range}", self.now)
    }
}

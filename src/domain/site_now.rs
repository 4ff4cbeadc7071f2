//! The present of a site, as its detector sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::event::EventType;
use super::id::WebhookId;
use super::site::SiteId;
use super::words::words;

words! {
    /// Status of what is known to be usual at this hour.
    pub enum BaselineStatus {
        /// Known only from other days or a few values.
        Warming = "warming",
        /// Known from this hour of the week.
        Ready = "ready",
    }
}

/// Comparison of the present with what is usual at this hour. Nothing is compared before something
/// is known to be usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Baseline {
    pub status: BaselineStatus,
    /// Distinct visitors of the last 300 seconds.
    pub current: u32,
    /// Visitors that are usual, to a tenth.
    pub expected: f64,
    /// `None` when nobody is usual.
    pub change_percent: Option<i64>,
    /// 1 and more is a deviation that fires by itself.
    pub score: Option<f64>,
    /// Number of hours from which it is known.
    pub samples: u32,
}

words! {
    /// State of a trigger.
    pub enum TriggerPhase {
        Armed = "armed",
        Firing = "firing",
        /// Not judged until enough is known.
        Waiting = "waiting",
    }
}

/// The state of one webhook's trigger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TriggerNow {
    pub webhook_id: WebhookId,
    pub event: EventType,
    pub state: TriggerPhase,
    /// When the state began; `None` if that is not known.
    pub since: Option<DateTime<Utc>>,
    pub threshold: Option<u32>,
}

/// The present of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteNow {
    pub site_id: SiteId,
    /// Distinct visitors of the last 300 seconds.
    pub current_visitors: u32,
    /// The site's own clock.
    pub as_of: DateTime<Utc>,
    pub baseline: Option<Baseline>,
    pub triggers: Vec<TriggerNow>,
    /// Time of the last record of any site from its source, while that delivers nothing though it
    /// should.
    pub source_silent_since: Option<DateTime<Utc>>,
}

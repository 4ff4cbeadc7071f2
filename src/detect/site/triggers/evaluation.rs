//! The effects of an evaluation on triggers.

use crate::detect::site::condition::Condition;
use crate::detect::site::rules::machine::Episode;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::telemetry::words::SuppressReason;

/// The kind of an episode's notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpisodeNews {
    Begins,
    /// The reminder of this number.
    Lasts(u32),
    Ends,
}

/// A notification of an episode that is due.
#[derive(Debug, Clone)]
pub(crate) struct EpisodeNotice {
    pub(crate) news: EpisodeNews,
    pub(crate) condition: Condition,
    pub(crate) episode: Episode,
    /// Whole second at which it fell due.
    pub(crate) at: u32,
    pub(crate) count: u32,
    /// Seconds since the latest event, during a silence.
    pub(crate) silent_seconds: Option<u32>,
    /// Distinct visitors of the events that were counted.
    pub(crate) visitors: u32,
    /// Time that becomes part of ids, in milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Time by which it is judged if a webhook was there already.
    pub(crate) created_at_ms: i64,
    pub(crate) is_source_silent: bool,
    pub(crate) webhooks: Vec<WebhookId>,
}

/// The effect of an evaluation.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    /// The state is to be written.
    pub(crate) changed: bool,
    /// The peak of an episode that goes on changed.
    pub(crate) has_grown: bool,
    pub(crate) notices: Vec<EpisodeNotice>,
    /// Notifications decided and not sent.
    pub(crate) withheld: Vec<(EventType, SuppressReason)>,
    /// Episodes that began, were notified or ended.
    pub(crate) episodes: Vec<EpisodeChange>,
}

/// A change of an episode, for the history of alerts.
#[derive(Debug, Clone)]
pub(crate) struct EpisodeChange {
    pub(crate) condition: Condition,
    pub(crate) episode: Episode,
    /// Webhooks that have the trigger.
    pub(crate) webhooks: Vec<WebhookId>,
    /// Second at which it ended.
    pub(crate) ended_at: Option<u32>,
}

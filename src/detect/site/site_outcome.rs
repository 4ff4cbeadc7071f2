//! The effects of an event, or of the passing of time, on a site.

use crate::detect::notification::Decision;
use crate::domain::episode::EpisodeEntry;
use crate::domain::event::EventType;
use crate::telemetry::words::SuppressReason;

/// The effects of an event, or of the passing of time, on a site.
#[derive(Debug, Default)]
pub(crate) struct SiteOutcome {
    /// The state is to be written.
    pub(crate) changed: bool,
    /// Notifications of episodes, which wait for the state to be written.
    pub(crate) decided: usize,
    /// Notifications of episodes that were too far in the past.
    pub(crate) stale: usize,
    /// Notifications that depend on no state.
    pub(crate) ready: Vec<Decision>,
    /// Notifications decided and not sent.
    pub(crate) withheld: Vec<(EventType, SuppressReason)>,
    /// Changes of episodes, for the history of alerts.
    pub(crate) episodes: Vec<EpisodeEntry>,
}

impl SiteOutcome {
    /// Adds the effects that came later.
    pub(crate) fn add(&mut self, later: Self) {
        self.changed |= later.changed;
        self.decided += later.decided;
        self.stale += later.stale;
        self.ready.extend(later.ready);
        self.withheld.extend(later.withheld);
        self.episodes.extend(later.episodes);
    }
}

//! The spike trigger, and the rules by which it fires and arms again.
//!
//! While armed, it fires on the event that brings the count to the threshold. While firing, it
//! waits until the count has been at or below the re-arm level for a minute of the site's own time;
//! a rise above the level starts that minute again. The time between is an episode, with exactly
//! one notification.

use uuid::Uuid;

use crate::domain::trigger::SpikeSettings;

/// Seconds for which the count must be at or below the re-arm level before the trigger is armed
/// again.
pub(crate) const CALM_SECONDS: u32 = 60;

/// One continuous breach of the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    pub(crate) id: Uuid,
    /// Whole second, in the site's time, at which it began.
    pub(crate) started_at: u32,
    /// Time of the record on which its notification was decided, in milliseconds since the Unix
    /// epoch. `None` while there is no notification, because the episode has so far been too far in
    /// the past.
    pub(crate) decided_at_ms: Option<i64>,
}

/// The state of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TriggerState {
    Armed,
    Firing {
        episode: Episode,
        /// Whole second at which the count came down to the re-arm level, while it is there.
        calm_since: Option<u32>,
    },
}

/// A spike trigger of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spike {
    pub(crate) settings: SpikeSettings,
    pub(crate) state: TriggerState,
}

/// The facts on which a trigger is judged at an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// The site's clock in whole seconds.
    pub(crate) now: u32,
    /// Current visitors, this event's included.
    pub(crate) count: u32,
    /// The record's time, milliseconds since the Unix epoch.
    pub(crate) record_ms: i64,
    /// True if `now` is recent enough for a notification.
    pub(crate) fresh: bool,
}

/// The effect of an event on a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The state is the same.
    Same,
    /// The state changed without a notification.
    Changed,
    /// An episode began too far in the past. It is kept, and notified only if it still lasts when
    /// the events have become recent.
    Stale,
    /// The episode's one notification is due.
    Fires(Episode),
}

impl Spike {
    /// Makes a trigger that has never fired.
    pub(crate) fn armed(settings: SpikeSettings) -> Self {
        Self {
            settings,
            state: TriggerState::Armed,
        }
    }

    /// Makes the trigger that follows when settings are edited while it fires: the episode goes on
    /// and is judged by the new settings, without a second notification.
    pub(crate) fn edited(settings: SpikeSettings, episode: Episode, now: u32, count: u32) -> Self {
        let calm = count <= settings.rearm_level();
        Self {
            settings,
            state: TriggerState::Firing {
                episode,
                calm_since: calm.then_some(now),
            },
        }
    }

    /// True if an episode is going on.
    pub(crate) fn is_firing(&self) -> bool {
        matches!(self.state, TriggerState::Firing { .. })
    }

    /// Judges the trigger on an event. `new_id` names an episode that begins with it.
    pub(crate) fn judge(&mut self, observation: Observation, new_id: impl FnOnce() -> Uuid) -> Transition {
        let reached = observation.count >= self.settings.threshold;
        match &mut self.state {
            TriggerState::Armed if !reached => Transition::Same,
            TriggerState::Armed => {
                let episode = Episode {
                    id: new_id(),
                    started_at: observation.now,
                    decided_at_ms: observation.fresh.then_some(observation.record_ms),
                };
                self.state = TriggerState::Firing {
                    episode,
                    calm_since: None,
                };
                match observation.fresh {
                    true => Transition::Fires(episode),
                    false => Transition::Stale,
                }
            }
            TriggerState::Firing { episode, calm_since } => {
                let rose = calm_since.is_some() && observation.count > self.settings.rearm_level();
                if rose {
                    *calm_since = None;
                }
                if reached && observation.fresh && episode.decided_at_ms.is_none() {
                    episode.decided_at_ms = Some(observation.record_ms);
                    return Transition::Fires(*episode);
                }
                match rose {
                    true => Transition::Changed,
                    false => Transition::Same,
                }
            }
        }
    }

    /// The instant at which the trigger arms again if the count does not rise before.
    pub(crate) fn due(&self) -> Option<u32> {
        match self.state {
            TriggerState::Firing {
                calm_since: Some(since),
                ..
            } => Some(since.saturating_add(CALM_SECONDS)),
            _ => None,
        }
    }

    /// Moves the trigger to an instant at which something is due without an event: the count may
    /// have come down, or the calm minute may be over. Returns true if the state changed.
    pub(crate) fn pass(&mut self, now: u32, count: u32) -> bool {
        let level = self.settings.rearm_level();
        match &mut self.state {
            TriggerState::Firing {
                calm_since: calm_since @ None,
                ..
            } if count <= level => {
                *calm_since = Some(now);
                true
            }
            TriggerState::Firing {
                calm_since: Some(since),
                ..
            } if now >= since.saturating_add(CALM_SECONDS) => {
                self.state = TriggerState::Armed;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

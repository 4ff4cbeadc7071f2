//! The state machine of every trigger, with hysteresis: armed, firing, armed again once calm.
//!
//! While armed it fires on a breach. While firing it waits until its rule has been calm for long
//! enough, in the site's own time. The time between is an episode, with exactly one notification of
//! its beginning.

use uuid::Uuid;

use super::reading::Level;

/// One continuous breach of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Episode {
    pub(crate) id: Uuid,
    /// Whole second, in the site's time, at which it began.
    pub(crate) started_at: u32,
    /// The most extreme count so far.
    pub(crate) peak: u32,
    /// Events that were expected during a silence, as it was told.
    pub(crate) expected: Option<f64>,
    pub(crate) notice: Notice,
    /// True if it goes on under the settings of an edited webhook beside the trigger in which it
    /// began: that one tells the history of its end.
    pub(crate) is_shared: bool,
}

/// The notification of an episode's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Withheld, because the episode has so far been too far in the past.
    Withheld,
    /// Not sent, because every webhook had one not long before.
    Suppressed,
    Decided {
        /// Time that is part of its id, in milliseconds since the Unix epoch.
        at_ms: i64,
        /// Whole second, in the site's time, at which it was decided.
        at: u32,
    },
}

/// The state of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum TriggerState {
    #[default]
    Armed,
    Firing {
        episode: Episode,
        /// Whole second at which the rule became calm, while it is.
        calm_since: Option<u32>,
    },
}

/// The facts on which a state is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence {
    pub(crate) level: Level,
    /// The site's clock in whole seconds.
    pub(crate) now: u32,
    pub(crate) count: u32,
    /// True if this occasion may begin an episode.
    pub(crate) may_fire: bool,
    /// True if `now` is recent enough for a notification.
    pub(crate) is_fresh: bool,
}

/// The effect of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Transition {
    /// The state is the same.
    Same,
    /// The state changed without a notification.
    Changed,
    /// An episode began too far in the past. It is kept, and notified only if it still lasts when
    /// the time has become recent.
    Withheld,
    /// The notification of the episode's beginning is due.
    Fires,
    /// The episode is over.
    Arms(Episode),
}

impl TriggerState {
    /// The episode that is going on.
    pub(crate) fn episode(&self) -> Option<&Episode> {
        match self {
            Self::Armed => None,
            Self::Firing { episode, .. } => Some(episode),
        }
    }

    /// The episode that is going on, to change it.
    pub(crate) fn episode_mut(&mut self) -> Option<&mut Episode> {
        match self {
            Self::Armed => None,
            Self::Firing { episode, .. } => Some(episode),
        }
    }

    /// True if an episode is going on.
    pub(crate) fn is_firing(&self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    /// True if an episode is going on of whose beginning nobody was notified because it was too far
    /// in the past.
    pub(crate) fn is_withheld(&self) -> bool {
        self.episode()
            .is_some_and(|episode| episode.notice == Notice::Withheld)
    }

    /// Judges the state. `new_id` names an episode that begins.
    pub(crate) fn judge(&mut self, evidence: Evidence, new_id: impl FnOnce() -> Uuid) -> Transition {
        let is_breach = evidence.level == Level::Breach && evidence.may_fire;
        match self {
            Self::Armed if !is_breach => Transition::Same,
            Self::Armed => {
                *self = Self::Firing {
                    episode: Episode {
                        id: new_id(),
                        started_at: evidence.now,
                        peak: evidence.count,
                        expected: None,
                        notice: Notice::Withheld,
                        is_shared: false,
                    },
                    calm_since: None,
                };
                match evidence.is_fresh {
                    true => Transition::Fires,
                    false => Transition::Withheld,
                }
            }
            Self::Firing { episode, calm_since } => match evidence.level {
                Level::Unknown => Transition::Same,
                Level::Calm { seconds } => {
                    let was_calm = calm_since.is_some();
                    let since = *calm_since.get_or_insert(evidence.now);
                    if evidence.now >= since.saturating_add(seconds) {
                        let episode = *episode;
                        *self = Self::Armed;
                        return Transition::Arms(episode);
                    }
                    match was_calm {
                        true => Transition::Same,
                        false => Transition::Changed,
                    }
                }
                Level::Breach | Level::Between => {
                    let was_calm = calm_since.take().is_some();
                    if is_breach && evidence.is_fresh && episode.notice == Notice::Withheld {
                        return Transition::Fires;
                    }
                    match was_calm {
                        true => Transition::Changed,
                        false => Transition::Same,
                    }
                }
            },
        }
    }

    /// The instant at which the trigger arms again if its rule stays calm.
    pub(crate) fn arms_at(&self, level: Level, now: u32) -> Option<u32> {
        match (self, level) {
            (Self::Firing { calm_since, .. }, Level::Calm { seconds }) => match calm_since {
                Some(since) => Some(since.saturating_add(seconds)),
                // Calm, and not yet judged: after a loss of records, or an edit.
                None => Some(now),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

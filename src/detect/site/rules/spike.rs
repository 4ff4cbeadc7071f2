//! The spike trigger: when it fires, when it may fire again.
//!
//! Armed, it fires on the event at which the count is at the threshold. Firing, it waits until the count has been at
//! or below the re-arm level for a minute of the site's own time; any rise above the level starts that minute anew.
//! One episode lies between, and exactly one notification goes with it.
//!
//! Only the spike exists so far. A drop, a relative threshold or a sensitivity will be further rules over the same
//! two states; nothing here is to grow options for them before they do.

use uuid::Uuid;

use crate::domain::trigger::SpikeSettings;

/// How long, in seconds, the count stays at or below the re-arm level before the trigger is armed again.
pub(crate) const CALM_SECONDS: u32 = 60;

/// One continuous breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    pub(crate) id: Uuid,
    /// Whole second, in the site's time, at which it began.
    pub(crate) started_at: u32,
    /// When its notification was decided: milliseconds since the Unix epoch, the deciding record's time. `None` while
    /// there is none, because all of it so far lay too far in the past to be worth telling.
    pub(crate) decided_at_ms: Option<i64>,
}

/// Where a trigger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Armed,
    Firing {
        episode: Episode,
        /// The whole second at which the count came down to the re-arm level, if it is there.
        calm_since: Option<u32>,
    },
}

/// A spike trigger of a site: settings and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spike {
    pub(crate) settings: SpikeSettings,
    pub(crate) state: State,
}

/// What the trigger is judged with, at an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// The site's clock in whole seconds.
    pub(crate) now: u32,
    /// Current visitors, this event's included.
    pub(crate) count: u32,
    /// The deciding record's time, milliseconds since the Unix epoch.
    pub(crate) record_ms: i64,
    /// Whether `now` is recent enough for anyone to be told.
    pub(crate) fresh: bool,
}

/// What an event did to a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Nothing that must be kept.
    Same,
    /// The state changed, nobody is told.
    Changed,
    /// An episode began too far in the past: kept, and told only if it still lasts when time has caught up.
    Stale,
    /// The episode's one notification is due.
    Fires(Episode),
}

impl Spike {
    /// A trigger that has never fired.
    pub(crate) fn armed(settings: SpikeSettings) -> Self {
        Self {
            settings,
            state: State::Armed,
        }
    }

    /// The trigger after its settings were edited while it fired: the episode goes on and is judged by the new
    /// settings, without a second notification.
    pub(crate) fn edited(settings: SpikeSettings, episode: Episode, now: u32, count: u32) -> Self {
        let calm = count <= settings.rearm_level();
        Self {
            settings,
            state: State::Firing {
                episode,
                calm_since: calm.then_some(now),
            },
        }
    }

    /// Whether an episode is going on.
    pub(crate) fn is_firing(&self) -> bool {
        matches!(self.state, State::Firing { .. })
    }

    /// Judges the trigger on an event. `new_id` names an episode that begins with it.
    pub(crate) fn judge(&mut self, moment: Observation, new_id: impl FnOnce() -> Uuid) -> Transition {
        let reached = moment.count >= self.settings.threshold;
        match &mut self.state {
            State::Armed if !reached => Transition::Same,
            State::Armed => {
                let episode = Episode {
                    id: new_id(),
                    started_at: moment.now,
                    decided_at_ms: moment.fresh.then_some(moment.record_ms),
                };
                self.state = State::Firing {
                    episode,
                    calm_since: None,
                };
                match moment.fresh {
                    true => Transition::Fires(episode),
                    false => Transition::Stale,
                }
            }
            State::Firing { episode, calm_since } => {
                let rose = calm_since.is_some() && moment.count > self.settings.rearm_level();
                if rose {
                    *calm_since = None;
                }
                if reached && moment.fresh && episode.decided_at_ms.is_none() {
                    episode.decided_at_ms = Some(moment.record_ms);
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
            State::Firing {
                calm_since: Some(since),
                ..
            } => Some(since.saturating_add(CALM_SECONDS)),
            _ => None,
        }
    }

    /// Time alone has passed, to an instant at which something falls due: the count may have come down, the calm may
    /// have lasted. Says whether the state changed.
    pub(crate) fn pass(&mut self, now: u32, count: u32) -> bool {
        let level = self.settings.rearm_level();
        match &mut self.state {
            State::Firing {
                calm_since: calm_since @ None,
                ..
            } if count <= level => {
                *calm_since = Some(now);
                true
            }
            State::Firing {
                calm_since: Some(since),
                ..
            } if now >= since.saturating_add(CALM_SECONDS) => {
                self.state = State::Armed;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spike(threshold: u32) -> Spike {
        Spike::armed(SpikeSettings {
            threshold,
            window_seconds: 300,
        })
    }

    fn at(now: u32, count: u32) -> Observation {
        Observation {
            now,
            count,
            record_ms: i64::from(now) * 1_000,
            fresh: true,
        }
    }

    fn judge(spike: &mut Spike, moment: Observation) -> Transition {
        spike.judge(moment, || Uuid::from_u128(u128::from(moment.now)))
    }

    #[test]
    fn fires_at_the_threshold_and_once_an_episode() {
        let mut spike = spike(10);
        assert_eq!(judge(&mut spike, at(1, 9)), Transition::Same);
        assert!(matches!(judge(&mut spike, at(2, 10)), Transition::Fires(e) if e.started_at == 2));
        assert_eq!(judge(&mut spike, at(3, 11)), Transition::Same);
        assert_eq!(judge(&mut spike, at(4, 500)), Transition::Same);
    }

    #[test]
    fn arms_again_a_minute_after_the_count_came_down() {
        let mut spike = spike(10);
        judge(&mut spike, at(100, 10));
        assert!(!spike.pass(110, 9), "9 is above the level");
        assert!(spike.pass(120, 8));
        assert_eq!(spike.due(), Some(180));
        assert!(!spike.pass(179, 0));
        assert!(spike.pass(180, 0));
        assert_eq!(spike.state, State::Armed);
    }

    #[test]
    fn a_rise_above_the_level_starts_the_calm_anew() {
        let mut spike = spike(10);
        judge(&mut spike, at(100, 10));
        spike.pass(120, 8);
        assert_eq!(judge(&mut spike, at(130, 8)), Transition::Same);
        assert_eq!(judge(&mut spike, at(170, 9)), Transition::Changed);
        assert_eq!(spike.due(), None);
        spike.pass(175, 8);
        assert_eq!(spike.due(), Some(235));
    }

    #[test]
    fn the_level_is_four_fifths_and_always_below_the_threshold() {
        for (threshold, level) in [
            (1, 0),
            (2, 1),
            (4, 3),
            (5, 4),
            (6, 4),
            (10, 8),
            (u32::MAX, 3_435_973_836),
        ] {
            assert_eq!(spike(threshold).settings.rearm_level(), level, "{threshold}");
        }
    }

    #[test]
    fn an_episode_that_is_stale_is_told_if_it_still_lasts_when_time_has_caught_up() {
        let mut spike = spike(10);
        let stale = |now, count| Observation {
            fresh: false,
            ..at(now, count)
        };
        assert_eq!(judge(&mut spike, stale(100, 10)), Transition::Stale);
        assert_eq!(judge(&mut spike, stale(101, 11)), Transition::Same);
        // Above the re-arm level, but no breach.
        assert_eq!(judge(&mut spike, at(900, 9)), Transition::Same);
        let told = judge(&mut spike, at(901, 10));
        assert!(
            matches!(told, Transition::Fires(e) if e.started_at == 100 && e.decided_at_ms == Some(901_000))
        );
        assert_eq!(judge(&mut spike, at(902, 11)), Transition::Same);
    }

    #[test]
    fn a_stale_episode_that_ended_is_never_told() {
        let mut spike = spike(10);
        judge(
            &mut spike,
            Observation {
                fresh: false,
                ..at(100, 10)
            },
        );
        spike.pass(200, 0);
        spike.pass(260, 0);
        assert_eq!(spike.state, State::Armed);
    }

    #[test]
    fn an_edited_threshold_is_judged_again_without_firing_again() {
        let mut old = spike(10);
        let Transition::Fires(episode) = judge(&mut old, at(100, 20)) else {
            panic!("it fires");
        };
        let settings = |threshold| SpikeSettings {
            threshold,
            window_seconds: 300,
        };
        // Still in breach.
        let mut lower = Spike::edited(settings(5), episode, 110, 20);
        assert_eq!(judge(&mut lower, at(111, 21)), Transition::Same);
        assert_eq!(lower.due(), None);
        // Calm by the new settings.
        let mut higher = Spike::edited(settings(100), episode, 110, 20);
        assert_eq!(higher.due(), Some(170));
        assert!(higher.pass(170, 20));
        assert!(matches!(judge(&mut higher, at(171, 100)), Transition::Fires(_)));
    }
}
